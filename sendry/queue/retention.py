"""Cleaning up: delivered mail, captured mail, dead letters and orphaned files past their time, in small batches.

Each call deletes one batch and says whether there may be more, so that the writer is never held for long.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sendry.queue import captures, control, rows
from sendry.store import ids
from sendry.store.database import Store
from sendry.store.writer import Row, Transaction

BATCH: Final = 200
_ORPHAN_AGE: Final = timedelta(hours=2)  # longer than the longest upload


def drop_delivered(store: Store, now: datetime, max_age: timedelta) -> int:
    """Delete messages that ended at least `max_age` ago (0: keep); dead letters and captures have their own rules."""
    if not max_age:
        return 0
    before = rows.to_ms(now - max_age)

    def change(tx: Transaction) -> int:
        found = tx.execute(
            "SELECT id FROM message WHERE status IN ('delivered', 'cancelled', 'failed', 'suppressed') AND id < ?"
            " AND updated_at < ? AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.message_id = message.id)"
            " AND NOT EXISTS (SELECT 1 FROM capture c WHERE c.message_id = message.id)"
            " AND NOT EXISTS (SELECT 1 FROM recipient r WHERE r.message_id = message.id"
            " AND (r.next_attempt_at IS NOT NULL OR r.lease_until IS NOT NULL)) ORDER BY id LIMIT ?"
            + rows.locking(tx),
            (ids.floor_of(before), before, BATCH),
        )
        return control.erase(tx, [number for (number,) in found], store.spool.remove)

    return store.writer.call(change).result()


def drop_captured(store: Store, now: datetime, max_age: timedelta, max_count: int) -> int:
    """Delete captured mail older than `max_age` (0: keep) and the oldest above `max_count` per inbox (0: keep)."""
    gone = 0
    if max_age:
        before = ids.floor_of(rows.to_ms(now - max_age))
        found = store.rows(
            "SELECT message_id FROM capture WHERE message_id < ? ORDER BY message_id LIMIT ?", (before, BATCH)
        )
        gone += captures.delete(store, [number for (number,) in found]).result() if found else 0
    if max_count:
        for (mailbox,) in store.rows("SELECT DISTINCT mailbox FROM capture"):
            edge = store.rows(
                "SELECT message_id FROM capture WHERE mailbox = ? ORDER BY message_id DESC LIMIT 1 OFFSET ?",
                (mailbox, max_count),
            )
            if not edge:
                continue
            found = store.rows(
                "SELECT message_id FROM capture WHERE mailbox = ? AND message_id <= ? ORDER BY message_id LIMIT ?",
                (mailbox, edge[0][0], BATCH),
            )
            gone += captures.delete(store, [number for (number,) in found]).result()
    return gone


def drop_dead_letters(store: Store, now: datetime, max_age: timedelta, max_count: int) -> int:
    """Delete dead letters older than `max_age` and the oldest above `max_count` (0: keep), messages and all."""

    def change(tx: Transaction) -> int:
        found: list[Row] = []
        if max_age:
            found += tx.execute(
                "SELECT message_id FROM dead_letter WHERE failed_at < ? ORDER BY failed_at LIMIT ?"
                + rows.locking(tx),
                (rows.to_ms(now - max_age), BATCH),
            )
        if max_count:
            found += tx.execute(
                "SELECT message_id FROM dead_letter ORDER BY failed_at DESC LIMIT ? OFFSET ?" + rows.locking(tx),
                (BATCH, max_count),
            )
        idle = [
            number
            for (number,) in dict.fromkeys(found)
            if not tx.execute(
                "SELECT 1 FROM recipient WHERE message_id = ?"
                " AND (next_attempt_at IS NOT NULL OR lease_until IS NOT NULL) LIMIT 1",
                (number,),
            )
        ]
        return control.erase(tx, idle, store.spool.remove)

    return store.writer.call(change).result()


def drop_orphans(store: Store, now: datetime) -> int:
    """Delete spool files that no message names: left by uploads that a crash cut off."""
    gone = 0
    for name in store.spool.names_older_than((now - _ORPHAN_AGE).timestamp()):
        if not store.rows("SELECT 1 FROM message WHERE spool = ? AND spool <> '' LIMIT 1", (name,)):
            store.spool.remove(name)
            gone += 1
    return gone


def until_done(step: Callable[[], int], most: int = 1000) -> int:
    """Repeat a batch until it finds less than a full one."""
    total = 0
    for _ in range(most):
        gone = step()
        total += gone
        if gone < BATCH:
            break
    return total
