"""Smuggling over the wire: refused, closed, and nothing stored or left over to be taken for a command."""

from __future__ import annotations

import pytest

from tests.listener.conftest import Listen, Listening, spool_files
from tests.listener.test_data import BARE_LF_ONLY, SMUGGLING

HIDDEN = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nSubject: x\r\n\r\nevil\r\n.\r\n"


@pytest.mark.parametrize("form", SMUGGLING)
def test_is_refused_and_the_session_ends(server: Listening, form: bytes) -> None:
    with server.connect() as client:
        client.hello().transaction().send(b"Subject: x\r\n\r\nbody" + form + HIDDEN)
        assert client.rest() == b"554 5.6.0 Lines must end with CRLF\r\n"
    assert server.intake.envelopes == []
    assert spool_files(server.store) == []


@pytest.mark.parametrize("form", SMUGGLING)
def test_is_refused_when_cut_over_packets(server: Listening, form: bytes) -> None:
    for cut in range(1, len(form)):
        with server.connect() as client:
            client.hello().transaction().send(b"Subject: x\r\n\r\nbody" + form[:cut])
            client.send(form[cut:] + HIDDEN)
            assert client.rest().startswith(b"554 5.6.0 ")
    assert server.intake.envelopes == []


@pytest.mark.parametrize("form", SMUGGLING)
def test_is_refused_behind_a_spooled_part(server: Listening, form: bytes) -> None:
    with server.connect() as client:
        client.hello().transaction().send(b"Subject: x\r\n\r\n" + b"body\r\n" * 100_000 + form + HIDDEN)
        assert client.rest().startswith(b"554 5.6.0 ")
    server.stop()
    assert server.intake.envelopes == []
    assert spool_files(server.store) == []


@pytest.mark.parametrize("form", BARE_LF_ONLY)
def test_normalized_is_part_of_the_one_message(listen: Listen, form: bytes) -> None:
    server = listen('bare_newline = "normalize"')
    with server.connect() as client:
        client.hello().transaction().send(
            b"Subject: x\n\nbody" + form + b"MAIL FROM:<evil@example.com>\r\n.\r\nQUIT\r\n"
        )
        assert client.reply().startswith(b"250 2.0.0 ")
        assert client.reply().startswith(b"221 ")
    assert server.intake.only.content.head == b"Subject: x\r\n\r\n"
    assert server.intake.only.content.body == b"body\r\n\r\nMAIL FROM:<evil@example.com>\r\n"


@pytest.mark.parametrize("form", [b"\r.\r\n", b"\r\n\0.\r\n", b"\r\n.\r\r\n"])
def test_normalizing_takes_no_bare_carriage_return_and_no_nul(listen: Listen, form: bytes) -> None:
    server = listen('bare_newline = "normalize"')
    with server.connect() as client:
        client.hello().transaction().send(b"Subject: x\r\n\r\nbody" + form + HIDDEN)
        assert client.rest().startswith(b"554 5.6.0 ")
    assert server.intake.envelopes == []


def test_a_command_ends_with_crlf_only(server: Listening) -> None:
    with server.connect() as client:
        client.send(b"EHLO client.example\nMAIL FROM:<a@example.com>\n")
        assert client.rest() == b"554 5.6.0 Lines must end with CRLF\r\n"
    assert server.intake.senders == []


def test_normalizing_takes_commands_with_bare_line_feeds(listen: Listen) -> None:
    with listen('bare_newline = "normalize"').connect() as client:
        client.send(b"EHLO client.example\n")
        assert client.reply().startswith(b"250")
        client.send(b"QUIT\n")
        assert client.reply().startswith(b"221 ")
