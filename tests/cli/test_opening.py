"""A command works beside a running server, and leaves nothing behind that would be in the server's way."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from sendry.cli.failure import Failed
from sendry.cli.opening import joined, opened
from sendry.config import Config, load
from sendry.store import nodes
from tests.cli.conftest import Installation

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def config_of(house: Installation) -> Config:
    return load(house.config)


def rows(house: Installation, sql: str) -> list[tuple[object, ...]]:
    with opened(config_of(house)) as store:
        return store.rows(sql)


def test_a_command_that_changes_the_line_is_a_node_while_it_runs(house: Installation) -> None:
    config = config_of(house)
    with joined(config) as queue:
        assert queue.store.rows("SELECT id, roles FROM node") == [(queue.node, "cli")]
    assert rows(house, "SELECT id FROM node") == []


def test_it_leaves_after_a_failure_too(house: Installation) -> None:
    with pytest.raises(Failed), joined(config_of(house)):
        raise Failed("no")
    assert rows(house, "SELECT id FROM node") == []


def test_it_takes_back_what_a_dead_process_left(house: Installation) -> None:
    identity = house.message()
    with house.rooms() as here:
        now = datetime.now(UTC)
        assert here.queue.claim(now + timedelta(seconds=1), 10)
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        change = "UPDATE node SET pid = ? WHERE id = ?"
        here.store.writer.call(lambda tx: tx.change(change, (dead.pid, here.node.number))).result()
    assert house.status(identity) == "sending"
    with joined(config_of(house)):
        pass
    assert house.status(identity) == "pending"


def test_a_running_node_keeps_its_number(house: Installation) -> None:
    with opened(config_of(house)) as store:
        other = nodes.join(store, "smtp", datetime.now(UTC))
        change = "UPDATE node SET pid = 1 WHERE id = ?"
        store.writer.call(lambda tx: tx.change(change, (other.number,))).result()
    with joined(config_of(house)) as queue:
        assert queue.node != other.number


def test_the_data_folder_that_is_none_is_told(house: Installation) -> None:
    (house.folder / "queue.db").unlink()
    (house.folder / "file").write_text("")
    text = house.config.read_text().replace(str(house.folder / "queue.db"), str(house.folder / "file" / "queue.db"))
    house.config.write_text(text)
    ran = house.run("user", "list")
    assert ran.code == 1
    assert "storage.path" in ran.err
    assert "Traceback" not in ran.err


@as_root
def test_what_root_makes_belongs_to_the_servers_user(house: Installation) -> None:
    data = house.folder / "data"
    data.mkdir()
    (house.folder / "queue.db").rename(data / "queue.db")
    house.config.write_text(house.config.read_text().replace("queue.db", "data/queue.db"))
    for path in (data, data / "queue.db"):
        os.chown(path, NOBODY, NOBODY)
    with joined(config_of(house)):
        pass
    owners = {path.name: path.stat().st_uid for path in data.iterdir()}
    assert {"queue.db", "spool", "in-flight-0"} <= owners.keys()
    assert set(owners.values()) == {NOBODY}


@as_root
def test_a_stranger_is_told_as_whom_to_run_it(house: Installation) -> None:
    (house.folder / "queue.db").chmod(0o600)
    for folder in (house.folder, *house.folder.parents):
        if folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    # Everything is imported before: the interpreter may be where nobody can read.
    code = f"""
import os
from sendry.cli import opening
from sendry.config import loads
config = loads('storage.path = "{house.folder}/queue.db"')
os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
print(opening._cannot_open(config, OSError("readonly")))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "it belongs to root: run this as that user or as root" in ran.stdout, ran.stderr
