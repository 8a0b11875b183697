"""Changes that the tests of the writer hand in, and what came of them."""

from __future__ import annotations

from collections.abc import Callable

from sendry.store.database import Store
from sendry.store.writer import Transaction

INSERT = "INSERT INTO setting (name, value) VALUES (?, ?)"


def put(name: str, value: str = "") -> Callable[[Transaction], int]:
    return lambda tx: tx.change(INSERT, (name, value))


def add(name: str) -> Callable[[Transaction], None]:
    return lambda tx: tx.add(INSERT, [(name, "")])


def names(store: Store) -> list[str]:
    return [name for (name,) in store.rows("SELECT name FROM setting ORDER BY name")]
