"""Real clients before it: Postfix's smtp-source, swaks, and Python's smtplib."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from tests.paths.running import PRODUCTION, Running
from tests.paths.waiting import until
from tests.remote_mx import Received, RemoteMx

# One worker of the suite, so that the two servers start once.
pytestmark = pytest.mark.xdist_group("clients")

STRICT = """
smtp.trusted_networks = []
smtp.auth.users = { ann = "pass word" }
"""


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteMx]:
    """Where everything goes."""
    with RemoteMx() as remote:
        yield remote


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for localhost and the authority a client must trust."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "key.pem").chmod(0o600)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder


@pytest.fixture(scope="module")
def sendry(remote: RemoteMx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that trusts this machine."""
    limits = "smtp.max_message_bytes = 200_000\n"
    relay = f'delivery.relay = "127.0.0.1:{remote.port}"\n'
    with Running(tmp_path_factory.mktemp("sendry"), PRODUCTION + limits + relay) as sendry:
        yield sendry


@pytest.fixture(scope="module")
def strict(remote: RemoteMx, certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that trusts nobody who does not sign in."""
    tls = f'smtp.tls.cert_file = "{certificate}/cert.pem"\nsmtp.tls.key_file = "{certificate}/key.pem"\n'
    relay = f'delivery.relay = "127.0.0.1:{remote.port}"\n'
    base = PRODUCTION.replace('smtps_addr = ""', 'smtps_addr = "127.0.0.1:0"')
    with Running(tmp_path_factory.mktemp("strict"), base + STRICT + tls + relay) as strict:
        yield strict


def arrived(remote: RemoteMx, recipient: str) -> Received:
    """The one mail for this recipient, as soon as it is there."""
    (found,) = until(lambda: [m for m in remote.messages if recipient in m.recipients], f"the mail for {recipient}")
    return found


def read(received: Received) -> EmailMessage:
    message = message_from_bytes(received.octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


# smtp-source


@pytest.mark.parametrize("how", [("-d",), ()], ids=["one connection for many", "a connection for each"])
def test_smtp_source_hands_in_as_much_as_arrives(how: tuple[str, ...], sendry: Running, remote: RemoteMx) -> None:
    recipient = f"source{len(how)}@example.net"
    sent = run(
        "smtp-source", *how, "-m", "60", "-s", "6", "-l", "3000", "-f", "a@example.com", "-t", recipient,
        f"inet:127.0.0.1:{sendry.smtp_port}",
    )  # fmt: skip
    assert (sent.returncode, sent.stderr) == (0, "")

    def mine() -> list[Received]:
        return [message for message in remote.messages if message.recipients == [recipient]]

    until(lambda: len(mine()) >= 60, "60 mails")
    until(lambda: sendry.http("GET", "/health").json["queue"]["sending"] == 0, "the end of all attempts")
    assert len(mine()) == 60


# swaks


def swaks(port: int, recipient: str, *arguments: str, sender: str = "a@example.com") -> tuple[int, str]:
    """One mail by swaks: its exit code, which tells the stage that failed, and the dialogue."""
    ran = run(
        "swaks", "--server", "127.0.0.1", "--port", str(port), "--from", sender, "--to", recipient,
        "--helo", "client.example", *arguments,
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


def test_swaks_sends_with_an_attachment(sendry: Running, remote: RemoteMx, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("attached")
    more = ("--header", "Subject: from swaks", "--attach", f"@{tmp_path}/note.txt")
    code, dialogue = swaks(sendry.smtp_port, "attached@example.net", *more)
    assert code == 0, dialogue
    message = read(arrived(remote, "attached@example.net"))
    assert message["Subject"] == "from swaks"
    assert [part.get_filename() for part in message.walk()][-1] == "note.txt"


@pytest.mark.parametrize("method", ["PLAIN", "LOGIN"])
def test_swaks_signs_in(method: str, strict: Running, remote: RemoteMx) -> None:
    port, recipient = strict.places["submission"], f"{method.lower()}@example.net"
    login = ("--auth", method, "--auth-user", "ann", "--auth-password")
    code, dialogue = swaks(port, recipient, *login, "wrong")
    assert code == 28, dialogue
    assert "535 5.7.8" in dialogue
    code, dialogue = swaks(port, recipient, *login, "pass word")
    assert code == 0, dialogue
    assert b"with ESMTPA " in arrived(remote, recipient).octets


def test_swaks_without_a_login_is_refused_on_submission(strict: Running) -> None:
    code, dialogue = swaks(strict.places["submission"], "b@example.net")
    assert code == 23, dialogue
    assert "530 5.7.0" in dialogue


def test_swaks_finds_no_open_relay_and_a_postmaster(strict: Running) -> None:
    code, dialogue = swaks(strict.smtp_port, "b@example.net")
    assert code == 24, dialogue
    assert "550 5.7.1" in dialogue
    code, dialogue = swaks(strict.smtp_port, "postmaster@example.com", sender="x@stranger.example")
    assert code == 0, dialogue


# smtplib


@pytest.fixture
def letter() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Анна <a@example.com>"
    message["To"] = "b@example.net"
    message["Subject"] = "Счёт"
    message.set_content("Привет", cte="8bit")
    return message


def test_smtplib_submits_and_what_is_missing_is_added(
    strict: Running, remote: RemoteMx, letter: EmailMessage, certificate: Path
) -> None:
    context = ssl.create_default_context(cafile=str(certificate / "ca.pem"))
    with smtplib.SMTP("localhost", strict.places["submission"], timeout=20) as client:
        client.starttls(context=context)
        client.login("ann", "pass word")
        client.send_message(letter, to_addrs=["starttls@example.net"])
    received = arrived(remote, "starttls@example.net")
    message = read(received)
    assert b"with ESMTPSA " in received.octets
    assert message["Subject"] == "Счёт"
    assert message["Message-ID"].endswith("@example.com>")
    assert message["Date"]
    assert message.get_content().strip() == "Привет"


def test_smtplib_over_tls_from_the_beginning(
    strict: Running, remote: RemoteMx, letter: EmailMessage, certificate: Path
) -> None:
    context = ssl.create_default_context(cafile=str(certificate / "ca.pem"))
    with smtplib.SMTP_SSL("localhost", strict.places["SMTPS"], timeout=20, context=context) as client:
        client.login("ann", "pass word")
        client.send_message(letter, to_addrs=["smtps@example.net"])
    assert arrived(remote, "smtps@example.net").sender == "a@example.com"


def test_smtplib_with_addresses_beyond_ascii(sendry: Running, remote: RemoteMx) -> None:
    with sendry.smtp() as client:
        client.ehlo()
        assert client.has_extn("smtputf8")
        client.sendmail(
            "анна@example.com",
            ["борис@example.net"],
            "From: анна@example.com\r\nSubject: Привет\r\n\r\nx\r\n".encode(),
            mail_options=["SMTPUTF8", "BODY=8BITMIME"],
        )
    received = arrived(remote, "борис@example.net")
    assert received.sender == "анна@example.com"
    assert "SMTPUTF8" in received.mail


def test_smtplib_asks_for_reports_and_the_wish_travels_on(sendry: Running, remote: RemoteMx) -> None:
    with sendry.smtp() as client:
        client.sendmail(
            "a@example.com",
            ["reports@example.net"],
            b"From: a@example.com\r\n\r\nx\r\n",
            mail_options=["RET=HDRS", "ENVID=q1"],
            rcpt_options=["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;b@example.net"],
        )
    received = arrived(remote, "reports@example.net")
    assert "RET=HDRS" in received.mail
    assert "ENVID=q1" in received.mail
    assert "NOTIFY=FAILURE,DELAY" in received.rcpt[0]
    assert "ORCPT=rfc822;b@example.net" in received.rcpt[0]


def test_smtplib_is_told_of_a_mail_that_is_too_large(sendry: Running) -> None:
    with sendry.smtp() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "200000"
        with pytest.raises(smtplib.SMTPSenderRefused, match=r"5\.3\.4"):
            client.sendmail("a@example.com", ["b@example.net"], b"x" * 300_000)
    with sendry.smtp() as client:
        client.ehlo()
        client.mail("a@example.com")
        client.rcpt("b@example.net")
        assert client.data(b"From: a@example.com\r\n\r\n" + b"x\r\n" * 100_000)[0] == 552
