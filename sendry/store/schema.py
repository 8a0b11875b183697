"""Migrations: numbered files in `migrations/`, run once each at start, one process at a time."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peewee import Database
from playhouse.migrations import Runner

log = logging.getLogger(__name__)

FOLDER = Path(__file__).resolve().parents[2] / "migrations"
_ADVISORY_LOCK = 7_362_637_901  # any number, the same in every release


@contextmanager
def _alone(database: Database, sqlite_path: Path | None) -> Iterator[None]:
    # Four processes that start together must not apply the same migration twice. SQLite is connected to under
    # the lock: turning a new file to WAL does not wait for others that do the same, it fails.
    if sqlite_path is None:
        database.connect(reuse_if_open=True)
        database.execute_sql("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        try:
            yield
        finally:
            database.execute_sql("SELECT pg_advisory_unlock(%s)", (_ADVISORY_LOCK,))
        return
    with sqlite_path.with_name(sqlite_path.name + ".migrate").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        database.connect(reuse_if_open=True)
        yield


def migrate(database: Database, sqlite_path: Path | None) -> list[str]:
    """Apply every migration that is not yet applied, in order; returns their names."""
    with _alone(database, sqlite_path):
        names: list[str] = Runner(database, str(FOLDER)).up()
    for name in names:
        log.info("migration applied", extra={"migration": name})
    return names


def status(database: Database) -> list[tuple[str, bool]]:
    """Every known migration with whether it is applied."""
    return [(migration.name, migration.applied is not None) for migration in Runner(database, str(FOLDER)).status()]
