"""BDAT (RFC 3030): the same promises as DATA, by length instead of a dot."""

from __future__ import annotations

import pytest

from sendry.mail.reply import Reply
from sendry.store.spool import SPOOL_FROM
from tests.listener.client import Client
from tests.listener.conftest import Listen, Listening, spool_files
from tests.listener.intake import RecordingIntake
from tests.listener.test_data import SMUGGLING

HEAD = b"Subject: x\r\n\r\n"


@pytest.fixture
def client(server: Listening) -> Client:
    """Ready for BDAT."""
    client = server.connect().hello()
    client.ask("MAIL FROM:<a@example.com>")
    client.ask("RCPT TO:<b@example.org>")
    return client


def bdat(octets: bytes, *, is_last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n" % (len(octets), b" LAST" * is_last) + octets


def test_takes_a_message_in_chunks(client: Client, intake: RecordingIntake) -> None:
    client.send(bdat(HEAD + b"one\r"))
    assert client.reply() == b"250 2.0.0 18 octets received\r\n"
    client.send(bdat(b"\ntwo\r\n.\r\n"))
    assert client.reply().startswith(b"250 ")
    client.send(bdat(b"three\r\n", is_last=True))
    assert client.reply() == b"250 2.0.0 Ok: queued as 0000000000001\r\n"
    assert intake.only.content.head == HEAD
    assert intake.only.content.body == b"one\r\ntwo\r\n.\r\nthree\r\n"


def test_takes_a_whole_group_at_once(server: Listening) -> None:
    client = server.connect().hello()
    client.send(
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"
        + bdat(HEAD + b"one\r\n")
        + bdat(b"", is_last=True)
        + b"QUIT\r\n"
    )
    assert [line[:3] for line in client.rest().splitlines()] == [b"250", b"250", b"250", b"250", b"221"]
    assert server.intake.only.content.body == b"one\r\n"


def test_ends_a_last_line_that_has_no_end(client: Client, intake: RecordingIntake) -> None:
    client.send(bdat(HEAD + b"one", is_last=True))
    assert client.reply().startswith(b"250 ")
    assert intake.only.content.body == b"one\r\n"


def test_spools_a_large_message(server: Listening, client: Client) -> None:
    for _ in range(3):
        client.send(bdat(HEAD + b"x" * SPOOL_FROM))
        assert client.reply().startswith(b"250 ")
    client.send(bdat(b"\r\n", is_last=True))
    assert client.reply().startswith(b"250 ")
    content = server.intake.only.content
    assert content.size == 3 * (SPOOL_FROM + len(HEAD)) + 2
    assert (server.store.spool.folder / content.spool).stat().st_size == content.size


@pytest.mark.parametrize("form", SMUGGLING)
def test_refuses_each_form_of_smuggling(server: Listening, client: Client, form: bytes) -> None:
    cut = len(form) // 2
    client.send(bdat(HEAD + b"x" + form[:cut]) + bdat(form[cut:] + b"y\r\n", is_last=True))
    assert client.rest().splitlines()[-1].startswith(b"554 5.6.0 ")
    assert server.intake.envelopes == []


def test_refuses_what_is_too_large_and_takes_the_next_message(listen: Listen) -> None:
    server = listen("max_message_bytes = 300000\n")
    client = server.connect().hello()
    client.ask("MAIL FROM:<a@example.com>")
    client.ask("RCPT TO:<b@example.org>")
    client.send(bdat(HEAD + b"x" * 290_000))
    assert client.reply().startswith(b"250 ")
    client.send(bdat(b"x" * 20_000))
    assert client.reply().startswith(b"552 5.3.4 ")
    client.send(bdat(b"x\r\n", is_last=True))
    assert client.reply().startswith(b"503 5.5.1 ")
    assert client.ask("RSET").startswith(b"250 ")
    client.transaction().send(HEAD + b".\r\n")
    assert client.reply().startswith(b"250 ")
    assert spool_files(server.store) == []


def test_of_endless_size_ends_the_session(client: Client) -> None:
    client.send(b"BDAT 99999999999999999999 LAST\r\nxxx")
    assert client.rest().startswith(b"552 5.3.4 ")


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 5 FIRST", b"BDAT 5 LAST now", b"BDAT 0x5"])
def test_of_unknown_length_ends_the_session(client: Client, line: bytes) -> None:
    client.send(line + b"\r\nMAIL\r\n")
    assert client.rest().startswith(b"501 5.5.4 ")


def test_before_its_turn_is_read_past(server: Listening) -> None:
    client = server.connect().hello()
    client.send(bdat(b"QUIT\r\n", is_last=True) + b"MAIL FROM:<a@example.com>\r\n")
    assert client.reply().startswith(b"503 5.5.1 ")
    assert client.reply().startswith(b"250 ")
    client.send(bdat(b"QUIT\r\n") + b"NOOP\r\n")
    assert client.reply().startswith(b"554 5.5.1 ")
    assert client.reply().startswith(b"250 ")


def test_is_not_mixed_with_data_or_more_recipients(client: Client) -> None:
    client.send(bdat(HEAD))
    client.reply()
    assert client.ask("RCPT TO:<c@example.org>").startswith(b"503 5.5.1 ")
    assert client.ask("DATA").startswith(b"503 5.5.1 ")
    assert client.ask("MAIL FROM:<a@example.com>").startswith(b"503 5.5.1 ")


@pytest.mark.parametrize("end", [b"RSET\r\n", b"EHLO x\r\n", b"QUIT\r\n", b""])
def test_given_up_leaves_no_file(server: Listening, client: Client, end: bytes) -> None:
    client.send(bdat(HEAD + b"x" * 2 * SPOOL_FROM))
    assert client.reply().startswith(b"250 ")
    assert len(spool_files(server.store)) == 1
    client.send(end)
    if end:
        client.reply()
    client.socket.close()
    server.stop()
    assert spool_files(server.store) == []


def test_refused_by_intake_leaves_no_file(server: Listening, client: Client, intake: RecordingIntake) -> None:
    intake.refuses_all_with = Reply(550, "5.7.1", "No")
    client.send(bdat(HEAD + b"x" * 2 * SPOOL_FROM, is_last=True))
    assert client.reply().startswith(b"550 ")
    server.stop()
    assert spool_files(server.store) == []
