"""Any octets at all: every line gets its reply, nothing is a fault of ours, and the next session is served."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.listener.client import Client
from tests.listener.conftest import Listening

words = st.sampled_from(
    [
        b"EHLO x", b"HELO x", b"EHLO", b"MAIL FROM:<a@example.com>", b"MAIL FROM:<>", b"MAIL FROM:<", b"MAIL",
        b"RCPT TO:<b@example.org>", b"RCPT TO:<@a,@b:c@d>", b"RCPT TO:<b@example.org> NOTIFY=NEVER,", b"DATA",
        b"BDAT 5", b"BDAT 2 LAST", b"BDAT", b".", b"Subject: x", b"", b"RSET", b"NOOP", b"VRFY \xff", b"AUTH",
        b"AUTH PLAIN =", b"AUTH LOGIN", b"*", b"STARTTLS", b"HELP", b"QUIT", b"GET / HTTP/1.0", b"\x16\x03\x01",
        b"MAIL FROM:<\xd0\xb8@example.com> SMTPUTF8", b"RCPT TO:<" + b"x" * 2000 + b"@y>", b"\0", b"a\rb",
    ]
)  # fmt: skip
lines = st.one_of(words, st.binary(max_size=30))
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n.\r\n", b""])
conversations = st.lists(st.tuples(lines, ends), max_size=25)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversations, st.lists(st.integers(1, 400), max_size=5))
def test_gets_replies_and_breaks_nothing(
    server: Listening, caplog: pytest.LogCaptureFixture, said: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    octets = b"".join(line + end for line, end in said)
    caplog.set_level(logging.ERROR)
    with Client(server.port) as client:
        start = 0
        try:
            for end in (*sorted(cut for cut in cuts if cut < len(octets)), len(octets)):
                client.send(octets[start:end])
                start = end
            client.half_close()
        except OSError:
            pass  # the server had heard enough
        heard = client.rest()
    assert all(line[:3].isdigit() and line[3:4] in (b" ", b"-") for line in heard.splitlines())
    assert heard.isascii()
    with Client(server.port) as other:
        assert other.ask("EHLO next.example").startswith(b"250-")
    assert caplog.records == []
