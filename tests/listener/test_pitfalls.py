"""The ways in which aiosmtpd 1.4.6 falls short in production, A1 to A25: none of them is ours.

A1 and A2 are also told of the grammar itself, in tests/mail/test_address.py; A13 in tests/mail/test_esmtp.py.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version

import pytest
from aiosmtpd.smtp import SMTP

from sendry.access.logins import AT_ONCE, hash_password, hashing
from sendry.listener.protocol import SmtpProtocol
from sendry.listener.server import new_loop
from tests.listener.conftest import Listen, Listening, spool_files
from tests.listener.intake import RecordingIntake
from tests.listener.test_auth import BAD, GOOD, USERS, encoded, plain
from tests.listener.test_data import SMUGGLING
from tests.listener.test_tls import over_tls

MESSAGE = b"Subject: x\r\n\r\nbody\r\n.\r\n"


def test_a1_encoded_words_in_an_address_are_never_decoded(server: Listening) -> None:
    client = server.connect().hello()
    word = "=?utf-8?q?x=3E=0D=0ARCPT_TO=3A=3Cvictim=40v=2Ev=3E?="
    assert client.ask(f"MAIL FROM:<{word}@example.com>").startswith(b"501 5.1.7 ")
    client.ask("MAIL FROM:<a@example.com>")
    assert client.ask(f"RCPT TO:<{word}@allowed.test>").startswith(b"501 5.1.3 ")
    assert server.intake.recipients == []


@pytest.mark.parametrize(
    "path",
    [
        "<(comment)b@example.org>",
        "<b(comment)@example.org>",
        "<@relay.example,@other.example:b@example.org>",
        "<b>",
        "b@example.org",
        "<b@example.org",
        "<b\0@example.org>",
        "<b @ example.org>",
        "<b@example.org\r>",
        "<" + "b" * 65 + "@example.org>",
        "<b@" + "e" * 64 + ".org>",
        "<b@" + ("e" * 60 + ".") * 5 + "org>",
    ],
)
def test_a2_addresses_are_those_of_rfc_5321(server: Listening, path: str) -> None:
    client = server.connect().hello()
    client.ask("MAIL FROM:<a@example.com>")
    assert client.ask(f"RCPT TO:{path}").startswith((b"501 5.1.3 ", b"554 5.6.0 "))
    assert server.intake.recipients == []


@pytest.mark.parametrize("line", [b"\r\n", b"ab\r\n", b"x" * 996 + b"\r\n", b"x" * 100_000 + b"\r\n"])
def test_a3_memory_of_data_does_not_depend_on_its_lines(server: Listening, line: bytes) -> None:
    body = line * (5_000_000 // len(line))
    clients = [server.connect().hello().transaction() for _ in range(4)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for client in clients:
        client.send(b"Subject: x\r\n\r\n" + body + b".\r\n")
    assert all(client.reply().startswith(b"250 ") for client in clients)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # KiB, for 20 MB of mail
    assert [path.stat().st_size for path in spool_files(server.store)] == [len(body) + 14] * 4


@pytest.mark.parametrize("form", SMUGGLING)
def test_a4_bare_line_ends_and_nul_never_pass(server: Listening, form: bytes) -> None:
    client = server.connect().hello().transaction()
    client.send(b"Subject: x\r\n\r\nx" + form + b"y\r\n.\r\n")
    assert client.rest().startswith(b"554 5.6.0 ")
    assert server.intake.envelopes == []


def test_a4_a_line_feed_alone_ends_no_command(server: Listening) -> None:
    client = server.connect()
    client.send(b"EHLO x\nNOOP\r\n")
    assert client.rest().startswith(b"554 5.6.0 ")


class TestA5:
    def test_what_nobody_foresaw_is_temporary_and_tells_nothing(
        self, server: Listening, intake: RecordingIntake, caplog: pytest.LogCaptureFixture
    ) -> None:
        intake.fails_with = RuntimeError("secret of the house")
        client = server.connect().hello().transaction()
        client.send(MESSAGE)
        reply = client.reply()
        assert reply.startswith(b"451 4.3.0 Temporary server error, try again later (trace ")
        assert b"secret" not in reply
        (record,) = (each for each in caplog.records if each.name.startswith("sendry."))
        assert record.__dict__["trace"].encode() in reply
        intake.fails_with = None
        client.transaction().send(MESSAGE)
        assert client.reply().startswith(b"250 ")

    def test_at_a_recipient_it_costs_that_recipient_only(self, server: Listening, intake: RecordingIntake) -> None:
        client = server.connect().hello()
        client.ask("MAIL FROM:<a@example.com>")
        intake.breaks_at_recipient = KeyError("oops")
        assert client.ask("RCPT TO:<b@example.org>").startswith(b"451 4.3.0 ")
        intake.breaks_at_recipient = None
        assert client.ask("RCPT TO:<b@example.org>").startswith(b"250 ")


class TestA6:
    def test_a_half_closed_connection_gets_its_message_stored_and_its_replies(
        self, server: Listening, intake: RecordingIntake
    ) -> None:
        intake.hold()
        client = server.connect().hello().transaction()
        client.send(MESSAGE + b"QUIT\r\n")
        client.half_close()
        assert intake.handed_in.wait(20)
        intake.release()
        assert [line[:3] for line in client.rest().splitlines()] == [b"250", b"221"]

    def test_a_connection_that_is_gone_does_not_cancel_the_commit(
        self, server: Listening, intake: RecordingIntake
    ) -> None:
        intake.hold()
        client = server.connect().hello().transaction()
        client.send(MESSAGE)
        assert intake.handed_in.wait(20)
        client.socket.close()
        ((_, future, _),) = intake._waiting
        server.connect().hello()  # by now the server has heard of the close
        assert not future.cancelled()
        intake.release()
        server.stop()
        assert future.result() == "0000000000001"


def test_a7_a_stop_cancels_no_commit(server: Listening, intake: RecordingIntake) -> None:
    intake.hold()
    client = server.connect().hello().transaction()
    client.send(MESSAGE)
    assert intake.handed_in.wait(20)
    ((loop, future, _),) = intake._waiting
    loop.call_soon_threadsafe(loop.call_later, 0.2, intake.release)
    server.stop(10.0)
    assert future.result() == "0000000000001"
    assert client.rest().startswith(b"250 2.0.0 ")


def test_a8_every_timeout_is_announced(listen: Listen) -> None:
    # The other sides of A8 (slow uploads, NOOP for ever) are in test_deadlines.py.
    client = listen('read_timeout = "50ms"\n').connect()
    assert client.rest().startswith(b"421 4.4.2 ")


def test_a9_implicit_tls_is_tls(listen: Listen, tls_toml: str) -> None:
    server = listen(tls_toml + USERS + "trusted_networks = []\n", smtps=True)
    client = over_tls(server)
    assert b"250-AUTH PLAIN LOGIN\r\n" in client.ask("EHLO x")
    assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"235 ")
    (session,) = server.servers._sessions
    assert session.session.ssl is not None


@pytest.mark.parametrize("mechanism", ["plain", "PlAiN", "PLAIN"])
def test_a10_mechanisms_are_known_in_any_case(listen: Listen, mechanism: str) -> None:
    assert listen(USERS).connect().hello().ask(f"auth {mechanism} {GOOD}").startswith(b"235 ")


class TestA11:
    def test_auth_is_offered_only_where_it_can_be_used(self, listen: Listen) -> None:
        assert b"AUTH" not in listen().connect().ask("EHLO x")

    def test_auth_within_a_transaction_is_refused(self, listen: Listen) -> None:
        client = listen(USERS).connect().hello()
        client.ask("MAIL FROM:<a@example.com>")
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"503 5.5.1 ")

    def test_hashing_does_not_hold_up_other_sessions(self, listen: Listen) -> None:
        server = listen(f'auth.users = {{ carol = "{hash_password("sesame open")}" }}\n')
        client, other = server.connect().hello(), server.connect().hello()
        with ExitStack() as all_hashing:
            for _ in range(AT_ONCE):
                all_hashing.enter_context(hashing)
            client.send(f"AUTH PLAIN {plain('carol', 'sesame open')}\r\n".encode())
            assert all(other.ask("NOOP").startswith(b"250 ") for _ in range(20))
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.socket.recv(1)
        client.socket.settimeout(20)
        assert client.reply().startswith(b"235 ")


class TestA12:
    def test_the_third_wrong_password_is_the_last(self, listen: Listen) -> None:
        client = listen(USERS + "auth.max_failures = 0\n").connect().hello()
        replies = [client.ask(f"AUTH PLAIN {BAD}")[:3] for _ in range(3)]
        assert replies == [b"535"] * 3
        assert client.rest().startswith(b"421 4.7.0 ")

    def test_recipients_are_limited(self, server: Listening) -> None:
        client = server.connect().hello()
        client.ask("MAIL FROM:<a@example.com>")
        client.send(b"RCPT TO:<b@example.org>\r\n" * 101)
        replies = [client.reply()[:3] for _ in range(101)]
        assert replies == [b"250"] * 100 + [b"452"]

    def test_connections_are_limited(self, server: Listening) -> None:
        clients = [server.connect() for _ in range(51)]
        assert [client.greeting[:3] for client in clients] == [b"220"] * 50 + [b"421"]


def test_a13_parameters_of_mail_and_rcpt_are_known_and_keep_their_case(server: Listening) -> None:
    client = server.connect().hello()
    assert client.ask("MAIL FROM:<a@example.com> AUTH=<> RET=full ENVID=MixedCase").startswith(b"250 ")
    assert client.ask("RCPT TO:<b@example.org> NOTIFY=delay ORCPT=rfc822;MixedCase@example.org").startswith(b"250 ")
    client.ask("DATA")
    client.ask(MESSAGE[:-2])
    envelope = server.intake.only
    assert (envelope.ret, envelope.envid) == ("FULL", "MixedCase")
    assert (envelope.recipients[0].notify, envelope.recipients[0].orcpt) == ("DELAY", "rfc822;MixedCase@example.org")


class TestA14:
    def test_what_is_done_is_announced(self, server: Listening) -> None:
        reply = server.connect().ask("EHLO x")
        assert all(word in reply for word in (b"PIPELINING", b"ENHANCEDSTATUSCODES", b"DSN", b"8BITMIME"))

    def test_every_reply_has_an_enhanced_code(self, server: Listening) -> None:
        client = server.connect().hello()
        for line in ("NOOP", "FOO", "MAIL", "RCPT", "MAIL FROM:<a@example.com>", "RSET", "VRFY x", "HELP", "QUIT"):
            code, enhanced = client.ask(line).split(b" ")[:2]
            assert enhanced[:1] == code[:1]
            assert enhanced.count(b".") == 2

    def test_a_body_before_the_354_is_refused(self, server: Listening) -> None:
        client = server.connect().hello()
        client.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n" + MESSAGE)
        assert client.rest().splitlines()[-1].startswith(b"554 5.5.0 ")
        assert server.intake.envelopes == []


@pytest.mark.parametrize("path", ["<>", " <>"])
def test_a15_the_null_sender_is_empty(server: Listening, path: str) -> None:
    client = server.connect().hello()
    client.ask(f"MAIL FROM:{path}")
    client.ask("RCPT TO:<b@example.org>")
    client.ask("DATA")
    client.ask(MESSAGE[:-2])
    assert server.intake.only.sender == ""
    assert server.intake.senders[0][1] == ""


def test_a16_sessions_do_not_change_each_others_limits(server: Listening) -> None:
    before = dict(SMTP.command_size_limits)
    first = server.connect()
    assert first.ask("MAIL ".ljust(1199, "x")).startswith(b"500 5.5.2 Line too long")
    assert first.ask("NOOP ".ljust(511, "x")).startswith(b"500 5.5.2 Line too long")
    server.connect().hello()
    assert first.ask("NOOP ".ljust(511, "x")).startswith(b"500 5.5.2 Line too long")
    assert dict(SMTP.command_size_limits) == before


@pytest.mark.parametrize("length", [998, 999, 1001, 5000, 300_000])
def test_a17_long_lines_are_taken_and_not_broken(server: Listening, length: int) -> None:
    line = b"x" * length + b"\r\n"
    client = server.connect().hello().transaction()
    client.send(b"Subject: x\r\n\r\n" + line + b".\r\n")
    assert client.reply().startswith(b"250 ")
    content = server.intake.only.content
    spooled = (
        (server.store.spool.folder / content.spool).read_bytes() if content.spool else content.head + content.body
    )
    assert spooled == b"Subject: x\r\n\r\n" + line


def test_a18_neither_commands_nor_bodies_nor_passwords_are_logged(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = listen(USERS).connect().hello()
    client.ask("AUTH PLAIN !" + encoded("hidden-one"))
    client.ask("AUTH LOGIN")
    client.ask(encoded("hidden-two"))
    client.ask(encoded("hidden-three"))
    client.ask(f"AUTH PLAIN {GOOD}")
    client.transaction("hidden-sender@example.com").send(b"Subject: hidden-four\r\n\r\nhidden-five\r\n.\r\n")
    client.reply()
    client.ask("hidden-six")
    told = "\n".join(str(record.__dict__) for record in caplog.records)
    for secret in ("hidden", encoded("hidden-two"), encoded("hidden-three"), GOOD, "correct horse"):
        assert secret not in told


def test_a19_nothing_is_echoed_and_no_library_is_named(server: Listening) -> None:
    client = server.connect()
    said = client.greeting + client.ask("EHLO x")
    for line in ("VRFY <script>", "EXPN <script>", "HELP <script>", "<script> <script>", "MAIL FROM:<<script>>"):
        said += client.ask(line)
    assert b"script" not in said
    assert b"aiosmtpd" not in said.lower()
    assert b"python" not in said.lower()


def test_a20_replies_are_ascii_whatever_they_were_made_of(server: Listening, intake: RecordingIntake) -> None:
    from sendry.mail.reply import Reply

    intake.refused_recipients["b@example.org"] = Reply(550, "5.7.1", "Нельзя\r\n250 OK")
    client = server.connect().hello()
    client.ask("MAIL FROM:<a@example.com>")
    assert client.ask("RCPT TO:<b@example.org>") == b"550-5.7.1 ??????\r\n550 5.7.1 250 OK\r\n"
    assert client.ask("NOOP").startswith(b"250 ")


def test_a21_the_proxy_protocol_is_no_smtp(server: Listening) -> None:
    # Not offered; a balancer's line must not pass for a client's address.
    client = server.connect()
    assert client.ask("PROXY TCP4 192.0.2.1 127.0.0.1 1 25").startswith(b"500 5.5.2 ")
    client.hello().ask("MAIL FROM:<a@example.com>")
    assert server.intake.senders[0][0].client_ip == "127.0.0.1"


@pytest.mark.parametrize("make_loop", [new_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a22_starttls_works_on_every_loop(
    listen: Listen, tls_toml: str, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    server = listen(tls_toml, make_loop=make_loop)
    for _ in range(20):
        client = server.connect().hello().start_tls().hello().transaction()
        client.send(MESSAGE)
        assert client.reply().startswith(b"250 ")
        client.socket.close()


def test_a23_starting_makes_no_connection_to_itself(server: Listening) -> None:
    assert server.servers.counters.connections_total == 0


def test_a24_the_library_is_the_pinned_one() -> None:
    assert tuple(map(int, version("aiosmtpd").split("."))) >= (1, 4, 6)


class TestA25:
    def test_smuggling_of_2024_27305(self, server: Listening) -> None:
        client = server.connect().hello().transaction()
        client.send(b"Subject: x\r\n\r\nx\r\n.\rMAIL FROM:<evil@example.com>\r\n.\r\n")
        assert client.rest().startswith(b"554 5.6.0 ")
        assert server.intake.envelopes == []

    def test_injection_before_starttls_of_2024_34083(self, listen: Listen, tls_toml: str) -> None:
        server = listen(tls_toml)
        client = server.connect().hello()
        client.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.com>\r\n")
        client.reply()
        client.encrypt()
        assert client.ask("EHLO good").startswith(b"250-mx.example.com\r\n")
        assert server.intake.senders == []


def test_all_commands_of_the_parent_are_replaced() -> None:
    inherited = {
        name for name in dir(SMTP) if name.startswith("smtp_") and getattr(SmtpProtocol, name) is getattr(SMTP, name)
    }
    assert inherited == set()
    assert set(SmtpProtocol.commands) == {name[5:] for name in dir(SMTP) if name.startswith("smtp_")} | {"BDAT"}


@pytest.mark.parametrize(
    "recipient",
    [
        '"quoted local"@example.org',
        "user%victim.example@example.org",
        "victim.example!user@example.org",
        '"user@victim.example"@example.org',
        "user@[192.0.2.1]",
        "user@EXAMPLE.ORG",
    ],
)
def test_s4_whatever_may_be_a_trick_reaches_the_relay_rule(server: Listening, recipient: str) -> None:
    client = server.connect().hello()
    client.ask("MAIL FROM:<a@example.com>")
    client.ask(f"RCPT TO:<{recipient}>")
    assert server.intake.recipients == [recipient.replace("EXAMPLE.ORG", "example.org")]
