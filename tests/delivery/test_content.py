"""The octets that go out: signed where a key asks for it, read piece by piece when large, 7-bit where needed."""

from __future__ import annotations

import email
import email.policy
import random
from collections.abc import Callable
from pathlib import Path

import dkim
import pytest

from sendry.mail.dkim import dns_record, generate_ed25519, generate_rsa, load_key
from tests import make
from tests.delivery.office import Office
from tests.remote_mx import RemoteMx

OpenOffice = Callable[..., Office]
KEYS = '[[domains."example.com".dkim]]\nselector = "{}"\nkey_file = "{}"\n'


@pytest.fixture
def signing(open_office: OpenOffice, mx: RemoteMx, tmp_path: Path) -> Office:
    """An office whose domain example.com signs with an RSA key and an Ed25519 key."""
    (tmp_path / "rsa.pem").write_bytes(generate_rsa(2048))
    (tmp_path / "ed.pem").write_bytes(generate_ed25519())
    text = KEYS.format("r1", tmp_path / "rsa.pem") + KEYS.format("e1", tmp_path / "ed.pem")
    office = open_office(text, port=mx.port)
    office.route("example.org", mx)
    return office


def records(folder: Path) -> Callable[..., bytes]:
    """The TXT records of the two keys, for dkimpy."""
    known = {
        f"{selector}._domainkey.example.com.": dns_record(
            load_key((folder / name).read_bytes(), "example.com", selector)
        ).encode()
        for selector, name in (("r1", "rsa.pem"), ("e1", "ed.pem"))
    }
    return lambda name, timeout=5: known.get(name.decode() if isinstance(name, bytes) else name, b"")


def signatures_hold(octets: bytes, folder: Path, count: int = 2) -> bool:
    # Signed and checked at the same moment: dkimpy refuses a signature from the future.
    verifier = dkim.DKIM(octets)
    assert octets.lower().count(b"dkim-signature:") == count
    return all(verifier.verify(index, dnsfunc=records(folder)) for index in range(count - 1))


def test_mail_of_a_domain_with_keys_is_signed_with_each(signing: Office, mx: RemoteMx, tmp_path: Path) -> None:
    sent = signing.send()

    signing.turn()

    assert signing.recipient(sent).status == "delivered"
    assert signatures_hold(mx.messages[0].octets, tmp_path)


def test_mail_of_a_subdomain_is_signed_with_the_keys_of_its_parent(
    signing: Office, mx: RemoteMx, tmp_path: Path
) -> None:
    signing.send(sender="anna@news.example.com")

    signing.turn()

    assert b" d=example.com;" in mx.messages[0].octets
    assert signatures_hold(mx.messages[0].octets, tmp_path)


@pytest.mark.parametrize("size", [40_000, 300_000, 1_500_000])
def test_large_mail_is_signed_and_arrives_octet_for_octet(
    signing: Office, mx: RemoteMx, tmp_path: Path, size: int
) -> None:
    chance = random.Random(size)
    lines = [bytes(chance.choices(b"abc. \t", k=chance.randint(0, 120))) for _ in range(size // 60)]
    body = b"\r\n".join(lines) + b"\r\n"
    sent = signing.send(content=make.spooled(signing.store, body))

    signing.turn()

    assert signing.recipient(sent).status == "delivered"
    assert mx.messages[0].octets.endswith(b"\r\n\r\n" + body)
    assert signatures_hold(mx.messages[0].octets, tmp_path)


def test_a_key_that_cannot_be_read_defers_the_mail_and_sends_nothing(
    signing: Office, mx: RemoteMx, tmp_path: Path
) -> None:
    (tmp_path / "rsa.pem").write_text("this is no key")
    sent = signing.send()

    signing.turn()
    recipient = signing.recipient(sent)
    assert (recipient.status, mx.messages) == ("deferred", [])
    assert "r1" in recipient.last_response

    (tmp_path / "rsa.pem").write_bytes(generate_rsa(2048))
    signing.clock.forward(minutes=6)
    signing.turn()
    assert signing.recipient(sent).status == "delivered"
    assert signatures_hold(mx.messages[0].octets, tmp_path)


def test_mail_of_a_domain_without_keys_goes_out_as_it_is(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port)
    office.route("example.org", mx)
    office.send()

    office.turn()

    assert b"dkim-signature" not in mx.messages[0].octets.lower()


def test_dots_at_the_start_of_lines_arrive_as_they_were(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port)
    office.route("example.org", mx)
    body = b".\r\n..\r\n.x\r\nx.\r\n.\r\n"
    office.send(content=make.content(body))

    office.turn()

    assert mx.messages[0].octets.endswith(b"\r\n\r\n" + body)
    assert b"\r\n..\r\n...\r\n..x\r\nx.\r\n..\r\n.\r\n" in mx.messages[0].raw


def test_eight_bit_mail_is_rewritten_before_it_is_signed_for_a_host_of_seven_bits(
    signing: Office, mx: RemoteMx, tmp_path: Path
) -> None:
    mx.extensions = tuple(name for name in mx.extensions if name != "8BITMIME")
    text = "Добрый день, Борис.\r\n"
    fields = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    signing.send(content=make.content(text.encode(), more=fields), eight_bit=True)

    signing.turn()

    octets = mx.messages[0].octets
    assert octets.isascii()
    assert email.message_from_bytes(octets, policy=email.policy.default).get_content() == text
    assert signatures_hold(octets, tmp_path)


def test_content_that_is_gone_keeps_the_recipient_waiting(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port)
    office.route("example.org", mx)
    content = make.spooled(office.store, b"x" * 500_000 + b"\r\n")
    sent = office.send(content=content)
    (office.store.spool.folder / content.spool).unlink()

    office.turn()

    assert office.recipient(sent).status == "deferred"
    assert mx.messages == []


def test_mail_of_two_authors_cannot_be_signed_and_is_not_sent(signing: Office, mx: RemoteMx) -> None:
    sent = signing.send()
    signing.store.writer.call(
        lambda tx: tx.change(
            "UPDATE content SET octets = ?", (b"From: a@example.com\r\nFrom: b@example.com\r\n\r\nx\r\n",)
        )
    ).result()

    signing.turn()

    assert mx.messages == []
    recipient = signing.recipient(sent)
    assert (recipient.status, recipient.last_enhanced) == ("failed", "5.6.0")
