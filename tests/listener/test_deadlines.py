"""Every wait ends, and is announced before: 421 4.4.2."""

from __future__ import annotations

import collections
import itertools
import socket
import time

import pytest

from tests.listener.client import Client
from tests.listener.conftest import Listen, spool_files
from tests.listener.intake import RecordingIntake

IDLE = b"421 4.4.2 Timeout, closing connection\r\n"
SLOW = b"421 4.4.2 Data comes too slowly, closing connection\r\n"


def drip(client: Client, octet: bytes) -> bytes:
    """Send an octet now and then until the server has had enough; what it said then."""
    client.socket.settimeout(0.02)
    for _ in range(1000):
        client.send(octet)
        try:
            got = client.socket.recv(4096)
        except TimeoutError:
            continue
        return got
    pytest.fail("the server has no end of patience")


class TestCommand:
    def test_that_does_not_come_is_told_before_the_close(self, listen: Listen) -> None:
        client = listen('read_timeout = "100ms"\n').connect()
        assert client.rest() == IDLE

    def test_has_one_deadline_for_the_whole_line(self, listen: Listen) -> None:
        client = listen('read_timeout = "300ms"\n').connect()
        assert drip(client, b"x") == IDLE

    def test_after_another_has_a_deadline_of_its_own(self, listen: Listen) -> None:
        client = listen('read_timeout = "400ms"\n').connect()
        begin = time.monotonic()
        while time.monotonic() - begin < 0.8:
            assert client.ask("EHLO x").startswith(b"250")
            time.sleep(0.1)  # the pause of a slow person; nothing is waited for
        assert client.rest() == IDLE

    def test_within_auth_has_the_same_deadline(self, listen: Listen) -> None:
        client = listen('read_timeout = "200ms"\nauth.users = { a = "b" }\n').connect().hello()
        client.ask("AUTH LOGIN")
        assert client.rest() == IDLE

    def test_timeout_may_be_off(self, listen: Listen) -> None:
        server = listen("read_timeout = 0\nwrite_timeout = 0\n")
        assert server.connect().hello().ask("NOOP").startswith(b"250")


class TestData:
    def test_that_stops_coming_is_told_before_the_close(self, listen: Listen) -> None:
        server = listen(patience={"block": 0.1})
        client = server.connect().hello().transaction()
        client.send(b"Subject: x\r\n\r\nthe beginn")
        assert client.rest() == IDLE
        assert server.intake.envelopes == []

    def test_that_comes_slowly_but_surely_is_waited_for(self, listen: Listen) -> None:
        server = listen('read_timeout = "100ms"\n', patience={"block": 5.0, "rate_window": 0.1, "minimum_rate": 10.0})
        client = server.connect().hello().transaction()
        for _ in range(8):
            client.send(b"a line of body\r\n")
            time.sleep(0.05)  # the pace of the client; longer in all than the deadline of a command
        client.send(b".\r\n")
        assert client.reply().startswith(b"250 ")

    def test_below_the_minimum_rate_is_cut_off(self, listen: Listen) -> None:
        server = listen(patience={"rate_window": 0.3, "minimum_rate": 5000.0})
        client = server.connect().hello().transaction()
        assert drip(client, b"x") == SLOW

    def test_cut_off_leaves_no_file(self, listen: Listen) -> None:
        server = listen(patience={"block": 0.1})
        client = server.connect().hello().transaction()
        client.send(b"Subject: x\r\n\r\n" + b"body\r\n" * 200_000)
        assert client.rest() == IDLE
        server.stop()
        assert spool_files(server.store) == []


class TestSession:
    def test_is_not_kept_for_ever_by_noop(self, listen: Listen) -> None:
        client = listen(patience={"session": 0.2}, limits={"max_idle_commands": 10**9}).connect()
        replies = (client.ask("NOOP") for _ in itertools.count())
        last = next(reply for reply in replies if reply != b"250 2.0.0 OK\r\n")
        said_last = client.rest() if last.startswith(b"250 ") else last
        assert said_last == b"421 4.4.2 Session without a message for too long, closing connection\r\n"

    def test_with_nothing_but_noop_is_ended_by_their_number_too(self, listen: Listen) -> None:
        client = listen(limits={"max_idle_commands": 5}).connect()
        assert [client.ask("NOOP")[:3] for _ in range(5)] == [b"250"] * 4 + [b"421"]

    def test_that_takes_no_replies_is_broken_off(self, listen: Listen) -> None:
        server = listen('write_timeout = "200ms"\n', limits={"max_idle_commands": 10**9})
        client = server.connect()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        many = itertools.repeat(b"HELP\r\n" * 2000, 10_000)
        with pytest.raises(ConnectionError):
            collections.deque(map(client.send, many), maxlen=0)


class TestCommit:
    def test_that_takes_too_long_is_answered_as_our_fault(
        self, listen: Listen, intake: RecordingIntake, caplog: pytest.LogCaptureFixture
    ) -> None:
        intake.hold()
        client = listen(patience={"commit": 0.1}).connect().hello().transaction()
        client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        assert client.reply().startswith(b"451 4.3.0 ")
        assert client.ask("NOOP").startswith(b"250 ")
        intake.release()
        assert "SMTP session fault" in caplog.text
