"""The schema is looked at without being changed, and brought up to date without opening the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from sendry.store import schema, upgrade
from sendry.store.database import Store, open_store
from tests.postgres import Cluster


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where there is no installation yet."""
    if request.param == "sqlite":
        return tmp_path / "data" / "queue.db"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.url(cluster.make_database())


def test_what_is_not_applied_is_told_and_nothing_is_made(empty: Path | str) -> None:
    names = sorted(path.stem for path in schema.FOLDER.glob("0*.py"))
    assert upgrade.status(empty) == upgrade.status(empty) == [(name, False) for name in names]
    assert not isinstance(empty, Path) or not empty.parent.exists()


def test_each_migration_is_applied_once(empty: Path | str) -> None:
    applied = upgrade.migrate(empty)
    assert applied == [name for name, _ in upgrade.status(empty)]
    assert all(is_applied for _, is_applied in upgrade.status(empty))
    assert upgrade.migrate(empty) == []


def test_it_is_the_schema_that_the_store_opens(empty: Path | str, tmp_path: Path) -> None:
    upgrade.migrate(empty)
    store = open_store(empty, tmp_path / "spool")
    assert store.rows("SELECT COUNT(*) FROM message") == [(0,)]
    store.close()


def test_a_database_in_use_can_be_looked_at_and_migrated(store: Store, location: Path | str) -> None:
    assert upgrade.migrate(location) == []
    assert all(is_applied for _, is_applied in upgrade.status(location))
    store.writer.call(lambda tx: tx.change("INSERT INTO counter (name, value) VALUES ('x', 1)")).result()
