"""`migrate` brings the database up to date; `--status` only looks."""

from __future__ import annotations

from sendry.store import schema
from tests.cli.conftest import Installation

NAMES = sorted(path.stem for path in schema.FOLDER.glob("0*.py"))


def test_a_current_database_is_said_to_be(house: Installation) -> None:
    assert house.run("migrate").out == "the database is up to date\n"
    ran = house.run("migrate", "--status")
    assert (ran.code, ran.lines) == (0, [f"applied  {name}" for name in NAMES])


def test_status_tells_what_waits_and_makes_nothing(house: Installation) -> None:
    path = house.folder / "queue.db"
    path.unlink()
    ran = house.run("migrate", "--status")
    assert (ran.code, ran.lines) == (1, [f"waiting  {name}" for name in NAMES])
    assert not path.exists()


def test_a_new_database_is_made(house: Installation) -> None:
    (house.folder / "queue.db").unlink()
    assert house.run("migrate", "--status", "--json").json["is_current"] is False
    made = house.run("migrate", "--json").json
    assert made["applied_now"] == NAMES
    assert made["is_current"] is True
    assert house.run("queue", "list").code == 0
