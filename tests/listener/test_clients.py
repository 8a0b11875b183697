"""Real clients: Python's smtplib, swaks, and Postfix's smtp-source."""

from __future__ import annotations

import shutil
import smtplib
import ssl
import subprocess
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.listener.conftest import Listen, Listening
from tests.listener.test_auth import USERS
from tests.listener.test_tls import RELAY, SMTPS

SMTP_SOURCE = shutil.which("smtp-source", path="/usr/sbin:/usr/bin:/usr/libexec/postfix")
SWAKS = shutil.which("swaks")


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.org", "Привет"
    message.set_content(".a dot\n..two\n.\nend\n")
    return message


class TestSmtplib:
    def test_hands_in_a_message(self, server: Listening) -> None:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
            assert client.send_message(mail()) == {}
        assert server.intake.only.content.body.endswith(b".a dot\r\n..two\r\n.\r\nend\r\n")

    def test_signs_in_after_starttls(self, listen: Listen, tls_toml: str) -> None:
        server = listen(tls_toml + USERS, submission=True)
        with smtplib.SMTP("127.0.0.1", server.ports["smtp.submission_addr"], timeout=20) as client:
            client.starttls(context=unverified())
            client.login("alice", "correct horse")
            client.send_message(mail())
        assert server.intake.only.origin.name == "alice"

    @pytest.mark.parametrize("method", ["auth_plain", "auth_login"])
    def test_signs_in_over_implicit_tls(self, listen: Listen, tls_toml: str, method: str) -> None:
        port = listen(tls_toml + USERS, smtps=True).ports[SMTPS]
        with smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=unverified()) as client:
            client.ehlo()
            client.user, client.password = "alice", "correct horse"
            for initial in (True, False):
                code, _ = client.auth(method[5:].upper(), getattr(client, method), initial_response_ok=initial)
                assert code in (235, 503)

    def test_learns_the_size_limit_before_it_sends(self, listen: Listen) -> None:
        server = listen("max_message_bytes = 1000\n")
        with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client, pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("a@example.com", "b@example.org", "x" * 2000)

    def test_hears_of_a_refused_line_end_after_sending_all(self, server: Listening) -> None:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
            client.ehlo()
            client.mail("a@example.com")
            client.rcpt("b@example.org")
            client.putcmd("data")
            client.getreply()
            client.send(b"Subject: x\r\n\r\nbare\nfeed\r\n" + b"more\r\n" * 200_000 + b".\r\n")
            assert client.getreply()[0] == 554


@pytest.mark.skipif(SWAKS is None, reason="swaks (Debian package swaks) is not installed")
class TestSwaks:
    def run(self, server: Listening, key: str, *options: str) -> str:
        place = ["--server", "127.0.0.1", "--port", str(server.ports[key])]
        people = ["--from", "a@example.com", "--to", "b@example.org", "--helo", "client.example"]
        done = subprocess.run(
            [str(SWAKS), *place, *people, *options], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def test_hands_in_a_message(self, server: Listening) -> None:
        assert "250 2.0.0 Ok: queued as " in self.run(server, RELAY)
        assert server.intake.only.content.head.startswith(b"Date: ")

    def test_pipelines(self, server: Listening) -> None:
        self.run(server, RELAY, "--pipeline", "--to", "b@example.org,c@example.org")
        assert len(server.intake.only.recipients) == 2

    @pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
    def test_signs_in(self, listen: Listen, mechanism: str) -> None:
        server = listen(USERS)
        login = ["--auth-user", "alice", "--auth-password", "correct horse"]
        self.run(server, RELAY, "--auth", mechanism, *login)
        assert server.intake.only.origin.name == "alice"

    def test_sends_a_large_file(self, server: Listening, tmp_path: Path) -> None:
        (tmp_path / "body").write_text("0123456789abcdef\n" * 40_000)
        self.run(server, RELAY, "--body", str(tmp_path / "body"))
        assert server.intake.only.content.size > 18 * 40_000


@pytest.mark.skipif(SMTP_SOURCE is None, reason="smtp-source (Debian package postfix) is not installed")
class TestSmtpSource:
    @pytest.mark.parametrize(
        "options",
        [["-d"], [], ["-d", "-r", "5"], ["-d", "-l", "500000", "-m", "20"]],
        ids=["sessions kept", "session per message", "five recipients", "large"],
    )
    def test_hands_in_every_message_once(self, listen: Listen, options: list[str]) -> None:
        server = listen("max_connections_per_ip = 200\n")
        count = 20 if "20" in options else 200
        subprocess.run(
            [str(SMTP_SOURCE), "-s", "10", "-m", str(count), "-f", "a@example.com", "-t", "b@example.org",
             *options, f"127.0.0.1:{server.port}"],
            check=True, timeout=60,
        )  # fmt: skip
        assert len(server.intake.envelopes) == count
