"""Opening the database: SQLite or PostgreSQL behind the same doors, migrated before anybody reads it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from peewee import Database, PostgresqlDatabase, SqliteDatabase

from sendry.store import models, schema
from sendry.store.spool import Spool
from sendry.store.writer import Row, Writer

log = logging.getLogger(__name__)

_SQLITE_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "full",  # NORMAL loses acknowledged mail on a power cut
    "wal_autocheckpoint": 4000,
    "cache_size": -16_000,
    "temp_store": "memory",
    "mmap_size": 0,
}
BUSY_SECONDS = 10.0


class _Connections:
    """Keeps the connection of every thread, so that those of ended threads and of a closed store are closed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._opened: dict[threading.Thread, Any] = {}
        self._opened_lock = threading.Lock()
        super().__init__(*args, **kwargs)

    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]  # a mixin: the database class comes after it
        with self._opened_lock:
            ended = [thread for thread in self._opened if not thread.is_alive()]
            forgotten = [self._opened.pop(thread) for thread in ended]
            self._opened[threading.current_thread()] = connection
        for lost in forgotten:
            lost.close()
        return connection

    def _close(self, connection: Any) -> None:
        with self._opened_lock:
            self._opened.pop(threading.current_thread(), None)
        super()._close(connection)  # type: ignore[misc]  # a mixin: the database class comes after it

    def close_all(self) -> None:
        """Close what any thread still has open."""
        with self._opened_lock:
            left, self._opened = list(self._opened.values()), {}
        for connection in left:
            with suppress(Exception):  # it broke before: it is closed all the same
                connection.close()


class _Sqlite(_Connections, SqliteDatabase):
    pass


class _Postgres(_Connections, PostgresqlDatabase):
    pass


class Store:
    """The database of one installation and the folder of large contents beside it."""

    def __init__(self, database: _Sqlite | _Postgres, dialect: str, spool: Spool) -> None:
        self.database: Database = database
        self._connections: _Connections = database
        self.dialect = dialect
        self.spool = spool
        self.writer = Writer(database, dialect)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Make sure this thread has a connection. It is kept for the thread's next time."""
        if not self.database.is_connection_usable():
            if not self.database.is_closed():
                self.database.close()
            self.database.connect()
        yield

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Read rows with SQL that runs on both databases; `?` marks parameters."""
        if self.dialect != "sqlite":
            sql = sql.replace("?", "%s")
        try:
            return self._fetch(sql, params)
        except Exception:
            if self.database.is_connection_usable():
                raise
            # The server ended this connection while it was idle, by a restart say; reading again is harmless.
            return self._fetch(sql, params)

    def _fetch(self, sql: str, params: Sequence[Any]) -> list[Row]:
        with self.reading():
            cursor = self.database.connection().cursor()
            try:
                cursor.execute(sql, params)
                return list(cursor.fetchall())
            finally:
                cursor.close()

    def close(self) -> None:
        """Finish the writer and close the connections of all threads; nobody may read any more."""
        self.writer.close()
        if not self.database.is_closed():
            self.database.close()
        self._connections.close_all()


def _connect_sqlite(path: Path, busy_seconds: float) -> _Sqlite:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Mail is nobody else's to read; SQLite gives the files beside this one the same permissions.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = _Sqlite(
        str(path),
        pragmas=_SQLITE_PRAGMAS,
        timeout=busy_seconds,
        lock_type="IMMEDIATE",
        autoconnect=False,
        check_same_thread=False,  # each thread has its own, but the one that ends the store closes them all
    )
    database.register_function(_fold, "fold", 1)
    return database


def _fold(text: str | None) -> str | None:
    return text.casefold() if text else text


def _connect_postgres(url: str) -> _Postgres:
    # Platforms hand out postgres://, the driver and peewee know postgresql:// only.
    url = "postgresql://" + url.split("://", 1)[1]
    return _Postgres(url, autoconnect=False, prefer_psycopg3=True)


def open_store(location: Path | str, spool_folder: Path, *, busy_seconds: float = BUSY_SECONDS) -> Store:
    """Open and migrate the database: a path is SQLite, a `postgresql://` URL is PostgreSQL.

    `busy_seconds` is how long a change waits for another process to let go of an SQLite file. Raises the
    driver's error when the database cannot be reached. The writer thread is running afterwards.
    """
    database: _Sqlite | _Postgres
    if isinstance(location, Path):
        database, dialect = _connect_sqlite(location, busy_seconds), "sqlite"
    else:
        database, dialect = _connect_postgres(location), "postgres"
    models.database.initialize(database)
    try:
        schema.migrate(database, location if isinstance(location, Path) else None)
    except BaseException:
        database.close()
        raise
    store = Store(database, dialect, Spool(spool_folder))
    store.writer.start()
    return store
