"""The schema of a database by itself: what is applied, and bringing it up to date without opening the store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from peewee import Database
from playhouse.migrations import Migration

from sendry.store import schema
from sendry.store.database import BUSY_SECONDS, _connect_postgres, _connect_sqlite


def status(location: Path | str) -> list[tuple[str, bool]]:
    """Every migration with whether it is applied; changes nothing. Raises the driver's error.

    One that this release does not know was applied by a newer one.
    """
    if isinstance(location, Path) and not location.exists():
        return [(migration.name, False) for migration in Migration.load_directory(str(schema.FOLDER))]
    database = _connect(location)
    database.connect()
    with closing(database):
        return schema.status(database)


def migrate(location: Path | str) -> list[str]:
    """Apply what is not applied, also while Sendry runs; gives the names. Raises the driver's error."""
    database = _connect(location)
    try:
        return schema.migrate(database, location if isinstance(location, Path) else None)
    finally:
        database.close()


def _connect(location: Path | str) -> Database:
    if isinstance(location, Path):
        return _connect_sqlite(location, BUSY_SECONDS)
    return _connect_postgres(location)
