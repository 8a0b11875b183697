"""`dlq` shows what failed for good, sends it again, or lets it go."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.cli.conftest import Installation


def dead(house: Installation) -> int:
    """How many messages are in it."""
    count: int = house.run("dlq", "list", "--json").json["stats"]["count"]
    return count


def test_dead_letters_are_listed_and_nothing_else(house: Installation) -> None:
    house.message("deferred")
    identity = house.message("failed", "5.1.1 no such user")
    ran = house.run("dlq", "list")
    assert [line.split()[0] for line in ran.lines] == ["ID", identity]
    assert "no such user" in ran.out
    found = house.run("dlq", "list", "--json").json
    assert found["stats"]["count"] == 1
    assert found["stats"]["oldest_at"] == found["stats"]["newest_at"]
    assert [row["id"] for row in found["messages"]] == [identity]


def test_one_is_sent_again(house: Installation) -> None:
    identity, other = house.message("failed", recipients=2), house.message("failed")
    ran = house.run("dlq", "retry", identity)
    assert (ran.code, ran.out) == (0, f"{identity}  2 recipients due now\n")
    assert (house.status(identity), house.status(other)) == ("pending", "failed")
    assert dead(house) == 1
    again = house.run("dlq", "retry", identity)
    assert (again.code, again.err) == (1, f"sendry: {identity}: it is not in the dead-letter queue\n")


def test_all_are_sent_again(house: Installation) -> None:
    ids = [house.message("failed", recipients=2) for _ in range(3)]
    assert house.run("dlq", "retry", "--all").out == "3 messages with 6 recipients due now\n"
    assert {house.status(identity) for identity in ids} == {"pending"}
    assert house.run("dlq", "retry", "--all", "--json").json == {"retried": 0, "recipients": 0}


def test_one_is_let_go_and_stays_in_the_history(house: Installation) -> None:
    identity = house.message("failed")
    ran = house.run("dlq", "delete", identity, "--yes", "--json")
    assert (ran.code, ran.json) == (0, {"deleted": [identity], "errors": []})
    assert dead(house) == 0
    assert house.status(identity) == "failed"
    assert house.run("dlq", "delete", identity, "--yes").code == 1


def test_all_are_let_go(house: Installation) -> None:
    for _ in range(2):
        house.message("failed")
    assert house.run("dlq", "delete", "--all", "--yes").out == "2 messages deleted\n"
    assert dead(house) == 0


def test_nothing_is_deleted_where_nobody_can_be_asked(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = house.message("failed")
    for what in (["--all"], [identity]):
        command = [sys.executable, "-m", "sendry.cli", "-c", str(house.config), "dlq", "delete", *what]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        assert "--yes" in ran.stderr
    assert dead(house) == 1


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 1), (b"\n", 1), (b"y\n", 0)])
def test_a_person_is_asked(answer: bytes, left: int, house: Installation) -> None:
    house.message("failed")
    master, terminal = pty.openpty()
    os.write(master, answer)
    command = [sys.executable, "-m", "sendry.cli", "-c", str(house.config), "dlq", "delete", "--all"]
    ran = subprocess.run(command, stdin=terminal, capture_output=True, text=True, check=False)
    os.close(master)
    os.close(terminal)
    assert "Take 1 message out of the dead-letter queue? [y/N]" in ran.stdout
    assert ran.returncode == (1 if left else 0)
    assert dead(house) == left


@pytest.mark.parametrize("arguments", [["retry"], ["delete"], ["retry", "--all", "x"], ["delete", "--all", "x"]])
def test_either_ids_or_all(arguments: list[str], house: Installation) -> None:
    ran = house.run("dlq", *arguments)
    assert ran.code == 2
    assert "name messages by ID, or all of them by --all" in ran.err
