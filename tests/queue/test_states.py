"""The status of a message: what its recipients say, in Python and in SQL alike."""

from __future__ import annotations

from itertools import combinations

import pytest

from sendry.queue import rows
from sendry.queue.line import Queue
from sendry.queue.states import Status, of_message
from tests import make


@pytest.mark.parametrize(
    ("of_recipients", "status"),
    [
        (["delivered", "delivered"], "delivered"),
        (["delivered", "suppressed"], "suppressed"),
        (["delivered", "cancelled", "suppressed"], "cancelled"),
        (["delivered", "failed", "cancelled"], "failed"),
        (["failed", "deferred"], "deferred"),
        (["deferred", "pending"], "pending"),
        (["pending", "sending", "failed"], "sending"),
    ],
)
def test_a_message_shows_what_is_least_finished(of_recipients: list[str], status: str) -> None:
    assert of_message(of_recipients) == of_message(reversed(of_recipients)) == status


def test_the_database_derives_the_same(queue: Queue) -> None:
    chosen = [some for size in (1, 2, 3, 7) for some in combinations(Status, size)]
    addresses = [f"{number}@example.org" for number in range(7)]
    messages = [make.message(queue, *addresses[: len(some)]) for some in chosen]
    queue.enqueue(messages).result()
    ids = [number for (number,) in queue.store.rows("SELECT id FROM recipient ORDER BY message_id, id")]
    wanted = [status for some in chosen for status in some]
    for status in Status:
        due = 1 if status in ("pending", "deferred") else None
        lease = 1 if status is Status.SENDING else None
        those = [(status.value, due, lease, number) for number, of in zip(ids, wanted, strict=True) if of is status]
        sql = "UPDATE recipient SET status = ?, next_attempt_at = ?, lease_until = ? WHERE id = ?"
        queue.store.writer.call(lambda tx, sql=sql, those=those: tx.change_many(sql, those)).result()  # type: ignore[misc]  # mypy cannot type a default
    for message in messages:
        queue.store.writer.call(lambda tx, number=message.id: rows.derive_status(tx, number, 5)).result()  # type: ignore[misc]  # mypy cannot type a default
    derived = queue.store.rows("SELECT status, updated_at FROM message ORDER BY id")
    # What is being sent stands as pending in the row, since a claim does not touch it.
    expected = [of_message("pending" if s == "sending" else s for s in some) for some in chosen]
    assert derived == [(status.value, 5) for status in expected]
