"""Running processes: each holds a number of its own, which stands in its ids and on its leases."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sendry.store.database import Store
from sendry.store.ids import MAX_NODE, IdSource
from sendry.store.writer import Transaction

SILENT_AFTER: Final = timedelta(minutes=3)
"""A node that did not show itself for this long is dead, wherever it ran."""


class NumberLost(Exception):
    """This process was silent for so long that another one has its number now: it must end and start again."""


@dataclass(frozen=True, slots=True)
class NodeLease:
    """This process's place among the running ones."""

    number: int
    ids: IdSource
    dead: tuple[int, ...]  # numbers whose processes are known to be gone; their leases may be taken back


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _dead(tx: Transaction, host: str, own_pid: int, now: datetime) -> list[int]:
    """Numbers of processes that are gone, those of this machine first."""
    silent = _ms(now - SILENT_AFTER)
    dead = []
    for number, where, pid, seen_at in tx.execute("SELECT id, host, pid, seen_at FROM node"):
        if seen_at < silent or (where == host and (pid == own_pid or not _is_alive(pid))):
            dead.append((where != host, number))
    return [number for _, number in sorted(dead)]


def _lock(tx: Transaction) -> None:
    # SQLite lets one process write at a time; on PostgreSQL two that start together would take the same number.
    if tx.dialect != "sqlite":
        tx.execute("LOCK TABLE node IN SHARE ROW EXCLUSIVE MODE")


def join(store: Store, roles: str, now: datetime) -> NodeLease:
    """Take a number for this process. Raises RuntimeError when 1,024 processes run already."""
    host, pid = socket.gethostname(), os.getpid()

    def change(tx: Transaction) -> tuple[int, list[int]]:
        _lock(tx)
        dead = _dead(tx, host, pid, now)
        taken = {number for (number,) in tx.execute("SELECT id FROM node")} - set(dead)
        # The number of an earlier life on this machine first: its notes of what was in flight are beside the data.
        candidates = [*dead, *(number for number in range(MAX_NODE + 1) if number not in taken)]
        if not candidates:
            raise RuntimeError("1,024 processes of this installation run already")
        number = candidates[0]
        for gone in dead:
            tx.change("DELETE FROM node WHERE id = ?", (gone,))
        moment = _ms(now)
        tx.change(
            "INSERT INTO node (id, host, pid, roles, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?)",
            (number, host, pid, roles, moment, moment),
        )
        return number, dead

    number, dead = store.writer.call(change).result()
    greatest = 0
    for table in ("message", "recipient", "event", "attempt"):
        found = store.rows(f"SELECT MAX(id) FROM {table}")[0][0]  # noqa: S608 - names from the line above
        greatest = max(greatest, found or 0)
    return NodeLease(number, IdSource(number, after=greatest), tuple(dead))


def show(store: Store, number: int, now: datetime) -> tuple[int, ...]:
    """Say that this node lives, and learn which others do not.

    Raises NumberLost when another process took the number of this one for dead and holds it now.
    """
    host, pid = socket.gethostname(), os.getpid()

    def change(tx: Transaction) -> list[int]:
        moment = _ms(now)
        if not tx.change(
            "UPDATE node SET seen_at = ? WHERE id = ? AND host = ? AND pid = ?", (moment, number, host, pid)
        ):
            _lock(tx)
            if tx.execute("SELECT 1 FROM node WHERE id = ?", (number,)):
                raise NumberLost(f"node number {number} belongs to another process now")
            tx.change(
                "INSERT INTO node (id, host, pid, roles, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?)",
                (number, host, pid, "", moment, moment),
            )
        return [gone for gone in _dead(tx, host, pid, now) if gone != number]

    return tuple(store.writer.call(change).result())


def leave(store: Store, number: int) -> None:
    """Give the number back at an orderly end."""
    host, pid = socket.gethostname(), os.getpid()
    store.writer.call(
        lambda tx: tx.change("DELETE FROM node WHERE id = ? AND host = ? AND pid = ?", (number, host, pid))
    ).result()


def remembered(store: Store, name: str, make: str) -> str:
    """A small secret of the installation: the value kept under `name`, or `make`, which is kept from now on."""

    def change(tx: Transaction) -> str:
        tx.change("INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, make))
        return str(tx.execute("SELECT value FROM setting WHERE name = ?", (name,))[0][0])

    return store.writer.call(change).result()
