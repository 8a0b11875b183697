"""A line to accept mail into; what differs between databases is tested in the line itself."""

from __future__ import annotations

import pytest

from sendry.queue.line import Queue
from sendry.store.database import Store
from tests import make


@pytest.fixture
def queue(sqlite_store: Store) -> Queue:
    return make.queue(sqlite_store)
