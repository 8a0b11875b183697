"""`test send` hands a mail to the running server; `test smtp` shows what a server says, and never hangs."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import trustme

from sendry.cli import main
from tests.cli.conftest import Installation, Outcome
from tests.remote_mx import Drop, RemoteMx, Silence


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.example.net").configure_cert(context)
    return context


@pytest.fixture
def server(tls: ssl.SSLContext) -> Iterator[RemoteMx]:
    """A server that stands where the relay listener is configured."""
    with RemoteMx(tls=tls) as server:
        yield server


def configure(house: Installation, server: RemoteMx, key: str = "listen_addr") -> None:
    others = "".join(f'{name} = ""\n' for name in ("listen_addr", "submission_addr", "smtps_addr") if name != key)
    text = house.config.read_text().replace("[smtp]\n", f'[smtp]\n{key} = "127.0.0.1:{server.port}"\n{others}')
    house.config.write_text(text)


def test_a_mail_is_handed_in_over_tls(house: Installation, server: RemoteMx) -> None:
    configure(house, server)
    server.say("dot", "250 2.0.0 Ok: queued as 0am2ph9kc0000")
    ran = house.run("test", "send", "--to", "b@Example.NET", "--to", "c@example.net")
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines == [
        f"taken by 127.0.0.1:{server.port}: 250 2.0.0 Ok: queued as 0am2ph9kc0000",
        "follow it by: sendry queue show 0am2ph9kc0000",
    ]
    (mail,) = server.messages
    assert (mail.sender, mail.recipients, mail.is_tls) == (
        "postmaster@example.com",
        ["b@example.net", "c@example.net"],
        True,
    )
    read = message_from_bytes(mail.octets, policy=policy.default)
    assert read["From"] == "postmaster@example.com"
    assert read["To"] == "b@example.net, c@example.net"
    assert read["Subject"] == "Test mail from Sendry"


def test_sender_subject_and_body_can_be_given(house: Installation, server: RemoteMx) -> None:
    configure(house, server)
    arguments = ["--to", "b@example.net", "--from", "ann@example.com", "--subject", "Счёт", "--body", ".\nПривет"]
    shown = house.run("test", "send", *arguments, "--json").json
    assert (shown["from"], shown["to"]) == ("ann@example.com", ["b@example.net"])
    (mail,) = server.messages
    read = message_from_bytes(mail.octets, policy=policy.default)
    assert mail.sender == read["From"] == "ann@example.com"
    assert read["Subject"] == "Счёт"
    assert read.get_content().split() == [".", "Привет"]


@pytest.mark.parametrize("key", ["listen_addr", "submission_addr"])
def test_it_stays_in_clear_when_asked_to(key: str, house: Installation, server: RemoteMx) -> None:
    configure(house, server, key)
    assert house.run("test", "send", "--to", "b@example.net", "--no-tls").code == 0
    assert not server.messages[0].is_tls


def test_submission_is_preferred_to_the_relay_listener(house: Installation, server: RemoteMx) -> None:
    text = house.config.read_text().replace(
        "[smtp]\n", f'[smtp]\nlisten_addr = "127.0.0.1:1"\nsubmission_addr = "127.0.0.1:{server.port}"\n'
    )
    house.config.write_text(text)
    assert house.run("test", "send", "--to", "b@example.net").code == 0


def test_a_listener_with_tls_from_the_beginning(house: Installation, tls: ssl.SSLContext) -> None:
    with RemoteMx(tls=tls, is_implicit=True) as server:
        configure(house, server, "smtps_addr")
        assert house.run("test", "send", "--to", "b@example.net").code == 0
        assert server.messages[0].is_tls
        refused = house.run("test", "send", "--to", "b@example.net", "--no-tls")
        assert (refused.code, len(server.messages)) == (1, 1)
        assert f"port {server.port} begins with TLS" in refused.err


def test_a_user_signs_in_with_the_password_of_standard_input(
    house: Installation, server: RemoteMx, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(house, server)
    monkeypatch.setattr("sys.stdin", io.StringIO("pa ss\n"))
    assert house.run("test", "send", "--to", "b@example.net", "--user", "ann").code == 0
    assert "AUTH PLAIN AGFubgBwYSBzcw==" in server.commands


@pytest.mark.parametrize(
    ("stage", "reply", "told"),
    [
        (
            "MAIL",
            "550 5.7.1 Sender domain is not ours",
            "MAIL FROM:<postmaster@example.com>: 550 5.7.1 Sender domain",
        ),
        ("RCPT", "550 5.7.1 Relaying denied", "RCPT TO:<b@example.net>: 550 5.7.1 Relaying denied"),
        ("dot", "451 4.3.0 Disk is full", "end of the mail: 451 4.3.0 Disk is full"),
        ("banner", "421 4.3.2 Too many", "421 4.3.2 Too many"),
        ("DATA", Drop(), "closed the connection"),
        ("MAIL", Silence(), "no reply within 1 s"),
    ],
)
def test_what_the_server_does_not_like_is_told(
    stage: str, reply: str | Drop | Silence, told: str, house: Installation, server: RemoteMx
) -> None:
    configure(house, server)
    server.say(stage, reply)
    ran = house.run("test", "send", "--to", "b@example.net", "--timeout", "1")
    assert (ran.code, ran.out) == (1, "")
    assert "the mail was not taken. " in ran.err
    assert told in ran.err


def test_where_nobody_listens_that_is_told(house: Installation, server: RemoteMx) -> None:
    configure(house, server)
    server.close()
    ran = house.run("test", "send", "--to", "b@example.net")
    assert ran.code == 1
    assert f"127.0.0.1:{server.port}" in ran.err
    assert "refused" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["send"], "required: --to"),
        (["send", "--to", "nobody"], "'nobody': this is no address"),
        (["send", "--to", "a@b.example", "--port", "0"], "'0' is no port"),
        (["send", "--to", "a@b.example", "--timeout", "-1"], "'-1' is no number of seconds"),
        (["smtp"], "required: --host"),
        (["smtp", "--host", "h", "--port", "70000"], "'70000' is no port"),
        (["smtp", "--host", "h", "--timeout", "nan"], "'nan' is no number of seconds"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, house: Installation) -> None:
    ran = house.run("test", *arguments)
    assert ran.code == 2
    assert told in ran.err


def look(house: Installation, server: RemoteMx, *more: str) -> Outcome:
    return house.run("test", "smtp", "--host", "127.0.0.1", "--port", str(server.port), *more)


def test_a_server_is_shown_step_by_step(house: Installation, server: RemoteMx) -> None:
    server.say("banner", "220-mx.example.net ESMTP\r\n220 who goes there")
    ran = look(house, server)
    assert (ran.code, ran.err) == (0, "")
    names = [line.split("  ")[0].strip() for line in ran.lines]
    assert names == ["connect", "banner", "EHLO mail.example.com", "STARTTLS", "TLS", "EHLO mail.example.com"]
    assert "220 mx.example.net ESMTP who goes there" in ran.lines[1]
    assert "PIPELINING" in ran.lines[2]
    assert "TLSv1.3, certificate not valid for 127.0.0.1" in ran.lines[4]
    assert server.commands[-1] == "QUIT"


def test_a_server_as_json(house: Installation, server: RemoteMx) -> None:
    shown = look(house, server, "--json").json
    assert (shown["is_ready"], shown["failure"], shown["ip"]) == (True, "", "127.0.0.1")
    assert shown["tls"] == "TLSv1.3"
    assert "PIPELINING" in shown["extensions"]
    assert {"name", "text", "milliseconds"} == set(shown["steps"][0])


def test_a_server_without_tls(house: Installation) -> None:
    with RemoteMx() as server:
        ran = look(house, server)
    assert ran.code == 0
    assert ran.lines[-1].startswith("TLS ")
    assert "not offered" in ran.lines[-1]


@pytest.mark.parametrize(
    ("stage", "reply", "told"),
    [
        ("banner", "554 5.7.1 go away", "the server does not greet with 220"),
        ("banner", Silence(), "no reply within 0.5 s"),
        ("banner", Drop(), "closed the connection"),
        ("EHLO", "502 5.5.1 what", "the server does not take EHLO"),
        ("STARTTLS", "454 4.7.0 no", "STARTTLS is offered and refused"),
        ("STARTTLS", Drop("220 go ahead"), "closed"),
    ],
)
def test_a_server_that_takes_no_mail_now(
    stage: str, reply: str | Drop | Silence, told: str, house: Installation, server: RemoteMx
) -> None:
    server.say(stage, reply)
    ran = look(house, server, "--timeout", "0.5")
    assert ran.code == 1
    assert ran.lines[0].startswith("connect")
    assert told in ran.err


def test_a_host_that_is_none(house: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ran = house.run("test", "smtp", "--host", "127.0.0.1", "--port", str(port))
    assert ran.code == 1
    assert f"127.0.0.1:{port}: no connection with 127.0.0.1: " in ran.err
    ran = house.run("test", "smtp", "--host", "no..such", "--timeout", "1")
    assert ran.code == 1
    assert ran.err.startswith("sendry: no..such:25: ")


def test_the_sandbox_profile_needs_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with RemoteMx() as server:
        monkeypatch.setenv("SENDRY_SMTP__LISTEN_ADDR", f"127.0.0.1:{server.port}")
        assert main(["test", "send", "--to", "b@example.net"]) == 0
        assert server.messages[0].sender.startswith("postmaster@")
