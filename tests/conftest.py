"""Fixtures of the whole suite: the store on both databases, and what must be the same for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from sendry.store.database import Store, open_store
from tests.postgres import Cluster, PostgresMissing

# How long one example takes says something of the machine, nothing of the code: no test asserts on time.
hypothesis.settings.register_profile("sendry", deadline=None)
hypothesis.settings.load_profile("sendry")

BOTH = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
_TEMPLATE = "migrated"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A PostgreSQL server for this run (one for each worker of pytest-xdist)."""
    try:
        cluster = Cluster()
    except PostgresMissing as error:
        pytest.fail(str(error), pytrace=False)
    with cluster:
        # Tests that want an empty installation copy a migrated one: 20 ms in place of 60.
        cluster.make_database(name=_TEMPLATE)
        open_store(cluster.url(_TEMPLATE), tmp_path_factory.mktemp("spool")).close()
        yield cluster


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """The URL of an empty migrated database of this test's own."""
    name = postgres.make_database(_TEMPLATE)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty migrated SQLite database to copy: to migrate anew costs four times as much."""
    folder = tmp_path_factory.mktemp("migrated")
    open_store(folder / "queue.db", folder / "spool").close()
    return folder / "queue.db"


@pytest.fixture
def sqlite_file(migrated_file: Path, tmp_path: Path) -> Path:
    """The file of an empty migrated installation of this test's own."""
    return Path(shutil.copyfile(migrated_file, tmp_path / "queue.db"))


@pytest.fixture(params=BOTH)
def location(request: pytest.FixtureRequest) -> Path | str:
    """Where an installation keeps its data: a file of SQLite, then a URL of PostgreSQL."""
    if request.param == "sqlite":
        path: Path = request.getfixturevalue("sqlite_file")
        return path
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(location: Path | str, tmp_path: Path) -> Iterator[Store]:
    """An open store, on SQLite and on PostgreSQL."""
    store = open_store(location, tmp_path / "spool")
    yield store
    store.close()


@pytest.fixture
def sqlite_store(sqlite_file: Path, tmp_path: Path) -> Iterator[Store]:
    """An open store on SQLite, for what is the same on both."""
    store = open_store(sqlite_file, tmp_path / "spool")
    yield store
    store.close()
