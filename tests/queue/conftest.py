"""The line as one process has it, and as another process has the same one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.store.database import Store, open_store
from tests import make


@pytest.fixture
def queue(store: Store) -> Queue:
    return make.queue(store)


@pytest.fixture
def lookup(store: Store) -> Lookup:
    return Lookup(store)


@pytest.fixture
def other_queue(queue: Queue, location: Path | str, tmp_path: Path) -> Iterator[Queue]:
    """The same line with connections and a writer of its own, as node 2."""
    store = open_store(location, tmp_path / "spool")
    yield make.queue(store, node=2)
    store.close()
