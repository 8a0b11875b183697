"""Commands on the live system: beside a running server, over SQLite and over PostgreSQL."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sendry.cli import main
from tests.paths.conftest import Start
from tests.paths.running import PRODUCTION, Running, clean_environ
from tests.paths.sending import BODY, Load, arrivals
from tests.paths.visiting import Visitor
from tests.paths.waiting import until
from tests.remote_mx import RemoteMx

# No sweep ever comes, so what starts at once starts because somebody looked.
NO_SWEEP = 'queue.process_interval = "1h"\nqueue.retry_interval = "1h"\n'


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def sendry(request: pytest.FixtureRequest, start: Start, remote: RemoteMx) -> Running:
    """A running server on either database."""
    url = f'storage.url = "{request.getfixturevalue("postgres_url")}"\n' if request.param == "postgres" else ""
    base = PRODUCTION.replace('queue.retry_interval = "1s"\n', "")
    return start(f'delivery.relay = "127.0.0.1:{remote.port}"\n{NO_SWEEP}{url}', base=base)


class Commands:
    """Runs commands in this process, which is another one than the server's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        for name in set(os.environ) - set(clean_environ()):
            monkeypatch.delenv(name)

    def __call__(self, sendry: Running, *arguments: str, typed: str = "") -> Any:
        """The JSON of a command that must succeed."""
        self._monkeypatch.chdir(sendry.folder)
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        self._capsys.readouterr()
        code = main(["-c", str(sendry.config), *arguments, "--json"])
        out, err = self._capsys.readouterr()
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Runs a command and gives its JSON."""
    return Commands(monkeypatch, capsys)


def test_all_of_them_work_beside_a_running_server(sendry: Running, remote: RemoteMx, told: Commands) -> None:
    # A user who is made is let in.
    told(sendry, "user", "create", "ann@example.com", typed="correct horse\n")
    visitor = Visitor(f"http://127.0.0.1:{sendry.http_port}")
    visitor.open("/login")
    visitor.submit("/login", email="ann@example.com", password="correct horse")
    assert visitor.open("/messages")
    assert "/login" not in visitor.path
    # A new password ends the session.
    told(sendry, "user", "reset-password", "ann@example.com", typed="battery staple\n")
    visitor.open("/messages")
    assert "/login" in visitor.path

    # A test mail goes the way of all mail.
    identity = told(sendry, "test", "send", "--to", "b@example.net", "--port", str(sendry.smtp_port))["id"]
    remote.wait_for(1)
    sendry.wait_for_status(identity, "delivered")
    assert told(sendry, "queue", "show", identity)["status"] == "delivered"
    assert told(sendry, "test", "smtp", "--host", "127.0.0.1", "--port", str(sendry.smtp_port))["is_ready"]

    # What was put off is tried at once when a command says so.
    remote.say("RCPT", "451 4.7.1 later")
    identity = sendry.send("a@example.com", ["later@example.net"])
    sendry.wait_for_status(identity, "deferred")
    assert [row["id"] for row in told(sendry, "queue", "list")["messages"]] == [identity]
    remote.say("RCPT", "250 ok")
    assert told(sendry, "queue", "retry", identity)["retried"] == [identity]
    sendry.wait_for_status(identity, "delivered")

    # What was given up as well.
    remote.say("RCPT", "550 5.1.1 no")
    identity = sendry.send("", ["no@example.net"])
    sendry.wait_for_status(identity, "failed")
    assert told(sendry, "dlq", "list")["stats"]["count"] == 1
    remote.say("RCPT", "250 ok")
    assert told(sendry, "dlq", "retry", "--all") == {"retried": 1, "recipients": 1}
    sendry.wait_for_status(identity, "delivered")

    assert told(sendry, "queue", "delete", identity)["deleted"] == [identity]
    assert sendry.api("GET", f"/messages/{identity}").status == 404
    stats = told(sendry, "queue", "stats")
    assert (stats["delivered"], stats["total"]) == (2, 2)
    assert told(sendry, "migrate", "--status")["is_current"]
    assert told(sendry, "migrate")["applied_now"] == []
    assert sendry.stop() == 0


def test_commands_under_load_do_no_harm(sendry: Running, remote: RemoteMx, told: Commands) -> None:
    load = Load(sendry, "load", sessions=3, most=60)
    load.start()
    for command in (("queue", "list"), ("queue", "stats"), ("dlq", "retry", "--all"), ("user", "list")):
        told(sendry, *command)
    load.wait_for(180)
    load.end()
    until(lambda: told(sendry, "queue", "stats")["delivered"] == 180, "the deliveries")
    assert set(arrivals(remote.messages).values()) == {1}


def test_a_copy_of_a_running_server_under_load_is_a_whole_installation(
    start: Start, remote: RemoteMx, tmp_path: Path, told: Commands
) -> None:
    remote.say("MAIL", "451 4.3.0 not now")
    sendry = start(f'delivery.relay = "127.0.0.1:{remote.port}"\n{NO_SWEEP}', base=_without_retry())
    load = Load(sendry, "load", sessions=3, most=200)
    load.start()
    load.wait_for(50)
    before = set(load.acknowledged)
    assert told(sendry, "backup", str(tmp_path / "copy"))["messages"] >= len(before)
    load.end()
    sendry.kill()

    (tmp_path / "other").mkdir()
    shutil.copytree(tmp_path / "copy", tmp_path / "other" / "data")
    remote.say("MAIL", "250 ok")
    remote.messages.clear()
    other = start(f'delivery.relay = "127.0.0.1:{remote.port}"\n', name="other")
    told(other, "queue", "retry", *[row["id"] for row in told(other, "queue", "list", "--limit", "500")["messages"]])
    until(lambda: before <= {r for m in list(remote.messages) for r in m.recipients}, "what the copy holds")
    assert {mail.octets.endswith(BODY) for mail in remote.messages} == {True}


def _without_retry() -> str:
    return PRODUCTION.replace('queue.retry_interval = "1s"\n', "")
