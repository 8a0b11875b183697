"""What a session says and hands in, command by command."""

from __future__ import annotations

import collections
import itertools
import socket

import pytest

from sendry.mail.envelope import Addressee, OriginKind
from sendry.mail.reply import Reply
from sendry.store.spool import SPOOL_FROM
from tests.listener.conftest import Listen, Listening, spool_files
from tests.listener.intake import RecordingIntake

MESSAGE = b"From: a@example.com\r\nSubject: hello\r\n\r\nbody\r\n"


class TestGreeting:
    def test_names_the_host_and_nothing_else(self, server: Listening) -> None:
        assert server.connect().greeting == b"220 mx.example.com ESMTP\r\n"

    def test_ehlo_lists_what_is_offered(self, server: Listening) -> None:
        reply = server.connect().ask("EHLO client.example")
        assert reply.splitlines() == [
            b"250-mx.example.com",
            b"250-PIPELINING",
            b"250-SIZE 10485760",
            b"250-ENHANCEDSTATUSCODES",
            b"250-8BITMIME",
            b"250-SMTPUTF8",
            b"250-CHUNKING",
            b"250 DSN",
        ]

    def test_helo_is_enough_for_a_message(self, server: Listening) -> None:
        with server.connect() as client:
            assert client.ask("HELO old.example") == b"250 mx.example.com\r\n"
            client.transaction().send(MESSAGE + b".\r\n")
            assert client.reply().startswith(b"250 2.0.0 Ok: queued as ")
        assert b" with SMTP id {id}" in server.intake.only.trace

    @pytest.mark.parametrize("line", ["EHLO", "HELO", "EHLO  ", "EHLO a\x07b", "EHLO " + "a" * 256])
    def test_needs_a_name(self, server: Listening, line: str) -> None:
        assert server.connect().ask(line).startswith(b"501 5.5.4 ")

    def test_comes_before_mail(self, server: Listening) -> None:
        assert server.connect().ask("MAIL FROM:<a@example.com>").startswith(b"503 5.5.1 ")

    def test_ehlo_ends_a_transaction(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().ask("MAIL FROM:<a@example.com>")
            client.hello()
            assert client.ask("RCPT TO:<b@example.org>").startswith(b"503 5.5.1 ")


class TestMail:
    def test_is_handed_in_with_all_that_belongs_to_it(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction("Alice@Example.COM", "b@example.org", "c@example.net")
            client.send(MESSAGE + b".\r\n")
            assert client.reply() == b"250 2.0.0 Ok: queued as 0000000000001\r\n"
        envelope = server.intake.only
        assert envelope.sender == "Alice@example.com"
        assert envelope.recipients == (Addressee("b@example.org"), Addressee("c@example.net"))
        assert envelope.content.head == b"From: a@example.com\r\nSubject: hello\r\n\r\n"
        assert envelope.content.body == b"body\r\n"
        assert (envelope.origin.kind, envelope.origin.client_ip) == (OriginKind.SMTP, "127.0.0.1")
        assert (envelope.smtputf8, envelope.eight_bit, envelope.ret, envelope.envid) == (False, False, "", "")

    def test_carries_its_dsn_parameters(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().ask("MAIL FROM:<a@example.com> RET=HDRS ENVID=QQ+2B314 AUTH=<> BODY=8BITMIME SIZE=100")
            client.ask("RCPT TO:<b@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;B@example.org")
            client.ask("RCPT TO:<c@example.org> NOTIFY=NEVER")
            client.ask("DATA")
            client.ask(MESSAGE + b".")
        envelope = server.intake.only
        assert (envelope.ret, envelope.envid, envelope.eight_bit) == ("HDRS", "QQ+314", True)
        assert envelope.recipients == (
            Addressee("b@example.org", "SUCCESS,FAILURE", "rfc822;B@example.org"),
            Addressee("c@example.org", "NEVER"),
        )

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("MAIL", b"501 5.5.4"),
            ("MAIL FROM", b"501 5.5.4"),
            ("MAIL TO:<a@example.com>", b"501 5.5.4"),
            ("MAIL FROM:a@example.com", b"501 5.1.7"),
            ("MAIL FROM:<a@example.com> FOO=1", b"555 5.5.4"),
            ("MAIL FROM:<a@example.com> SIZE=x", b"501 5.5.4"),
            ("MAIL FROM:<a@example.com> BODY=BINARY", b"501 5.5.4"),
            ("MAIL FROM:<a@example.com> SMTPUTF8=1", b"501 5.5.4"),
            ("MAIL FROM:<a@example.com> SIZE=10485761", b"552 5.3.4"),
            ("MAIL FROM:<иван@example.com>", b"553 5.6.7"),
        ],
    )
    def test_with_a_fault_is_refused(self, server: Listening, line: str, code: bytes) -> None:
        assert server.connect().hello().ask(line).startswith(code)

    def test_in_utf8_needs_its_parameter_and_keeps_it(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello()
            assert client.ask("MAIL FROM:<иван@example.com> SMTPUTF8").startswith(b"250 ")
            assert client.ask("RCPT TO:<пётр@example.org>").startswith(b"250 ")
            client.ask("DATA")
            client.ask("Subject: привет\r\n\r\n.")
        envelope = server.intake.only
        assert (envelope.sender, envelope.recipients[0].address) == ("иван@example.com", "пётр@example.org")
        assert envelope.smtputf8
        assert envelope.eight_bit
        assert b" with UTF8SMTP id " in envelope.trace

    def test_nested_is_refused(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().ask("MAIL FROM:<a@example.com>")
            assert client.ask("MAIL FROM:<a@example.com>").startswith(b"503 5.5.1 ")

    def test_of_a_sender_intake_does_not_want_is_answered_with_its_reply(
        self, server: Listening, intake: RecordingIntake
    ) -> None:
        intake.refused_senders["x@evil.example"] = Reply(550, "5.7.1", "Not from here")
        with server.connect() as client:
            assert client.hello().ask("MAIL FROM:<x@evil.example>") == b"550 5.7.1 Not from here\r\n"
            assert client.ask("MAIL FROM:<a@example.com>").startswith(b"250 ")


class TestRcpt:
    def test_needs_a_sender(self, server: Listening) -> None:
        assert server.connect().hello().ask("RCPT TO:<b@example.org>").startswith(b"503 5.5.1 ")

    def test_refused_alone_leaves_the_others(self, server: Listening, intake: RecordingIntake) -> None:
        intake.refused_recipients["c@example.org"] = Reply(550, "5.7.1", "Relaying denied")
        with server.connect() as client:
            client.hello().ask("MAIL FROM:<a@example.com>")
            assert client.ask("RCPT TO:<c@example.org>") == b"550 5.7.1 Relaying denied\r\n"
            assert client.ask("RCPT TO:<b@example.org>").startswith(b"250 2.1.5 ")
            client.ask("DATA")
            client.ask(MESSAGE + b".")
        assert intake.only.recipients == (Addressee("b@example.org"),)

    def test_takes_postmaster_without_a_domain(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().ask("MAIL FROM:<>")
            assert client.ask("RCPT TO:<Postmaster>").startswith(b"250 2.1.5 ")
        assert server.intake.recipients == ["postmaster"]

    def test_above_the_limit_is_deferred(self, listen: Listen) -> None:
        with listen("max_recipients = 2").connect() as client:
            client.hello().ask("MAIL FROM:<a@example.com>")
            client.ask("RCPT TO:<b@example.org>")
            client.ask("RCPT TO:<c@example.org>")
            assert client.ask("RCPT TO:<d@example.org>").startswith(b"452 4.5.3 ")
            assert client.ask("DATA").startswith(b"354 ")


class TestData:
    def test_needs_a_recipient(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello()
            assert client.ask("DATA").startswith(b"503 5.5.1 ")
            client.ask("MAIL FROM:<a@example.com>")
            assert client.ask("DATA").startswith(b"554 5.5.1 ")
            assert client.ask("DATA now").startswith(b"501 5.5.4 ")

    def test_is_answered_only_after_the_commit(self, server: Listening, intake: RecordingIntake) -> None:
        intake.hold()
        with server.connect() as client:
            client.hello().transaction().send(MESSAGE + b".\r\n")
            assert intake.handed_in.wait(20)
            client.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.socket.settimeout(20)
            intake.release()
            assert client.reply().startswith(b"250 2.0.0 ")

    def test_ends_the_transaction_whatever_comes_of_it(self, server: Listening, intake: RecordingIntake) -> None:
        intake.refuses_all_with = Reply(554, "5.6.0", "No From field")
        with server.connect() as client:
            client.hello().transaction().send(MESSAGE + b".\r\n")
            assert client.reply() == b"554 5.6.0 No From field\r\n"
            assert client.ask("DATA").startswith(b"503 ")
            intake.refuses_all_with = None
            client.transaction().send(MESSAGE + b".\r\n")
            assert client.reply().startswith(b"250 ")

    def test_undoes_dot_stuffing(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction().send(b"Subject: x\r\n\r\n..one\r\n...\r\n.\r\n")
            client.reply()
        assert server.intake.only.content.body == b".one\r\n..\r\n"

    def test_without_a_header_is_all_body(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction().send(b"\r\njust text\r\n.\r\n")
            client.reply()
        content = server.intake.only.content
        assert (content.head, content.body) == (b"\r\n", b"just text\r\n")

    def test_above_the_limit_is_refused_after_the_dot_and_nothing_is_stored(self, listen: Listen) -> None:
        server = listen("max_message_bytes = 400000")
        with server.connect() as client:
            client.hello().transaction()
            for _ in range(20):
                client.send(b"x" * 70_000 + b"\r\n")
            client.send(b".\r\n")
            assert client.reply().startswith(b"552 5.3.4 ")
            client.transaction().send(MESSAGE + b".\r\n")
            assert client.reply().startswith(b"250 ")
        assert spool_files(server.store) == []

    def test_without_end_is_cut_off(self, listen: Listen) -> None:
        server = listen("max_message_bytes = 1000", patience={"linger": 0.2})
        with server.connect() as client:
            client.hello().transaction()
            endless = itertools.repeat(b"x" * 1_000_000)
            with pytest.raises((ConnectionError, TimeoutError)):
                collections.deque(map(client.send, endless), maxlen=0)

    def test_of_a_large_message_is_on_disk_before_it_is_handed_in(self, server: Listening) -> None:
        message = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 60_000
        assert len(message) > 2 * SPOOL_FROM
        with server.connect() as client:
            client.hello().transaction().send(message + b".\r\nNOOP\r\n")
            assert client.reply().startswith(b"250 2.0.0 Ok: queued")
            assert client.reply().startswith(b"250 ")
        content = server.intake.only.content
        stored = (server.store.spool.folder / content.spool).read_bytes()
        assert stored == message
        assert content.head == b"Subject: large\r\n\r\n"
        assert stored[content.spool_offset :] == message[len(content.head) :]
        assert content.size == len(message)

    def test_broken_off_leaves_no_file(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction().send(b"Subject: x\r\n\r\n" + b"y" * (3 * SPOOL_FROM))
        server.stop()
        assert spool_files(server.store) == []
        assert server.intake.envelopes == []

    def test_refused_by_intake_leaves_no_file(self, server: Listening, intake: RecordingIntake) -> None:
        intake.refuses_all_with = Reply(550, "5.7.1", "No")
        with server.connect() as client:
            client.hello().transaction().send(b"Subject: x\r\n\r\n" + b"y" * (3 * SPOOL_FROM) + b"\r\n.\r\n")
            assert client.reply().startswith(b"550 ")
        server.stop()
        assert spool_files(server.store) == []

    def test_with_a_header_block_without_end_is_refused(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction().send(b"X-Long: yyyyyyyyyyyyy\r\n" * 20_000 + b".\r\n")
            assert client.reply().startswith(b"554 5.6.0 ")
            assert client.ask("NOOP").startswith(b"250 ")

    def test_carries_octets_beyond_ascii_unannounced(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction().send("Subject: x\r\n\r\nпривет\r\n.\r\n".encode())
            client.reply()
        assert server.intake.only.eight_bit


class TestTrace:
    def test_says_who_when_and_how_but_not_to_whom_when_there_are_several(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction("a@example.com", "b@example.org", "c@example.org")
            client.ask(MESSAGE + b".")
        trace = server.intake.only.trace
        assert trace.startswith(
            b"Received: from client.example ([127.0.0.1])\r\n\tby mx.example.com with ESMTP id {id};"
        )
        assert trace.endswith(b"+0000\r\n")
        assert b"example.org" not in trace

    def test_names_a_single_recipient(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction()
            client.ask(MESSAGE + b".")
        assert b"for <b@example.org>;" in server.intake.only.trace


class TestOtherCommands:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("NOOP", b"250 2.0.0"),
            ("noop whatever", b"250 2.0.0"),
            ("RSET", b"250 2.0.0"),
            ("VRFY root", b"252 2.5.0"),
            ("EXPN staff", b"502 5.7.0"),
            ("HELP", b"214 2.0.0"),
            ("FOO", b"500 5.5.2"),
            ("", b"500 5.5.2"),
            ("ETRN example.com", b"500 5.5.2"),
            ("STARTTLS", b"502 5.5.1"),
            ("AUTH PLAIN AGEAYg==", b"502 5.5.1"),
        ],
    )
    def test_have_one_reply_each(self, server: Listening, line: str, code: bytes) -> None:
        assert server.connect().hello().ask(line).startswith(code)

    def test_rset_forgets_the_transaction(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().ask("MAIL FROM:<a@example.com>")
            client.ask("RSET")
            assert client.ask("RCPT TO:<b@example.org>").startswith(b"503 ")

    def test_quit_says_goodbye_and_closes(self, server: Listening) -> None:
        with server.connect() as client:
            assert client.ask("QUIT").startswith(b"221 2.0.0 ")
            assert client.is_closed()

    def test_quit_frees_its_place_before_the_reply(self, listen: Listen) -> None:
        server = listen("max_connections_per_ip = 1")
        for _ in range(20):
            with server.connect() as client:
                assert client.greeting.startswith(b"220 ")
                client.send(b"QUIT\r\n")
                assert client.reply().startswith(b"221 ")


class TestPipelining:
    def test_answers_a_group_in_one_write(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello()
            client.send(b"MAIL FROM:<a@example.com>\r\n" + b"RCPT TO:<b@example.org>\r\n" * 30 + b"DATA\r\n")
            got = client.socket.recv(65536)
        assert got.count(b"250 2.1.5") == 30
        assert got.splitlines()[-1].startswith(b"354 ")

    def test_takes_the_next_transaction_behind_the_final_dot(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().transaction()
            client.send(MESSAGE + b".\r\nMAIL FROM:<c@example.com>\r\nRCPT TO:<d@example.org>\r\nDATA\r\n")
            assert [client.reply()[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
            client.send(MESSAGE + b".\r\nQUIT\r\n")
            assert [client.reply()[:3] for _ in range(2)] == [b"250", b"221"]
        assert [envelope.sender for envelope in server.intake.envelopes] == ["a@example.com", "c@example.com"]

    def test_lets_others_have_their_turn(self, server: Listening, intake: RecordingIntake) -> None:
        with server.connect() as greedy, server.connect() as other:
            greedy.hello()
            other.hello()
            # While the greedy one is served, the other's command arrives.
            intake.at_first_recipient = lambda: other.send(b"MAIL FROM:<c@example.com>\r\n")
            recipient = b"RCPT TO:<b@example.org>\r\n"
            greedy.send(b"MAIL FROM:<a@example.com>\r\n" + recipient + b"NOOP\r\n" * 180 + recipient)
            assert sum(greedy.reply().startswith(b"250 ") for _ in range(183)) == 183
            assert other.reply().startswith(b"250 ")
        assert intake.calls == ["MAIL", "RCPT", "MAIL", "RCPT"]

    def test_commands_may_come_in_any_packets(self, server: Listening) -> None:
        with server.connect() as client:
            for octet in b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n":
                client.send(bytes([octet]))
                if octet == 10:
                    assert client.reply().startswith(b"250")

    def test_sets_no_delay_on_replies(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello()
            (session,) = server.servers._sessions
            assert session.transport is not None
            sock = session.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
