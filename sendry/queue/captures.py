"""Changes to captured mail: read marks, descriptions, deletion. The sandbox room decides, this room writes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sendry.queue import control
from sendry.queue.rows import clean
from sendry.store.database import Store
from sendry.store.writer import Transaction


@dataclass(frozen=True, slots=True)
class Description:
    """What the list shows of a captured mail beside its envelope."""

    message_id: int
    preview: str
    code: str
    link_count: int
    attachment_count: int


def mark_read(store: Store, message_ids: Sequence[int], *, is_read: bool = True) -> Future[int]:
    """Mark captured mail as read or unread; gives how many changed."""

    def change(tx: Transaction) -> int:
        changed = sum(
            tx.change(
                "UPDATE capture SET is_read = ? WHERE message_id = ? AND is_read = ?", (is_read, number, not is_read)
            )
            for number in message_ids
        )
        tx.count("capture.unread", -changed if is_read else changed)
        return changed

    return store.writer.call(change)


def describe(store: Store, descriptions: Sequence[Description]) -> Future[int]:
    """Keep what was found in captured mail, so that it is read once only."""

    def change(tx: Transaction) -> int:
        return tx.change_many(
            "UPDATE capture SET is_described = ?, preview = ?, code = ?, link_count = ?, attachment_count = ?"
            " WHERE message_id = ?",
            [
                (True, clean(d.preview, 300), clean(d.code, 40), d.link_count, d.attachment_count, d.message_id)
                for d in descriptions
            ],
        )

    return store.writer.call(change)


def delete(store: Store, message_ids: Sequence[int]) -> Future[int]:
    """Take mail out of the inbox. What was only captured goes altogether; mail that was also sent stays."""

    def change(tx: Transaction) -> int:
        return _delete(store, tx, message_ids)

    return store.writer.call(change)


def clear(store: Store, mailbox: str) -> Future[int]:
    """Empty an inbox; gives how many mails were in it."""

    def change(tx: Transaction) -> int:
        found = tx.execute("SELECT message_id FROM capture WHERE mailbox = ?", (mailbox,))
        return _delete(store, tx, [number for (number,) in found])

    return store.writer.call(change)


def _delete(store: Store, tx: Transaction, message_ids: Sequence[int]) -> int:
    gone = 0
    for number in message_ids:
        if not tx.execute("SELECT 1 FROM capture WHERE message_id = ?", (number,)):
            continue
        others = tx.execute("SELECT 1 FROM recipient WHERE message_id = ? AND route <> 'capture' LIMIT 1", (number,))
        if others:
            for (is_read,) in tx.execute("DELETE FROM capture WHERE message_id = ? RETURNING is_read", (number,)):
                tx.count("capture.total", -1)
                tx.count("capture.unread", 0 if is_read else -1)
        else:
            control.erase(tx, [number], store.spool.remove)
        gone += 1
    return gone
