"""What people do to mail in the line: retry, cancel, delete, and the dead-letter queue.

Every act is a change of state with the old state in WHERE; it returns how many recipients it touched, and 0
means that somebody was quicker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum

from sendry.queue import rows
from sendry.queue.states import EventKind, Status
from sendry.store.ids import IdSource
from sendry.store.writer import Transaction


class Deleted(StrEnum):
    """How a deletion ended."""

    DONE = "done"
    UNKNOWN = "unknown"
    IN_FLIGHT = "in_flight"


def _event(tx: Transaction, ids: IdSource, message_id: int, recipient_id: int, kind: EventKind, at: int) -> None:
    tx.add(rows.INSERT_EVENT, [(ids.next(), message_id, recipient_id, kind.value, at, "")])


def cancel_change(ids: IdSource, message_id: int, now: datetime) -> Callable[[Transaction], int]:
    """Stop every recipient of a message that still waits."""
    moment = rows.to_ms(now)

    def change(tx: Transaction) -> int:
        cancelled = 0
        for recipient_id, status in tx.execute(
            "SELECT id, status FROM recipient WHERE message_id = ? AND next_attempt_at IS NOT NULL",
            (message_id,),
        ):
            if tx.change(
                "UPDATE recipient SET status = 'cancelled', next_attempt_at = NULL, updated_at = ?"
                " WHERE id = ? AND next_attempt_at IS NOT NULL",
                (moment, recipient_id),
            ):
                rows.moved(tx, status, Status.CANCELLED)
                _event(tx, ids, message_id, recipient_id, EventKind.CANCELLED, moment)
                cancelled += 1
        if cancelled:
            rows.derive_status(tx, message_id, moment)
        return cancelled

    return change


def retry_change(
    ids: IdSource, message_id: int, now: datetime, wake: Callable[[], None], *, only_failed: bool = False
) -> Callable[[Transaction], int]:
    """Make deferred recipients due now, and failed ones pending again with all their tries."""
    moment = rows.to_ms(now)

    def change(tx: Transaction) -> int:
        states = ("failed",) if only_failed else ("failed", "deferred")
        retried = 0
        for recipient_id, status in tx.execute(
            "SELECT id, status FROM recipient WHERE message_id = ? AND route <> 'capture'", (message_id,)
        ):
            if status not in states:
                continue
            new = Status.PENDING if status == "failed" else Status.DEFERRED
            if not tx.change(
                "UPDATE recipient SET status = ?, next_attempt_at = ?, updated_at = ?,"
                " attempts = CASE WHEN status = 'failed' THEN 0 ELSE attempts END, crashes = 0"
                " WHERE id = ? AND status = ?",
                (new.value, moment, moment, recipient_id, status),
            ):
                continue
            rows.moved(tx, status, new)
            _event(tx, ids, message_id, recipient_id, EventKind.RETRIED, moment)
            retried += 1
        if retried:
            tx.count("dead.total", -tx.change("DELETE FROM dead_letter WHERE message_id = ?", (message_id,)))
            rows.derive_status(tx, message_id, moment)
            tx.after.append(wake)
        return retried

    return change


def erase(tx: Transaction, message_ids: Sequence[int], remove_file: Callable[[str], None]) -> int:
    """Delete messages with everything that belongs to them; nobody may hold a lease on them."""
    erased = 0
    for message_id in message_ids:
        found = tx.execute("SELECT spool FROM message WHERE id = ?", (message_id,))
        if not found:
            continue
        # Counted by what was deleted, not by what was seen before: another node may have been there in between.
        for (status,) in tx.execute("DELETE FROM recipient WHERE message_id = ? RETURNING status", (message_id,)):
            rows.moved(tx, status, None)
        for (is_read,) in tx.execute("DELETE FROM capture WHERE message_id = ? RETURNING is_read", (message_id,)):
            tx.count("capture.total", -1)
            tx.count("capture.unread", 0 if is_read else -1)
        tx.count("dead.total", -tx.change("DELETE FROM dead_letter WHERE message_id = ?", (message_id,)))
        for table in ("message_tag", "event", "attempt", "content"):
            tx.change(f"DELETE FROM {table} WHERE message_id = ?", (message_id,))
        tx.change("DELETE FROM message WHERE id = ?", (message_id,))
        if found[0][0]:
            name: str = found[0][0]
            tx.after.append(lambda name=name: remove_file(name))  # type: ignore[misc]  # mypy cannot type a default
        erased += 1
    return erased


def delete_change(message_id: int, remove_file: Callable[[str], None]) -> Callable[[Transaction], Deleted]:
    """Delete one message, unless a worker is sending it now."""

    def change(tx: Transaction) -> Deleted:
        if not tx.execute("SELECT 1 FROM message WHERE id = ?", (message_id,)):
            return Deleted.UNKNOWN
        # The lock keeps other nodes from claiming what waits.
        lock = "" if tx.dialect == "sqlite" else " FOR UPDATE"
        statuses = tx.execute(f"SELECT status FROM recipient WHERE message_id = ?{lock}", (message_id,))
        if (Status.SENDING.value,) in statuses:
            return Deleted.IN_FLIGHT
        erase(tx, [message_id], remove_file)
        return Deleted.DONE

    return change


def forget_dead_change(message_ids: Sequence[int] | None) -> Callable[[Transaction], int]:
    """Take messages out of the dead-letter queue (None: all); the messages themselves stay in the history."""

    def change(tx: Transaction) -> int:
        if message_ids is None:
            gone = tx.change("DELETE FROM dead_letter")
        else:
            gone = sum(tx.change("DELETE FROM dead_letter WHERE message_id = ?", (i,)) for i in message_ids)
        tx.count("dead.total", -gone)
        return gone

    return change
