"""New mail that goes straight to this process's own delivery, and the doors for its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from sendry.queue.claim import LEASE
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import Route
from sendry.queue.work import NewRecipient, Work
from sendry.store.spool import CHUNK
from tests import make


class Delivery:
    """A taker that keeps what it gets."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.is_full = False
        self.works: list[Work] = []
        self.seen: list[int] = []

    def has_room(self) -> bool:
        return not self.is_full

    def take(self, works: Sequence[Work]) -> None:
        self.works += works
        self.seen.append(len(self.queue.store.rows("SELECT 1 FROM recipient WHERE lease_until IS NOT NULL")))


@pytest.fixture
def delivery(queue: Queue) -> Delivery:
    queue.taker = taker = Delivery(queue)
    return taker


class TestHandingOver:
    def test_gives_new_work_once_it_is_on_disk(self, queue: Queue, delivery: Delivery, lookup: Lookup) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")
        assert [work.address for work in delivery.works] == ["a@example.org", "b@example.org"]
        assert delivery.seen == [2]
        assert queue.claim(make.LATER, 10) == []
        counts = lookup.counts()
        assert (counts.sending, counts.pending) == (2, 0)

    def test_gives_the_same_as_a_claim_would(self, queue: Queue, delivery: Delivery) -> None:
        recipients = (
            NewRecipient("a@example.org", "example.org", Route.MX, notify="DELAY", orcpt="rfc822;a@example.org"),
            NewRecipient("qa@example.com", "example.com", Route.REDIRECT, "b@example.org"),
        )
        make.enqueued(queue, recipients=recipients, eight_bit=True, smtputf8=True, ret="FULL", envid="e")
        make.enqueued(queue, content=make.spooled(queue.store, b"x" * CHUNK))
        assert queue.release(delivery.works, make.LATER, make.NOW).result() == 3
        claimed = {work.recipient_id: replace(work, lease=0) for work in queue.claim(make.LATER, 10)}
        assert claimed == {work.recipient_id: replace(work, lease=0) for work in delivery.works}

    def test_can_be_settled(self, queue: Queue, delivery: Delivery, lookup: Lookup) -> None:
        make.enqueued(queue)
        assert make.settled(queue, delivery.works) == []
        assert (lookup.counts().delivered, queue.store.rows("SELECT status FROM message")) == (1, [("delivered",)])

    def test_leaves_a_lease_behind_when_the_process_dies(self, queue: Queue, delivery: Delivery) -> None:
        make.enqueued(queue)
        assert queue.recover(make.NOW + LEASE + timedelta(seconds=1)) == 1
        assert len(queue.claim(make.LATER, 1)) == 1

    @pytest.mark.parametrize(
        "changes", [{"priority": 1}, {"due": make.LATER}, {"route": Route.CAPTURE}], ids=["bulk", "later", "captured"]
    )
    def test_leaves_other_mail_to_the_table(
        self, queue: Queue, delivery: Delivery, changes: dict[str, object]
    ) -> None:
        make.enqueued(queue, **changes)
        assert delivery.works == []
        assert queue.store.rows("SELECT 1 FROM recipient WHERE lease_until IS NOT NULL") == []

    def test_wakes_for_what_there_is_no_room_for(self, queue: Queue, delivery: Delivery) -> None:
        delivery.is_full = True
        woken: list[str] = []
        queue.on_work.append(lambda: woken.append("woken"))
        make.enqueued(queue)
        assert (delivery.works, woken, len(queue.claim(make.NOW, 10))) == ([], ["woken"], 1)

    def test_gives_nothing_of_what_was_not_written(self, queue: Queue, delivery: Delivery) -> None:
        good = make.message(queue)
        with make.held_up(queue.store):
            answers = [queue.enqueue_one(message) for message in (good, make.message(queue, id=good.id))]
        assert [answer.exception(make.SOON) is None for answer in answers] == [True, False]
        assert [work.message_id for work in delivery.works] == [good.id]


class TestDoorsForALoop:
    def test_claiming_tells_when_the_next_is_due(self, queue: Queue) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")
        make.enqueued(queue, due=make.LATER)

        async def claim() -> list[tuple[int, object]]:
            asked = [await queue.claim_soon(make.NOW, limit) for limit in (1, 10, 10)]
            return [(len(work), due) for work, due in asked]

        assert asyncio.run(claim()) == [(1, make.NOW), (1, make.LATER), (0, make.LATER)]

    def test_claiming_gives_the_same_work(self, queue: Queue) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")

        async def claim() -> list[Work]:
            work, _ = await queue.claim_soon(make.NOW, 10)
            return work

        soon = asyncio.run(claim())
        queue.release(soon, make.NOW, make.NOW).result()
        assert queue.claim(make.NOW, 10) == soon

    def test_settling_clears_the_notes(self, queue: Queue, lookup: Lookup) -> None:
        make.enqueued(queue)
        (work,) = queue.claim(make.NOW, 1)
        queue.note_in_flight([work.recipient_id])

        async def settle() -> list[int]:
            return await queue.settle_soon([make.result(work)], make.NOW)

        assert asyncio.run(settle()) == []
        assert (lookup.counts().delivered, queue.in_flight.holds(work.recipient_id)) == (1, False)

    def test_settling_goes_on_when_nobody_waits_any_more(
        self, queue: Queue, lookup: Lookup, caplog: pytest.LogCaptureFixture
    ) -> None:
        make.enqueued(queue)
        (work,) = queue.claim(make.NOW, 1)

        async def give_up() -> None:
            with make.held_up(queue.store):
                waiting = queue.settle_soon([make.result(work)], make.NOW)
                waiting.cancel()
                await asyncio.sleep(0)
            await queue.settle_soon([], make.NOW)

        asyncio.run(give_up())
        assert lookup.counts().delivered == 1
        assert "Exception in callback" not in caplog.text
