"""Opening the database: SQLite or PostgreSQL behind the same doors, migrated before anybody reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
_BUSY_SECONDS = 10


class Store:
    """The database of one installation and the folder of large contents beside it."""

    def __init__(self, database: Database, dialect: str, spool: Spool) -> None:
        self.database = database
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
        with self.reading():
            if self.dialect != "sqlite":
                sql = sql.replace("?", "%s")
            cursor = self.database.connection().cursor()
            try:
                cursor.execute(sql, params)
                return list(cursor.fetchall())
            finally:
                cursor.close()

    def close(self) -> None:
        """Finish the writer and close this thread's connection."""
        self.writer.close()
        if not self.database.is_closed():
            self.database.close()


def _connect_sqlite(path: Path) -> SqliteDatabase:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = SqliteDatabase(
        str(path),
        pragmas=_SQLITE_PRAGMAS,
        timeout=_BUSY_SECONDS,
        lock_type="IMMEDIATE",
        autoconnect=False,
    )
    database.register_function(_fold, "fold", 1)
    return database


def _fold(text: str | None) -> str | None:
    return text.casefold() if text else text


def _connect_postgres(url: str) -> PostgresqlDatabase:
    # Platforms hand out postgres://, the driver and peewee know postgresql:// only.
    url = "postgresql://" + url.split("://", 1)[1]
    return PostgresqlDatabase(url, autoconnect=False, prefer_psycopg3=True)


def open_store(location: Path | str, spool_folder: Path) -> Store:
    """Open and migrate the database: a path is SQLite, a `postgresql://` URL is PostgreSQL.

    Raises the driver's error when it cannot be reached. The writer thread is running afterwards.
    """
    database: Database
    if isinstance(location, Path):
        database, dialect = _connect_sqlite(location), "sqlite"
    else:
        database, dialect = _connect_postgres(location), "postgres"
    models.database.initialize(database)
    schema.migrate(database, location if isinstance(location, Path) else None)
    store = Store(database, dialect, Spool(spool_folder))
    store.writer.start()
    return store
