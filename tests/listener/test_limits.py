"""How many may come, from where, and how much nonsense is listened to."""

from __future__ import annotations

import threading

import pytest

from sendry.mail.reply import Reply
from tests.listener.conftest import Listen, Listening
from tests.listener.intake import RecordingIntake


class TestConnections:
    def test_above_the_limit_are_told_to_come_back(self, listen: Listen) -> None:
        server = listen("max_connections = 2\n")
        first, _second = server.connect(), server.connect(source="127.0.0.2")
        third = server.connect(source="127.0.0.3")
        assert third.greeting == b"421 4.3.2 Too many connections, try again later\r\n"
        assert third.is_closed()
        first.ask("QUIT")
        assert server.connect(source="127.0.0.3").greeting.startswith(b"220 ")

    def test_of_one_address_are_counted_over_all_listeners(self, listen: Listen) -> None:
        server = listen("max_connections_per_ip = 1\n", submission=True)
        server.connect("smtp.listen_addr")
        refused = server.connect("smtp.submission_addr")
        assert refused.greeting.startswith(b"421 4.7.0 Too many connections from your address")
        assert server.connect("smtp.submission_addr", source="127.0.0.2").greeting.startswith(b"220 ")

    def test_that_vanish_free_their_place(self, listen: Listen) -> None:
        server = listen("max_connections_per_ip = 1\n")
        for _ in range(3):
            client = server.connect()
            while client.greeting.startswith(b"421 "):  # the server has not yet heard of the last one's end
                client = server.connect()
            client.socket.close()

    def test_from_elsewhere_than_allowed_are_refused(self, listen: Listen) -> None:
        server = listen('allowed_ips = ["127.0.0.2", "127.0.9.0/24"]\n')
        refused = server.connect()
        assert refused.greeting.startswith(b"554 5.7.1 ")
        assert refused.is_closed()
        assert server.connect(source="127.0.0.2").greeting.startswith(b"220 ")
        assert server.connect(source="127.0.9.7").greeting.startswith(b"220 ")

    def test_are_counted(self, server: Listening) -> None:
        client = server.connect()
        assert server.servers.connections.active == 1
        client.ask("QUIT")
        assert server.servers.connections.active == 0
        assert server.servers.counters.connections_total == 1
        assert server.servers.connections.per_ip == {}


class TestErrors:
    def test_end_the_session_at_the_twentieth(self, server: Listening) -> None:
        client = server.connect()
        assert all(client.ask("FOO").startswith(b"500 5.5.2 ") for _ in range(20))
        assert client.rest().startswith(b"421 4.7.0 Too many errors")

    def test_are_forgiven_with_an_accepted_message(self, server: Listening) -> None:
        client = server.connect().hello()
        for _ in range(15):
            client.ask("FOO")
        client.transaction().send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        assert client.reply().startswith(b"250 ")
        assert all(client.ask("FOO").startswith(b"500 ") for _ in range(15))

    def test_of_recipients_are_allowed_more_often_but_not_without_end(
        self, listen: Listen, intake: RecordingIntake
    ) -> None:
        intake.refused_recipients["x@example.org"] = Reply(550, "5.7.1", "No")
        client = listen(limits={"max_refusals": 40}).connect().hello()
        client.ask("MAIL FROM:<a@example.com>")
        assert all(client.ask("RCPT TO:<x@example.org>").startswith(b"550 ") for _ in range(40))
        assert client.rest().startswith(b"421 4.7.0 ")


class TestLines:
    @pytest.mark.parametrize(
        ("line", "room"),
        [("NOOP ", 512), ("MAIL FROM:<a@example.com> ", 1200), ("RCPT TO:<a@example.com> ", 1100)],
    )
    def test_above_their_limit_are_refused_and_the_session_goes_on(
        self, server: Listening, line: str, room: int
    ) -> None:
        client = server.connect().hello()
        assert not client.ask(line.ljust(room - 2, "x")).startswith(b"500 ")
        assert client.ask(line.ljust(room - 1, "x")) == b"500 5.5.2 Line too long\r\n"
        assert client.ask("NOOP").startswith(b"250 ")

    def test_without_end_are_not_kept(self, server: Listening) -> None:
        client = server.connect()
        (session,) = server.servers._sessions
        for _ in range(300):
            client.send(b"x" * 10_000)
            assert len(session._in) < 400_000
        client.send(b"\r\n")
        assert client.reply() == b"500 5.5.2 Line too long\r\n"
        assert client.ask("NOOP").startswith(b"250 ")

    def test_that_are_not_utf8_are_refused(self, server: Listening) -> None:
        client = server.connect().hello()
        assert client.ask(b"MAIL FROM:<\xff@example.com>").startswith(b"500 5.5.2 ")
        assert client.ask("NOOP").startswith(b"250 ")


class TestStrangers:
    @pytest.mark.parametrize(
        "octets",
        [
            b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
            b"POST /send HTTP/1.1\r\n\r\nMAIL FROM:<a@example.com>\r\n",
            b"CONNECT example.org:25 HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x16\x03\x01\x0a\x00\x01\x00\x01\xfc\x03\x03\r\n",
        ],
    )
    def test_that_speak_no_smtp_get_one_reply(self, server: Listening, octets: bytes) -> None:
        client = server.connect()
        client.send(octets)
        assert client.rest() == b"554 5.5.1 This is a mail server, closing connection\r\n"


class TestEarlyTalkers:
    def test_before_the_greeting_are_refused(self, server: Listening) -> None:
        # The listener looks up only when connection and octets are both there.
        busy = threading.Event()
        server.servers._loop.call_soon_threadsafe(busy.wait, 20)
        client = server.connect(greeted=False)
        client.send(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n")
        busy.set()
        assert client.rest() == b"554 5.5.0 Data sent before its turn, closing connection\r\n"
        assert server.intake.senders == []

    def test_behind_ehlo_are_refused(self, server: Listening) -> None:
        client = server.connect()
        client.send(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n")
        assert client.rest().startswith(b"554 5.5.0 ")

    def test_behind_data_before_the_354_are_refused(self, server: Listening) -> None:
        client = server.connect().hello()
        client.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n")
        assert client.rest().splitlines()[-1].startswith(b"554 5.5.0 ")
        assert server.intake.envelopes == []
