"""STARTTLS and implicit TLS, on uvloop and on asyncio's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from functools import partial
from pathlib import Path

import pytest

from sendry.listener.server import ListenerError, new_loop
from sendry.store.spool import SPOOL_FROM
from sendry.tls.contexts import CertificateFiles
from tests.listener.client import Client
from tests.listener.conftest import Listen, Listening
from tests.listener.test_auth import GOOD, USERS
from tests.tls.make import certificate_files

MESSAGE = b"From: a@example.com\r\n\r\nbody\r\n"


@pytest.fixture(params=[new_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def serve(listen: Listen, tls_toml: str, request: pytest.FixtureRequest) -> Listen:
    """Listeners with a certificate and one user; the relay, submission and SMTPS ports."""
    return partial(listen, tls_toml + USERS, make_loop=request.param, submission=True, smtps=True)


@pytest.fixture
def server(serve: Listen) -> Listening:
    return serve()


RELAY, SUBMISSION, SMTPS = "smtp.listen_addr", "smtp.submission_addr", "smtp.smtps_addr"


def over_tls(server: Listening) -> Client:
    """Greeted on the port with implicit TLS."""
    client = server.connect(SMTPS, greeted=False).encrypt()
    client.greeting = client.reply()
    return client


class TestStartTls:
    def test_is_offered_until_it_is_used(self, server: Listening) -> None:
        client = server.connect(RELAY)
        assert b"250-STARTTLS\r\n" in client.ask("EHLO x")
        client.start_tls()
        assert b"STARTTLS" not in client.ask("EHLO x")
        assert client.ask("STARTTLS").startswith(b"503 5.5.1 ")
        assert server.servers.counters.tls_connections_total == 1

    def test_takes_no_argument(self, server: Listening) -> None:
        assert server.connect(RELAY).hello().ask("STARTTLS now").startswith(b"501 5.5.4 ")

    def test_carries_messages_small_and_large(self, server: Listening) -> None:
        client = server.connect(RELAY).hello().start_tls().hello().transaction()
        client.send(MESSAGE + b".\r\n")
        assert client.reply().startswith(b"250 ")
        client.transaction().send(MESSAGE + b"x" * 3 * SPOOL_FROM + b"\r\n.\r\n")
        assert client.reply().startswith(b"250 ")
        small, large = server.intake.envelopes
        assert b" with ESMTPS id " in small.trace
        assert large.content.size == len(MESSAGE) + 3 * SPOOL_FROM + 2

    def test_drops_what_was_sent_in_clear_text_before_it(self, server: Listening) -> None:
        client = server.connect(RELAY).hello()
        client.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@example.com>\r\n")
        assert client.reply().startswith(b"220 ")
        client.encrypt()
        assert client.ask("NOOP") == b"250 2.0.0 OK\r\n"
        assert client.ask("RCPT TO:<b@example.org>").startswith(b"503 ")
        assert server.intake.senders == []

    def test_forgets_greeting_transaction_and_login(self, server: Listening) -> None:
        client = server.connect(RELAY).hello()
        client.ask(f"AUTH PLAIN {GOOD}")
        client.ask("MAIL FROM:<a@example.com>")
        client.start_tls()
        assert client.ask("RCPT TO:<b@example.org>").startswith(b"503 ")
        assert client.ask("MAIL FROM:<a@example.com>").startswith(b"503 ")
        client.hello().ask("MAIL FROM:<a@example.com>")
        assert [origin.name for origin, _ in server.intake.senders] == ["alice", ""]

    def test_that_fails_ends_the_session_only(self, server: Listening) -> None:
        client = server.connect(RELAY).hello()
        client.ask("STARTTLS")
        client.send(b"this is no handshake\r\n")
        client.rest()
        assert server.connect(RELAY).hello().ask("NOOP").startswith(b"250 ")

    def test_never_goes_below_1_2(self, server: Listening) -> None:
        client = server.connect(RELAY).hello()
        client.ask("STARTTLS")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(client.socket)

    def test_is_not_offered_without_a_certificate(self, listen: Listen) -> None:
        client = listen().connect()
        assert b"STARTTLS" not in client.ask("EHLO x")
        assert client.ask("STARTTLS").startswith(b"502 5.5.1 ")


class TestImplicitTls:
    def test_greets_and_takes_mail(self, server: Listening) -> None:
        client = over_tls(server)
        assert client.greeting == b"220 mx.example.com ESMTP\r\n"
        client.hello().ask(f"AUTH PLAIN {GOOD}")
        client.transaction().send(MESSAGE + b".\r\n")
        assert client.reply().startswith(b"250 ")
        assert b" with ESMTPSA id " in server.intake.only.trace
        assert server.intake.only.is_submission

    def test_offers_auth_and_no_starttls(self, server: Listening) -> None:
        reply = over_tls(server).ask("EHLO x")
        assert b"250-AUTH PLAIN LOGIN\r\n" in reply
        assert b"STARTTLS" not in reply

    def test_with_somebody_who_speaks_clear_text_goes_on_for_the_others(self, server: Listening) -> None:
        client = server.connect(SMTPS, greeted=False)
        client.send(b"EHLO x\r\n")
        client.rest()
        assert over_tls(server).ask("NOOP").startswith(b"250 ")

    def test_listener_is_left_out_without_a_certificate(self, listen: Listen) -> None:
        assert set(listen(smtps=True).ports) == {RELAY}


class TestAuthInClearText:
    def test_is_neither_offered_nor_taken_from_afar(self, listen: Listen, tls_toml: str, other_host: str) -> None:
        server = listen(tls_toml + USERS, host="0.0.0.0")
        client = server.connect(host=other_host, source=other_host)
        assert b"AUTH" not in client.ask("EHLO x")
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"538 5.7.11 ")
        client.start_tls()
        assert b"250-AUTH PLAIN LOGIN\r\n" in client.ask("EHLO x")
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"235 ")

    def test_is_taken_from_afar_where_it_is_allowed(self, listen: Listen, other_host: str) -> None:
        server = listen(USERS + "auth.allow_plaintext = true\n", host="0.0.0.0")
        client = server.connect(host=other_host, source=other_host).hello()
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"235 ")


class TestCertificates:
    def test_renewed_on_disk_serve_the_next_session(
        self, listen: Listen, tmp_path: Path, certificate: CertificateFiles
    ) -> None:
        files = CertificateFiles(tmp_path / "a.crt", tmp_path / "a.key")
        shutil.copy(certificate.cert_file, files.cert_file)
        shutil.copy(certificate.key_file, files.key_file)
        server = listen(f'tls.cert_file = "{files.cert_file}"\ntls.key_file = "{files.key_file}"\n')
        first = _served(server)
        renewed = certificate_files(tmp_path, "mx.example.com", stem="b")
        renewed.key_file.replace(files.key_file)
        renewed.cert_file.replace(files.cert_file)
        server.servers.reload(server.config)
        assert _served(server) != first

    def test_that_cannot_be_used_are_told_at_the_start(self, listen: Listen, tmp_path: Path) -> None:
        (tmp_path / "broken.pem").write_text("no certificate")
        toml = f'tls.cert_file = "{tmp_path}/broken.pem"\ntls.key_file = "{tmp_path}/broken.pem"\n'
        with pytest.raises(ListenerError, match=r"smtp\.tls\.cert_file: .*broken\.pem"):
            listen(toml)

    def test_are_self_made_in_the_sandbox_profile(self, sandbox: Listening) -> None:
        client = sandbox.connect().hello().start_tls()
        assert client.ask("EHLO x").startswith(b"250-")


def _served(server: Listening) -> bytes:
    client = server.connect().hello().start_tls()
    assert isinstance(client.socket, ssl.SSLSocket)
    certificate = client.socket.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def test_a_stop_during_the_handshake_is_not_held_up(server: Listening) -> None:
    server.connect(SMTPS, greeted=False)
    server.connect(RELAY).hello().ask("STARTTLS")
    server.stop(0.3)
    with contextlib.suppress(OSError):
        assert server.connect(SMTPS, greeted=False).is_closed()
