"""Cleaning up: in batches, each kind by its own rule, never what is still in the line."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import pytest

from sendry.queue import retention
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.retention import BATCH
from sendry.queue.states import Route
from sendry.queue.work import NewCapture, NewMessage
from sendry.store.spool import CHUNK
from tests import make

DAY = timedelta(days=1)
AFTER_A_WEEK = make.NOW + 7 * DAY
NEVER = timedelta(0)


def accepted(queue: Queue, at: datetime = make.NOW, **changes: object) -> NewMessage:
    return make.enqueued(queue, now=at, id=make.id_at(at), **changes)


def captured(queue: Queue, at: datetime = make.NOW, mailbox: str = "") -> NewMessage:
    return accepted(queue, at, route=Route.CAPTURE, capture=NewCapture(("boris@example.org",), mailbox=mailbox))


def messages(queue: Queue) -> set[int]:
    return {number for (number,) in queue.store.rows("SELECT id FROM message")}


class TestDelivered:
    def test_mail_goes_when_it_ended_long_enough_ago(self, queue: Queue, lookup: Lookup) -> None:
        old = accepted(queue)
        make.settled(queue, queue.claim(make.NOW, 1))
        new = accepted(queue, make.NOW + 6 * DAY)
        queue.settle([make.result(w) for w in queue.claim(AFTER_A_WEEK, 1)], make.NOW + 6 * DAY).result()
        assert messages(queue) == {old.id, new.id}
        assert retention.drop_delivered(queue.store, AFTER_A_WEEK, 3 * DAY) == 1
        assert messages(queue) == {new.id}
        assert lookup.counts().delivered == 1
        assert lookup.totals()["delivered"] == 2

    def test_mail_that_ended_late_stays_although_it_came_early(self, queue: Queue) -> None:
        old = accepted(queue)
        queue.settle([make.result(w) for w in queue.claim(make.NOW, 1)], make.NOW + 6 * DAY).result()
        assert retention.drop_delivered(queue.store, AFTER_A_WEEK, 3 * DAY) == 0
        assert messages(queue) == {old.id}

    def test_mail_that_is_in_the_line_stays(self, queue: Queue) -> None:
        kept = {accepted(queue).id}
        message = accepted(queue, recipients=make.message(queue, "a@example.org", "b@example.org").recipients)
        kept.add(message.id)
        make.settled(queue, queue.claim(make.NOW, 1), "deferred")
        queue.claim(make.NOW, 1)
        assert retention.drop_delivered(queue.store, AFTER_A_WEEK, DAY) == 0
        assert messages(queue) == kept

    def test_dead_letters_and_captured_mail_stay(self, queue: Queue) -> None:
        dead, kept = accepted(queue), captured(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "failed")
        assert retention.drop_delivered(queue.store, AFTER_A_WEEK, DAY) == 0
        assert messages(queue) == {dead.id, kept.id}
        queue.forget_dead(None).result()
        assert retention.drop_delivered(queue.store, AFTER_A_WEEK, DAY) == 1

    def test_cancelled_and_suppressed_mail_goes_too(self, queue: Queue) -> None:
        queue.cancel(accepted(queue).id, make.NOW).result()
        accepted(queue)
        for table in ("recipient SET next_attempt_at = NULL,", "message SET"):
            sql = f"UPDATE {table} status = 'suppressed' WHERE status = 'pending'"
            queue.store.writer.call(lambda tx, sql=sql: tx.change(sql)).result()  # type: ignore[misc]  # mypy cannot type a default
        assert retention.drop_delivered(queue.store, AFTER_A_WEEK, DAY) == 2

    def test_nought_keeps_everything(self, queue: Queue) -> None:
        accepted(queue)
        make.settled(queue, queue.claim(make.NOW, 1))
        assert retention.drop_delivered(queue.store, AFTER_A_WEEK, NEVER) == 0

    def test_goes_in_batches_with_its_files(self, queue: Queue) -> None:
        number = BATCH + 5
        many = [make.message(queue, now=make.NOW, id=make.id_at(make.NOW)) for _ in range(number)]
        queue.enqueue(
            [*many[1:], make.message(queue, id=many[0].id, content=make.spooled(queue.store, b"x" * CHUNK))]
        ).result()
        make.settled(queue, queue.claim(make.NOW, number))
        commits = queue.store.writer.commits
        steps = [retention.drop_delivered(queue.store, AFTER_A_WEEK, DAY) for _ in range(2)]
        assert steps == [BATCH, 5]
        assert queue.store.writer.commits == commits + 2
        assert (messages(queue), list(queue.store.spool.folder.iterdir())) == (set(), [])


class TestCaptured:
    def test_mail_goes_by_age(self, queue: Queue, lookup: Lookup) -> None:
        captured(queue)
        new = captured(queue, make.NOW + 6 * DAY)
        assert retention.drop_captured(queue.store, AFTER_A_WEEK, 3 * DAY, 0) == 1
        assert messages(queue) == {new.id}
        assert (lookup.counts().captured, lookup.counts().unread) == (1, 1)

    def test_mail_goes_by_number_in_each_inbox_oldest_first(self, queue: Queue) -> None:
        shop = [captured(queue, mailbox="shop").id for _ in range(4)]
        other = [captured(queue).id for _ in range(2)]
        assert retention.drop_captured(queue.store, AFTER_A_WEEK, NEVER, 3) == 1
        assert messages(queue) == {*shop[1:], *other}

    def test_nought_keeps_everything(self, queue: Queue) -> None:
        captured(queue)
        assert retention.drop_captured(queue.store, AFTER_A_WEEK, NEVER, 0) == 0

    def test_mail_that_is_also_delivered_leaves_the_inbox_only(self, queue: Queue, lookup: Lookup) -> None:
        message = accepted(queue, route=Route.REDIRECT, capture=NewCapture(("boris@example.org",)))
        assert retention.drop_captured(queue.store, AFTER_A_WEEK, DAY, 0) == 1
        assert (messages(queue), lookup.counts().captured) == ({message.id}, 0)
        assert len(queue.claim(make.NOW, 1)) == 1


class TestDeadLetters:
    @pytest.fixture
    def dead(self, queue: Queue) -> list[int]:
        """Four, one a day, the last one today."""
        numbers = []
        for days in range(4):
            at = make.NOW + days * DAY
            numbers.append(accepted(queue, at).id)
            queue.settle([make.result(w, "failed") for w in queue.claim(at, 1)], at).result()
        return numbers

    @pytest.mark.parametrize(
        ("max_age", "max_count", "kept"),
        [(NEVER, 0, 4), (2 * DAY, 0, 3), (NEVER, 2, 2), (DAY, 1, 1), (5 * DAY, 3, 3), (timedelta(hours=1), 9, 1)],
    )
    def test_go_by_age_and_by_number_each_rule_by_itself(
        self, queue: Queue, lookup: Lookup, dead: list[int], max_age: timedelta, max_count: int, kept: int
    ) -> None:
        today = make.NOW + 3 * DAY
        gone = retention.drop_dead_letters(queue.store, today, max_age, max_count)
        assert (gone, messages(queue)) == (4 - kept, set(dead[4 - kept :]))
        assert (lookup.counts().dead, lookup.counts().failed) == (kept, kept)

    def test_of_messages_with_recipients_that_still_wait_stay(self, queue: Queue, lookup: Lookup) -> None:
        accepted(queue, recipients=make.message(queue, "a@example.org", "b@example.org").recipients)
        make.settled(queue, queue.claim(make.NOW, 1), "failed")
        assert retention.drop_dead_letters(queue.store, AFTER_A_WEEK, DAY, 0) == 0
        assert lookup.counts().dead == 1


class TestOrphans:
    def test_of_a_crash_go_when_no_upload_can_still_be_running(self, queue: Queue) -> None:
        spool = queue.store.spool
        named = make.enqueued(queue, content=make.spooled(queue.store, b"x" * CHUNK))
        old, new = (make.spooled(queue.store, b"x").spool for _ in range(2))
        long_ago = (make.NOW - timedelta(hours=3)).timestamp()
        for path in spool.folder.iterdir():
            os.utime(path, (long_ago, long_ago))
        just_now = make.NOW.timestamp()
        os.utime(spool.folder / new, (just_now, just_now))
        assert retention.drop_orphans(queue.store, make.NOW) == 1
        assert not (spool.folder / old).exists()
        assert (spool.folder / new).exists()
        stored = queue.open_content(named.id)
        assert stored is not None
        assert len(stored.read()) == named.content.size


def test_batches_are_repeated_until_one_is_not_full() -> None:
    steps = iter([BATCH, BATCH, 3, BATCH])
    assert retention.until_done(lambda: next(steps)) == 2 * BATCH + 3
    assert list(steps) == [BATCH]
    assert retention.until_done(lambda: BATCH, most=4) == 4 * BATCH
