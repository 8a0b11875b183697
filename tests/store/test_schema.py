"""The migrated schema and the models say the same, on both databases; four processes may start at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from peewee import Database, PostgresqlDatabase, SqliteDatabase

from sendry.store import models, schema
from sendry.store.database import Store, open_store
from tests.postgres import Cluster

Facts = dict[str, Any]


@contextmanager
def by_models(store: Store, postgres_or_folder: Any) -> Iterator[Database]:
    """An empty database on which the models made their tables themselves."""
    database: Database
    name = ""
    if store.dialect == "sqlite":
        database = SqliteDatabase(str(postgres_or_folder / "models.db"))
    else:
        name = postgres_or_folder.make_database()
        database = PostgresqlDatabase(postgres_or_folder.url(name), prefer_psycopg3=True)
    with database.bind_ctx(models.TABLES):
        database.create_tables(models.TABLES)
        yield database
    database.close()
    if name:
        postgres_or_folder.drop_database(name)


def described(database: Database) -> dict[str, Facts]:
    """Columns, indexes and checks of every table but the runner's own."""
    if isinstance(database, SqliteDatabase):
        found = {name: _of_sqlite(database, name) for (name,) in _rows(database, _SQLITE_TABLES)}
    else:
        found = {name: _of_postgres(database, name) for (name,) in _rows(database, _POSTGRES_TABLES)}
    return {name: facts for name, facts in found.items() if "migration" not in name}


_SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
_POSTGRES_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def _rows(database: Database, sql: str, *params: object) -> list[tuple[Any, ...]]:
    return list(database.execute_sql(sql, params or None))


def _of_sqlite(database: Database, table: str) -> Facts:
    (made,) = _rows(database, "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", table)[0]
    return {
        # name, type, not null, default, place in the primary key
        "columns": {row[1:] for row in _rows(database, f"PRAGMA table_info({table})")},
        "indexes": {
            _even(sql) for (sql,) in _rows(database, "SELECT sql FROM sqlite_master WHERE tbl_name = ?", table) if sql
        }
        - {_even(made)},
        "checks": set(re.findall(r"CHECK \((?:[^()]|\([^()]*(?:\([^()]*\)[^()]*)*\))*\)", made)),
    }


def _of_postgres(database: Database, table: str) -> Facts:
    return {
        "columns": set(
            _rows(
                database,
                "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name = %s",
                table,
            )
        ),
        "indexes": {sql for (sql,) in _rows(database, "SELECT indexdef FROM pg_indexes WHERE tablename = %s", table)},
        "checks": {
            sql
            for (sql,) in _rows(
                database, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass", table
            )
        },
    }


def _even(sql: str) -> str:
    return re.sub(r"\s+", " ", sql.replace('"', "").replace("IF NOT EXISTS ", ""))


@pytest.fixture
def beside(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Any:
    return tmp_path if store.dialect == "sqlite" else request.getfixturevalue("postgres")


def test_the_migrations_make_what_the_models_say(store: Store, beside: Any) -> None:
    with by_models(store, beside) as database:
        expected = described(database)
    assert set(expected) == {table._meta.table_name for table in models.TABLES}
    assert described(store.database) == expected


@pytest.mark.parametrize(
    "change",
    [
        "DROP INDEX recipient_due",
        "DROP INDEX capture_mailbox_message_id",
        "ALTER TABLE message ADD COLUMN colour TEXT",
        "ALTER TABLE node RENAME COLUMN pid TO process",
    ],
)
def test_that_comparison_notices_what_a_migration_forgot(store: Store, beside: Any, change: str) -> None:
    store.database.execute_sql(change)
    with by_models(store, beside) as database:
        assert described(store.database) != described(database)


def test_the_comparison_sees_partial_indexes_and_checks(store: Store) -> None:
    facts = described(store.database)["recipient"]
    assert len(facts["checks"]) >= 2
    assert sum("WHERE" in index for index in facts["indexes"]) == 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE recipient SET status = 'sending'",
        "UPDATE recipient SET next_attempt_at = NULL",
        "UPDATE recipient SET status = 'delivered'",
        "UPDATE recipient SET lease_until = 1, lease_node = 1",
    ],
)
def test_a_recipient_waits_or_is_leased_or_is_finished_and_the_database_sees_to_it(store: Store, change: str) -> None:
    store.writer.call(
        lambda tx: tx.change(
            "INSERT INTO recipient (id, message_id, address, destination, original, route, status, priority,"
            " next_attempt_at, attempts, is_possible_duplicate, crashes, last_code, last_enhanced, last_response,"
            " bounce_class, notify, orcpt, is_delay_told, created_at, updated_at)"
            " VALUES (1, 1, '', '', '', 'mx', 'pending', 0, 1, 0, ?, 0, 0, '', '', '', '', '', ?, 0, 0)",
            (False, False),
        )
    ).result()
    with pytest.raises(Exception, match=r"CHECK constraint failed|violates check constraint"):
        store.writer.call(lambda tx: tx.change(change)).result()


def test_every_migration_is_applied_after_opening(store: Store) -> None:
    applied = schema.status(store.database)
    assert applied
    assert all(is_applied for _, is_applied in applied)
    assert [name for name, _ in applied] == sorted(path.stem for path in schema.FOLDER.glob("[0-9]*.py"))


def test_opening_again_changes_nothing_and_keeps_what_was_there(location: Path | str, tmp_path: Path) -> None:
    first = open_store(location, tmp_path / "spool")
    first.writer.call(lambda tx: tx.count("queue.pending", 3)).result()
    first.close()
    again = open_store(location, tmp_path / "spool")
    assert again.rows("SELECT name, value FROM counter") == [("queue.pending", 3)]
    assert schema.migrate(again.database, location if isinstance(location, Path) else None) == []
    again.close()


_START = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sendry.store import nodes
from sendry.store.database import open_store

place = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
store = open_store(Path(place) if place.startswith("/") else place, Path(sys.argv[2]))
print(nodes.join(store, "all", datetime.now(UTC)).number, flush=True)
sys.stdin.readline()
store.close()
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place where nothing was ever migrated."""
    if request.param == "sqlite":
        yield str(tmp_path / "new" / "queue.db")
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.make_database()
    yield cluster.url(name)
    cluster.drop_database(name)


def test_four_processes_that_start_at_once_migrate_once_and_take_four_numbers(
    empty_location: str, tmp_path: Path
) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _START, empty_location, str(tmp_path / "spool")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]

    def ask_each(word: str) -> list[str]:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(word)
            process.stdin.flush()
        return said()

    def said() -> list[str]:
        return [process.stdout.readline().strip() for process in processes if process.stdout is not None]

    assert said() == ["ready"] * 4
    assert sorted(ask_each("start\n")) == ["0", "1", "2", "3"]
    for process in processes:
        process.communicate("end\n")
    assert [process.returncode for process in processes] == [0, 0, 0, 0]


def test_a_database_that_cannot_be_opened_says_so_and_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"this is no database, and longer than the header of one is " * 10)
    with pytest.raises(Exception, match="not a database"):
        open_store(tmp_path / "queue.db", tmp_path / "spool")
    with pytest.raises(Exception, match="connection"):
        open_store("postgresql://nobody@127.0.0.1:1/none", tmp_path / "spool")


def test_a_url_of_a_platform_is_taken_in_both_spellings(postgres_url: str, tmp_path: Path) -> None:
    store = open_store(postgres_url.replace("postgresql://", "postgres://"), tmp_path / "spool")
    assert (store.dialect, store.rows("SELECT 1")) == ("postgres", [(1,)])
    assert isinstance(store.database.connection(), psycopg.Connection)
    store.close()
