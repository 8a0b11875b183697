"""The door of the room: everything others do with the waiting line is a method of Queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from sendry.queue import claim, control, enqueue, handover, settle
from sendry.queue.control import Deleted
from sendry.queue.inflight import InFlight
from sendry.queue.work import NewMessage, Result, Work
from sendry.store.database import Store
from sendry.store.ids import IdSource, to_text
from sendry.store.writer import Transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The octets of one message, read piece by piece."""

    store: Store
    message_id: int
    size: int
    spool: str
    spool_offset: int

    def chunks(self) -> Iterator[bytes]:
        """The content in order, in pieces of at most 256 KiB. Blocks on the disk."""
        part = 0
        while found := self.store.rows(
            "SELECT octets FROM content WHERE message_id = ? AND part = ?", (self.message_id, part)
        ):
            yield bytes(found[0][0])
            part += 1
        if self.spool:
            yield from self.store.spool.chunks(self.spool, self.spool_offset)

    def read(self) -> bytes:
        """All of it at once; for a person who asks for one mail, not for the way through."""
        return b"".join(self.chunks())


class Queue:
    """The waiting line of one node. Thread-safe; the methods that return a Future write, the others read."""

    def __init__(
        self, store: Store, ids: IdSource, node: int, in_flight: InFlight, *, keeps_dead_letters: bool = True
    ) -> None:
        self.store = store
        self.ids = ids
        self.node = node
        self.in_flight = in_flight
        self.keeps_dead_letters = keeps_dead_letters
        self.on_work: list[Callable[[], None]] = []
        self.taker: handover.Taker | None = None
        """The delivery of this process, which gets new work without claiming it."""

    def wake(self) -> None:
        """Tell whoever delivers that there is due work."""
        for callback in self.on_work:
            callback()

    # New messages

    def enqueue(self, messages: Sequence[NewMessage]) -> Future[list[str]]:
        """Write messages in one transaction; the future gives their public ids once they are on disk."""
        change = enqueue.change_for(messages, self.ids, self.node, self.store.spool, self.wake, self.taker)
        return self.store.writer.call(
            lambda tx: change(tx) or [to_text(message.id) for message in messages], is_guarded=False
        )

    def enqueue_one(self, message: NewMessage) -> Future[str]:
        """The same for one message."""
        return self.store.writer.call(self._enqueued(message), is_guarded=False)

    def enqueue_one_soon(self, message: NewMessage) -> asyncio.Future[str]:
        """The same for one message and a coroutine of the running loop."""
        return self.store.writer.call_soon(self._enqueued(message))

    def _enqueued(self, message: NewMessage) -> Callable[[Transaction], str]:
        change = enqueue.change_for((message,), self.ids, self.node, self.store.spool, self.wake, self.taker)
        name = to_text(message.id)
        return lambda tx: change(tx) or name

    # The line itself

    def claim(self, now: datetime, limit: int) -> list[Work]:
        """Take up to `limit` due recipients under a lease. Blocks: call it off the loop."""
        taken = self.store.writer.call(claim.due_change(self.node, now, limit), is_guarded=False).result()
        return claim.to_work(self.store.rows, taken, claim.lease_of(now))

    def claim_soon(self, now: datetime, limit: int) -> asyncio.Future[tuple[list[Work], datetime | None]]:
        """The same for a coroutine of the running loop, with the time when the next recipient is due.

        Contents are read by the writer thread on the way: fewer changes of thread than asking for them apart.
        """
        take = claim.due_change(self.node, now, limit)
        lease = claim.lease_of(now)

        def change(tx: Transaction) -> tuple[list[Work], datetime | None]:
            taken = take(tx)
            due = claim.next_due(tx.execute) if len(taken) < limit else now
            return claim.to_work(tx.execute, taken, lease), due

        return self.store.writer.call_soon(change)

    def settle_soon(self, results: Sequence[Result], now: datetime) -> asyncio.Future[list[int]]:
        """`settle` for a coroutine of the running loop."""
        change = settle.settle_change(self.ids, self.node, results, now, keeps_dead_letters=self.keeps_dead_letters)
        done = self.store.writer.call_soon(change)
        done.add_done_callback(lambda f: self._settled(f, [result.work.recipient_id for result in results]))
        return done

    def settle(self, results: Sequence[Result], now: datetime) -> Future[list[int]]:
        """Write how claimed work ended; gives the recipient ids whose lease had been lost meanwhile."""
        change = settle.settle_change(self.ids, self.node, results, now, keeps_dead_letters=self.keeps_dead_letters)
        done = self.store.writer.call(change, is_guarded=False)
        done.add_done_callback(lambda f: self._settled(f, [result.work.recipient_id for result in results]))
        return done

    def _settled(self, done: Future[list[int]] | asyncio.Future[list[int]], recipient_ids: list[int]) -> None:
        # Who waited for it may have been cancelled; it is written all the same, and the notes do no harm.
        if not done.cancelled() and done.exception() is None:
            self.in_flight.clear(recipient_ids)
            if lost := done.result():
                log.warning("results came after their lease had ended", extra={"recipients": len(lost)})

    def release(self, work: Sequence[Work], until: datetime, now: datetime) -> Future[int]:
        """Give claimed work back untouched, due again at `until`; no attempt is used up."""
        self.in_flight.clear([item.recipient_id for item in work])
        return self.store.writer.call(claim.release_change(self.node, work, until, now), is_guarded=False)

    def crashed(self, work: Work, reason: str, now: datetime) -> Future[bool]:
        """An unforeseen exception on a piece of work: deferred, on the third time quarantined (True)."""
        change = settle.crash_change(
            self.ids, self.node, work, reason, now,
            keeps_dead_letters=self.keeps_dead_letters, may_have_arrived=self.in_flight.holds(work.recipient_id),
        )  # fmt: skip
        done = self.store.writer.call(change)
        done.add_done_callback(lambda f: self._crash_written(f, work.recipient_id))
        return done

    def _crash_written(self, done: Future[bool], recipient_id: int) -> None:
        if done.exception() is None:
            self.in_flight.clear([recipient_id])

    def note_in_flight(self, recipient_ids: Sequence[int]) -> None:
        """Call it right before the content of a transaction goes out: from here on the other side may have it."""
        self.in_flight.note(recipient_ids)

    def note_delivered(self, recipient_ids: Sequence[int]) -> None:
        """Call it as soon as the other side said 250: what is noted here is not tried again, come what may."""
        self.in_flight.note_delivered(recipient_ids)

    def recover(self, now: datetime, dead_nodes: Collection[int] = ()) -> int:
        """Return to the line what leases that ran out, or dead nodes, still hold; gives the number of recipients.

        Those that a node of this machine noted as in flight may have arrived: they are marked. Blocks.
        """
        if not claim.needs_recovery(self.store, now, dead_nodes):
            return 0
        change = claim.recover_change(self.ids, now, dead_nodes, self.in_flight.of_all_nodes())
        found = self.store.writer.call(change).result()
        if found:
            log.info("leases recovered", extra={"recipients": found})
            self.wake()
        return found

    def next_due(self) -> datetime | None:
        """When the next recipient is due, or None when nothing waits."""
        return claim.next_due(self.store.rows)

    def open_content(self, message_id: int) -> StoredContent | None:
        """The content of a message for reading, or None when the message is gone."""
        found = self.store.rows("SELECT size, spool, spool_offset FROM message WHERE id = ?", (message_id,))
        return StoredContent(self.store, message_id, *found[0]) if found else None

    # What people do

    def cancel(self, message_id: int, now: datetime) -> Future[int]:
        """Stop what still waits of a message; gives the number of recipients."""
        return self.store.writer.call(control.cancel_change(self.ids, message_id, now))

    def retry(self, message_id: int, now: datetime) -> Future[int]:
        """Make deferred and failed recipients of a message due now; gives the number of recipients."""
        return self.store.writer.call(control.retry_change(self.ids, message_id, now, self.wake))

    def retry_dead(self, message_id: int, now: datetime) -> Future[int]:
        """Send the failed recipients of a dead letter again; gives the number of recipients."""
        return self.store.writer.call(control.retry_change(self.ids, message_id, now, self.wake, only_failed=True))

    def delete(self, message_id: int) -> Future[Deleted]:
        """Delete a message with its history, unless it is being sent."""
        return self.store.writer.call(control.delete_change(message_id, self.store.spool.remove))

    def forget_dead(self, message_ids: Sequence[int] | None) -> Future[int]:
        """Take messages (None: all) out of the dead-letter queue; gives how many were in it."""
        return self.store.writer.call(control.forget_dead_change(message_ids))
