"""Real receivers behind it: smtp-sink with faults, a Postfix with mailboxes, and verifiers of DKIM."""

from __future__ import annotations

import base64
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from types import SimpleNamespace

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sendry.mail.dkim import dns_record, generate_ed25519, generate_rsa, load_key
from tests.paths.conftest import Start
from tests.paths.receiving import Postfix, Sink, free_port
from tests.paths.running import PRODUCTION, Running
from tests.paths.waiting import until
from tests.zones import Zones

pytestmark = pytest.mark.xdist_group("receivers")


# smtp-sink


@pytest.mark.parametrize("fault", [("-r", "."), ("-q", "DATA"), ("-Q", "RCPT")], ids=" ".join)
def test_mail_that_a_faulty_host_put_off_arrives_once_when_it_is_well(
    fault: tuple[str, ...], start: Start, zones: Zones
) -> None:
    port = free_port()
    sendry = start(f'delivery.port = {port}\ndns.nameservers = ["127.0.0.1:{zones.address[1]}"]\n')
    with Sink(port, *fault):
        ids = [sendry.send("a@example.com", [f"r{number}@example.net"]) for number in range(4)]
        until(lambda: sendry.http("GET", "/health").json["queue"]["deferred"] == 4, "the faults")
        # So that the moment in which nobody listens is not seen: that would make it wait half a minute.
        assert sendry.stop() == 0
    with Sink(port) as sink:
        sendry.start()
        for identity in ids:
            sendry.wait_for_status(identity, "delivered", 25)
        assert Counter(sink.recipients()) == Counter(f"r{number}@example.net" for number in range(4))


# Postfix, and DKIM in what it got


@dataclass
class Domain:
    """A signing domain: its key files and the records that are published."""

    settings: str
    records: dict[str, str]


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    folder = tmp_path_factory.mktemp("keys")
    settings, records = "", {}
    for selector, pem in (("rsa", generate_rsa()), ("ed", generate_ed25519())):
        path = folder / f"{selector}.pem"
        path.write_bytes(pem)
        settings += f'[[domains."example.com".dkim]]\nselector = "{selector}"\nkey_file = "{path}"\n'
        key = load_key(pem, "example.com", selector)
        records[key.record_name] = dns_record(key)
    return Domain(settings, records)


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    with Postfix() as postfix:
        yield postfix


@pytest.fixture(scope="module")
def sendry(domain: Domain, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Zones() as zones:
        zones.mx("example.net", (10, "mx.example.net"))
        zones.a("mx.example.net", "127.0.0.1")
        outward = f'delivery.port = {postfix.port}\ndns.nameservers = ["127.0.0.1:{zones.address[1]}"]\n'
        with Running(tmp_path_factory.mktemp("sendry"), PRODUCTION + outward + domain.settings) as sendry:
            yield sendry


def mailed(sendry: Running, postfix: Postfix, octets: bytes = b"", **draft: object) -> bytes:
    """Send one mail, by SMTP or by API, and give it as it lies in the mailbox."""
    before = len(postfix.mails())
    if draft:
        answer = sendry.api("POST", "/send", {"from": "a@example.com", "to": ["b@example.net"], **draft})
        assert answer.status == 202, answer.body
    else:
        with sendry.smtp() as client:
            client.sendmail("a@example.com", ["b@example.net"], octets)
    return postfix.wait_for(before + 1)[-1]


LETTERS = {
    "plain": b"From: a@example.com\r\nTo: b@example.net\r\nSubject: plain\r\n\r\nHello\r\n",
    "folded and spaced": (
        b"From:  Ann\r\n <a@example.com>\r\nTo: b@example.net\r\nSubject:   a  subject \r\n  in lines\r\n\r\n"
        b"  blanks   inside \r\n\r\n.dots\r\n..\r\n\t\r\n\r\n\r\n"
    ),
    "eight bit": "From: Анна <a@example.com>\r\nTo: b@example.net\r\nSubject: x\r\n\r\nПривет\r\n".encode(),
    "no body": b"From: a@example.com\r\nTo: b@example.net\r\nSubject: nothing\r\n\r\n",
    "long": b"From: a@example.com\r\nTo: b@example.net\r\nSubject: long\r\n\r\n" + b"x" * 900 + b"\r\n" * 1500,
}


def opendkim_says(mail: bytes, records: dict[str, str], folder: Path) -> str:
    """The words of opendkim on every signature; its exit code is 0 whatever it thinks."""
    (folder / "keys").write_text("".join(f"{name} {value}\n" for name, value in records.items()))
    (folder / "conf").write_text(f"Mode v\nTestPublicKeys {folder}/keys\n")
    (folder / "mail").write_bytes(mail)
    command = ["opendkim", "-x", f"{folder}/conf", "-t", f"{folder}/mail", "-vvv"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return ran.stdout + ran.stderr


class VerifyKey:
    """dkimpy wants PyNaCl for Ed25519; this gives it the same answers from another implementation."""

    def __init__(self, octets: bytes, encoder: object) -> None:
        self.key = Ed25519PublicKey.from_public_bytes(base64.b64decode(octets))

    def verify(self, message: bytes, signature: bytes) -> None:
        self.key.verify(signature, message)


@pytest.fixture(autouse=True)
def _nacl(monkeypatch: pytest.MonkeyPatch) -> None:
    nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=VerifyKey),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(BadSignatureError=InvalidSignature, ValueError=ValueError),
    )
    monkeypatch.setattr(dkim, "nacl", nacl, raising=False)


def verified_by_dkimpy(mail: bytes, records: dict[str, str]) -> list[bool]:
    """Whether each signature holds."""
    known = {f"{name}.".encode(): value.encode() for name, value in records.items()}

    def ask(name: bytes, timeout: int = 5) -> bytes | None:
        return known.get(name)

    verifier = dkim.DKIM(mail)
    count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
    return [bool(verifier.verify(index, dnsfunc=ask)) for index in range(count)]


@pytest.mark.parametrize("letter", LETTERS)
def test_what_postfix_got_is_what_was_signed(
    letter: str, sendry: Running, postfix: Postfix, domain: Domain, tmp_path: Path
) -> None:
    mail = mailed(sendry, postfix, LETTERS[letter])
    assert verified_by_dkimpy(mail, domain.records) == [True, True]
    said = opendkim_says(mail, domain.records, tmp_path)
    assert "verification (s=rsa, d=example.com, 2048-bit key) succeeded" in said
    tampered = mail.replace(b"Subject: ", b"Subject: Re: ")
    assert "dkim=fail" in opendkim_says(tampered, domain.records, tmp_path)
    assert verified_by_dkimpy(tampered, domain.records) == [False, False]


def test_composed_mail_is_signed_too(sendry: Running, postfix: Postfix, domain: Domain, tmp_path: Path) -> None:
    mail = mailed(
        sendry, postfix, subject="Счёт за ноябрь", body="Привет\n.\n", html="<p>Привет</p>", cc=["B <b@example.net>"]
    )
    assert verified_by_dkimpy(mail, domain.records) == [True, True]
    assert "2048-bit key) succeeded" in opendkim_says(mail, domain.records, tmp_path)
    message = message_from_bytes(mail, policy=policy.default)
    assert message["Subject"] == "Счёт за ноябрь"


def test_postfix_takes_it_over_tls_and_the_history_says_so(sendry: Running, postfix: Postfix) -> None:
    before = len(postfix.mails())
    identity = sendry.send("a@example.com", ["b@example.net"])
    mail = postfix.wait_for(before + 1)[-1]
    assert b"using TLSv1.3" in mail
    told = sendry.wait_for_status(identity, "delivered")
    assert "queued as" in told["recipients"][0]["last_response"]
    events = sendry.api("GET", f"/messages/{identity}/events").json["items"]
    (attempt,) = [event["attempt"] for event in events if event["type"] == "delivered"]
    assert (attempt["tls"], attempt["tls_verified"]) == ("TLSv1.3", "unverified")


def test_postfix_refuses_one_recipient_and_takes_the_other(sendry: Running, postfix: Postfix) -> None:
    before = len(postfix.mails())
    identity = sendry.send("a@example.com", ["b@example.net", "nobody@example.net"])
    postfix.wait_for(before + 1)
    told = sendry.wait_for_status(identity, "failed")
    states = {r["address"]: (r["status"], r["last_code"]) for r in told["recipients"]}
    assert states == {"b@example.net": ("delivered", 250), "nobody@example.net": ("failed", 550)}


def test_many_mails_share_connections_and_all_arrive(sendry: Running, postfix: Postfix) -> None:
    before = len(postfix.mails())
    messages = [
        {"from": "a@example.com", "to": ["b@example.net"], "subject": f"n{number}", "body": "x"}
        for number in range(50)
    ]
    answer = sendry.api("POST", "/send/batch", {"messages": messages}).json
    assert (answer["accepted"], answer["rejected"]) == (50, 0)
    mails = postfix.wait_for(before + 50)
    subjects = Counter(message_from_bytes(mail)["Subject"] for mail in mails)
    assert all(subjects[f"n{number}"] == 1 for number in range(50))
