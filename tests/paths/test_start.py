"""Starting, reloading and ending: what is printed, which exit code, and that nothing of it loses mail."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.paths.conftest import Start
from tests.paths.running import ROOT, Running, clean_environ
from tests.paths.waiting import until
from tests.remote_mx import Hold, RemoteMx


def test_what_listens_where_is_said_in_one_short_block(start: Start) -> None:
    sendry = start("metrics.enabled = true\nmetrics.listen_addr = '127.0.0.1:0'\n")
    assert {"SMTP", "panel, API", "metrics"} <= sendry.places.keys()
    assert len(sendry.said.splitlines()) <= 8
    assert "first admin  http://127.0.0.1:" in sendry.said
    assert sendry.http("GET", "/health").json["status"] == "ok"


def test_without_a_configuration_it_is_a_catcher_on_loopback(tmp_path: Path) -> None:
    environ = {"SENDRY_SMTP__LISTEN_ADDR": "127.0.0.1:0", "SENDRY_API__LISTEN_ADDR": "127.0.0.1:0"}
    sendry = Running(tmp_path, "", environ=environ)
    sendry.config.unlink()
    sendry.arguments = ("serve",)
    with sendry:
        assert "every mail is captured, nothing leaves this machine" in sendry.said
        assert "first admin" not in sendry.said
        sendry.send("anybody@anywhere.test", ["b@example.net"], subject="Caught")
        mails = until(lambda: sendry.http("GET", "/api/v1/sandbox/messages").json["items"], "the mail")
        assert [mail["subject"] for mail in mails] == ["Caught"]
        assert sendry.stop() == 0
    assert (tmp_path / "data" / "queue.db").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(number: signal.Signals, start: Start) -> None:
    sendry = start()
    sendry.signal(number)
    assert sendry.wait() == 0
    assert [line["msg"] for line in sendry.logged(component="service")] == ["stopping", "stopped"]


def test_a_second_signal_ends_it_at_once_and_loses_nothing(start: Start, outward: str, remote: RemoteMx) -> None:
    import threading

    held = Hold(threading.Event())
    remote.say("dot", held)
    sendry = start(outward)
    identity = sendry.send("a@example.com", ["b@example.net"])
    assert held.reached.wait(10)
    sendry.signal(signal.SIGTERM)
    until(lambda: sendry.logged(msg="stopping"), "the first signal to be seen")
    sendry.signal(signal.SIGTERM)
    assert sendry.wait(5) == 128 + signal.SIGTERM
    remote.say("dot", "250 2.0.0 ok")
    held.released.set()
    sendry.start()
    told = sendry.wait_for_status(identity, "delivered")
    # The reply to the first transaction was not waited for, and that is told.
    assert told["recipients"][0]["is_possible_duplicate"] is True
    assert len(remote.messages) == 2


@pytest.mark.parametrize(
    ("key", "roles"), [("smtp.listen_addr", "smtp"), ("api.listen_addr", "web"), ("metrics.listen_addr", "worker")]
)
def test_an_address_in_use_is_named_with_its_key(key: str, roles: str, start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = 'metrics.enabled = true\nsmtp.domain = "example.com"\napi.api_key = "sk_0123456789"\n'
        others = ("smtp.listen_addr", "smtp.submission_addr", "smtp.smtps_addr", "api.listen_addr")
        config += "".join(f'{name} = ""\n' for name in others if name != key)
        config += f'{key} = "127.0.0.1:{port}"\n'
        sendry = Running(tmp_path, config, arguments=("--roles", roles))
        sendry.launch()
        assert sendry.wait() == 1
    assert key in sendry.said
    assert f"127.0.0.1:{port}" in sendry.said
    assert "in use" in sendry.said
    assert "Traceback" not in sendry.said + sendry.log


def test_the_listeners_that_were_bound_before_are_let_go(start: Start, tmp_path: Path) -> None:
    first = start()
    config = 'smtp.domain = "example.com"\nsmtp.listen_addr = "127.0.0.1:0"\nsmtp.submission_addr = ""\n'
    config += (
        f'smtp.smtps_addr = ""\napi.api_key = "sk_0123456789"\napi.listen_addr = "127.0.0.1:{first.http_port}"\n'
    )
    (tmp_path / "second").mkdir()
    second = Running(tmp_path / "second", config)
    second.launch()
    assert second.wait() == 1
    assert "api.listen_addr" in second.said
    assert first.http("GET", "/health").status == 200


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    sendry = Running(tmp_path, 'smtp.domain = "example.com"\napi.api_key = "sk_0123456789"\n')
    (tmp_path / "data").write_text("no folder")
    sendry.launch()
    assert sendry.wait() == 1
    assert "storage.path" in sendry.said
    assert "Traceback" not in sendry.said + sendry.log


def test_every_fault_of_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    sendry = Running(tmp_path, "queue.workers = 0\nsmtp.domian = 'x'\n")
    sendry.launch()
    assert sendry.wait() == 1
    assert "queue.workers" in sendry.said
    assert "did you mean domain?" in sendry.said


# Reloading


def reload(sendry: Running, change: str, to: str) -> None:
    """Change the configuration and ask for it."""
    sendry.config.write_text(sendry.config.read_text().replace(change, to))
    before = len(sendry.logged(component="service"))
    sendry.signal(signal.SIGHUP)
    until(lambda: len(sendry.logged(component="service")) > before, "the reload")


def test_a_reload_takes_over_domains_and_users(start: Start) -> None:
    sendry = start(
        'smtp.trusted_networks = []\nsmtp.auth.allow_plaintext = true\nsmtp.auth.users = { ann = "one" }\n'
    )
    with sendry.smtp() as client:
        client.login("ann", "one")
        assert client.docmd("MAIL FROM:<a@new.example>")[0] == 550
    reload(sendry, '{ ann = "one" }', '{ bob = "two" }\n[domains."new.example"]\nmode = "sandbox"')
    with sendry.smtp() as client:
        client.login("bob", "two")
        assert client.docmd("MAIL FROM:<a@new.example>")[0] == 250
    with sendry.smtp() as client:
        client.ehlo()
        assert client.docmd("AUTH PLAIN AGFubgBvbmU=")[0] == 535
    identity = sendry.api("POST", "/send", {"from": "a@new.example", "to": ["b@example.net"], "body": "x"}).json["id"]
    assert sendry.api("GET", f"/messages/{identity}").json["mode"] == "sandbox"
    assert not sendry.logged(msg="some changed settings need a restart")


def test_a_reload_names_what_needs_a_restart(start: Start) -> None:
    sendry = start("delivery.port = 2525\nqueue.workers = 4\n")
    reload(sendry, "queue.workers = 4", "queue.workers = 2")
    (line,) = until(lambda: sendry.logged(msg="some changed settings need a restart"), "the warning")
    assert line["keys"] == "queue.workers"


def test_a_faulty_configuration_is_logged_and_the_old_one_stays(start: Start) -> None:
    sendry = start('queue.workers = 4\n[domains."old.example"]\nmode = "sandbox"\n')
    reload(sendry, 'mode = "sandbox"', 'mode = "sandpit"')
    (line,) = sendry.logged(msg="configuration is not taken over")
    assert "sandpit" in line["fault"]
    identity = sendry.send("a@old.example", ["b@example.net"])
    assert sendry.api("GET", f"/messages/{identity}").json["mode"] == "sandbox"
    assert sendry.stop() == 0


def test_a_reload_takes_a_renewed_certificate(start: Start, tmp_path: Path) -> None:
    def write(authority: trustme.CA) -> None:
        leaf = authority.issue_cert("mail.example.com")
        (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        (tmp_path / "key.pem").chmod(0o600)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def serves(authority_file: Path) -> bool:
        import ssl

        context = ssl.create_default_context(cafile=str(authority_file))
        context.check_hostname = False
        with sendry.smtp() as client:
            try:
                return client.starttls(context=context)[0] == 220
            except ssl.SSLCertVerificationError:
                return False

    write(trustme.CA())
    sendry = start(f'smtp.tls.cert_file = "{tmp_path}/cert.pem"\nsmtp.tls.key_file = "{tmp_path}/key.pem"\n')
    assert serves(tmp_path / "ca.pem")
    write(trustme.CA())
    reload(sendry, "", "")
    assert serves(tmp_path / "ca.pem")


# A terminal


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    for number in (master, slave):
        try:
            os.close(number)
        except OSError:
            continue


def test_closing_the_terminal_ends_it(tmp_path: Path) -> None:
    environ = clean_environ() | {
        "SENDRY_SMTP__LISTEN_ADDR": "127.0.0.1:0",
        "SENDRY_API__LISTEN_ADDR": "127.0.0.1:0",
    }
    # A session of its own whose terminal is ours: closing our end is what a closed window does.
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, str(ROOT / "app.py")], environ)
    said = b""
    while b"panel, API" not in said:
        said += os.read(master, 1000)
    os.close(master)
    assert os.waitpid(pid, 0)[1] == 0
    assert subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode != 0
