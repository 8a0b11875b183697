"""`backup` copies an installation beside a running server."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Installation


def test_a_copy_is_made_and_its_size_told(house: Installation) -> None:
    ids = [house.message() for _ in range(3)]
    ran = house.run("backup", str(house.folder / "copy"))
    assert ran.code == 0
    assert ran.lines[0].startswith(f"{house.folder / 'copy'} has 3 messages, 0.")
    house.config.write_text(house.config.read_text().replace("queue.db", "copy/queue.db"))
    assert house.status(ids[0]) == "pending"


def test_a_copy_as_json(house: Installation) -> None:
    house.message()
    made = house.run("backup", str(house.folder / "copy"), "--json").json
    assert (made["folder"], made["messages"]) == (str(house.folder / "copy"), 1)
    assert made["octets"] > 50_000


def test_a_folder_in_use_is_told(house: Installation) -> None:
    ran = house.run("backup", str(house.folder))
    assert ran.code == 1
    assert f"{house.folder} is not empty; name a new folder" in ran.err


def test_a_folder_that_cannot_be_made_is_told(house: Installation) -> None:
    ran = house.run("backup", str(house.config / "copy"))
    assert ran.code == 1
    assert str(house.config) in ran.err


def test_without_a_database_there_is_nothing_to_copy(house: Installation) -> None:
    (house.folder / "queue.db").unlink()
    assert "there is no database to copy" in house.run("backup", str(house.folder / "copy")).err
    assert not (house.folder / "copy").exists()


def test_with_postgresql_its_own_program_is_named(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/sendry")
    ran = house.run("backup", str(house.folder / "copy"))
    assert ran.code == 1
    assert "pg_dump --format=custom" in ran.err


def test_mail_that_lost_its_content_is_told(house: Installation) -> None:
    identity = house.message()
    with house.rooms() as here:
        here.store.writer.call(lambda tx: tx.change("UPDATE message SET spool = 'gone.eml'")).result()
    ran = house.run("backup", str(house.folder / "copy"))
    assert ran.code == 1
    assert "1 message cannot be sent any more" in ran.err
    house.config.write_text(house.config.read_text().replace("queue.db", "copy/queue.db"))
    assert house.status(identity) == "pending"
