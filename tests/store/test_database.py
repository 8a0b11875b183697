"""Opening, reading and closing: a connection for each thread, none left behind."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest

from sendry.store.database import Store, open_store
from tests.postgres import Cluster, PostgresMissing, find_programs

SHOW = "SELECT name FROM setting ORDER BY name"


def put(store: Store, name: str) -> None:
    store.writer.call(lambda tx: tx.change("INSERT INTO setting (name, value) VALUES (?, ?)", (name, ""))).result()


def in_a_thread(function: object) -> None:
    assert callable(function)
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_reader_sees_what_was_committed_since_it_read_last(store: Store) -> None:
    assert store.rows(SHOW) == []
    put(store, "a")
    assert store.rows(SHOW) == [("a",)]


def test_every_thread_reads_over_its_own_connection(store: Store) -> None:
    seen: list[object] = []

    def read() -> None:
        with store.reading():
            seen.append(store.database.connection())

    with store.reading():
        seen.append(store.database.connection())
    in_a_thread(read)
    assert seen[0] is not seen[1]


def test_a_thread_keeps_its_connection(store: Store) -> None:
    with store.reading():
        first = store.database.connection()
    with store.reading():
        assert store.database.connection() is first


def test_the_connection_of_an_ended_thread_is_closed_when_the_next_one_comes(store: Store) -> None:
    kept: list[object] = []

    def read() -> None:
        store.rows(SHOW)
        kept.append(store.database.connection())

    in_a_thread(read)
    in_a_thread(read)
    assert [is_closed(connection) for connection in kept] == [True, False]


def test_closing_closes_the_connections_of_all_threads(store: Store) -> None:
    kept: list[object] = []
    is_reading, may_end = threading.Event(), threading.Event()

    def read() -> None:
        store.rows(SHOW)
        kept.append(store.database.connection())
        is_reading.set()
        may_end.wait(20)

    thread = threading.Thread(target=read)
    thread.start()
    assert is_reading.wait(20)
    store.rows(SHOW)
    kept.append(store.database.connection())
    store.close()
    assert [is_closed(connection) for connection in kept] == [True, True]
    may_end.set()
    thread.join()


def test_a_statement_that_is_wrong_leaves_the_connection_usable(store: Store) -> None:
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        store.rows("SELECT nothing FROM nowhere")
    assert store.rows(SHOW) == []


@pytest.mark.postgres
def test_a_reader_does_not_notice_that_the_server_was_restarted_while_it_was_idle(
    postgres: Cluster, postgres_url: str, tmp_path: Path
) -> None:
    store = open_store(postgres_url, tmp_path / "spool")
    put(store, "a")
    assert store.rows(SHOW) == [("a",)]
    postgres.disconnect(postgres_url.rpartition("/")[2])
    assert store.rows(SHOW) == [("a",)]
    store.close()


def test_the_last_to_close_an_sqlite_file_leaves_everything_in_it(sqlite_store: Store, sqlite_file: Path) -> None:
    put(sqlite_store, "a")
    in_a_thread(lambda: sqlite_store.rows(SHOW))
    sqlite_store.close()
    assert sorted(path.name for path in sqlite_file.parent.glob("queue.db*")) == ["queue.db", "queue.db.migrate"]
    with sqlite3.connect(sqlite_file) as alone:
        assert alone.execute(SHOW).fetchall() == [("a",)]
    alone.close()


def test_where_postgresql_is_missing_the_tests_name_the_package(tmp_path: Path) -> None:
    with pytest.raises(PostgresMissing, match="install the Debian package `postgresql`"):
        find_programs(tmp_path)


def is_closed(connection: object) -> bool:
    if isinstance(connection, psycopg.Connection):
        return connection.closed
    assert isinstance(connection, sqlite3.Connection)
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return True
    return False


def test_nobody_else_on_the_machine_may_read_the_mail(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    store = open_store(folder / "queue.db", folder / "spool")
    try:
        store.writer.call(lambda tx: tx.change("INSERT INTO setting (name, value) VALUES ('a', 'b')")).result()
        modes = {path.name: path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())}
        assert {name: mode for name, mode in modes.items() if mode and not name.endswith(".migrate")} == {}
    finally:
        store.close()
