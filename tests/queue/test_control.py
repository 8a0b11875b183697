"""What people do to the line: cancel, retry, delete; 0 rows mean that somebody was quicker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sendry.queue.control import Deleted
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import EventKind, Route
from sendry.queue.work import NewCapture
from sendry.store.ids import to_text
from sendry.store.spool import CHUNK
from tests import make

TABLES = ("message", "recipient", "content", "event", "attempt", "message_tag", "dead_letter", "capture")


def statuses(queue: Queue) -> list[str]:
    return [status for (status,) in queue.store.rows("SELECT status FROM recipient ORDER BY id")]


def kinds(lookup: Lookup, number: int) -> list[EventKind]:
    view = lookup.message(to_text(number))
    assert view is not None
    return [event.kind for event in view.events]


class TestCancelling:
    def test_stops_what_waits(self, queue: Queue, lookup: Lookup) -> None:
        message = make.enqueued(queue, "a@example.org", "b@example.org")
        assert queue.cancel(message.id, make.NOW).result() == 2
        assert statuses(queue) == ["cancelled", "cancelled"]
        assert queue.store.rows("SELECT status FROM message") == [("cancelled",)]
        assert kinds(lookup, message.id) == ["accepted", "cancelled", "cancelled"]
        assert queue.claim(make.LATER, 10) == []
        counts = lookup.counts()
        assert (counts.cancelled, counts.pending) == (2, 0)

    def test_leaves_what_is_being_sent_or_has_ended(self, queue: Queue) -> None:
        message = make.enqueued(queue, *(f"{name}@example.org" for name in ("delivered", "sending", "waiting")))
        make.settled(queue, queue.claim(make.NOW, 1))
        queue.claim(make.NOW, 1)
        assert queue.cancel(message.id, make.NOW).result() == 1
        assert sorted(statuses(queue)) == ["cancelled", "delivered", "sending"]

    def test_what_was_deferred_can_be_cancelled(self, queue: Queue, lookup: Lookup) -> None:
        message = make.enqueued(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "deferred")
        assert queue.cancel(message.id, make.NOW).result() == 1
        assert lookup.counts().deferred == 0

    def test_says_when_somebody_was_quicker(self, queue: Queue, other_queue: Queue, lookup: Lookup) -> None:
        message = make.enqueued(queue)
        assert queue.cancel(message.id, make.NOW).result() == 1
        assert other_queue.cancel(message.id, make.NOW).result() == 0
        assert kinds(lookup, message.id) == ["accepted", "cancelled"]
        assert queue.cancel(123, make.NOW).result() == 0


class TestRetrying:
    def test_makes_what_was_deferred_due_now_with_its_tries(self, queue: Queue, lookup: Lookup) -> None:
        message = make.enqueued(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "deferred")
        assert queue.retry(message.id, make.NOW).result() == 1
        (work,) = queue.claim(make.NOW, 1)
        assert work.attempts == 1
        assert kinds(lookup, message.id) == ["accepted", "deferred", "retried"]

    def test_gives_what_failed_all_its_tries_again(self, queue: Queue, lookup: Lookup) -> None:
        message = make.enqueued(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "failed")
        assert queue.retry(message.id, make.NOW).result() == 1
        counts = lookup.counts()
        assert (counts.dead, counts.failed, counts.pending) == (0, 0, 1)
        (work,) = queue.claim(make.NOW, 1)
        assert work.attempts == 0

    def test_of_a_dead_letter_leaves_what_is_deferred_alone(self, queue: Queue) -> None:
        message = make.enqueued(queue, "failed@example.org", "deferred@example.org")
        for work in queue.claim(make.NOW, 2):
            make.settled(queue, [work], work.address.partition("@")[0])
        assert queue.retry_dead(message.id, make.NOW).result() == 1
        assert [work.address for work in queue.claim(make.NOW, 10)] == ["failed@example.org"]

    def test_leaves_what_is_sent_or_being_sent(self, queue: Queue) -> None:
        message = make.enqueued(queue, "a@example.org", "b@example.org")
        make.settled(queue, queue.claim(make.NOW, 1))
        queue.claim(make.NOW, 1)
        assert queue.retry(message.id, make.NOW).result() == 0
        assert sorted(statuses(queue)) == ["delivered", "sending"]

    def test_wakes_whoever_delivers_only_when_there_is_work(self, queue: Queue) -> None:
        message = make.enqueued(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "failed")
        woken: list[str] = []
        queue.on_work.append(lambda: woken.append("woken"))
        queue.retry(message.id, make.NOW).result()
        queue.retry_dead(message.id, make.NOW).result()
        assert woken == ["woken"]

    def test_says_when_somebody_was_quicker(self, queue: Queue, other_queue: Queue, lookup: Lookup) -> None:
        message = make.enqueued(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "failed")
        assert queue.retry_dead(message.id, make.NOW).result() == 1
        assert other_queue.retry_dead(message.id, make.NOW).result() == 0
        assert kinds(lookup, message.id)[-1] == "retried"
        assert lookup.counts().dead == 0


class TestDeleting:
    def test_leaves_nothing_of_a_message(self, queue: Queue, lookup: Lookup) -> None:
        message = make.enqueued(
            queue, "a@example.org", "b@example.org", tags=("x",), capture=NewCapture(("a@example.org",)),
            content=make.spooled(queue.store, b"x" * CHUNK),
        )  # fmt: skip
        make.settled(queue, queue.claim(make.NOW, 1), "failed")
        assert queue.delete(message.id).result() is Deleted.DONE
        assert {table: queue.store.rows(f"SELECT 1 FROM {table}") for table in TABLES} == {
            table: [] for table in TABLES
        }
        assert list(queue.store.spool.folder.iterdir()) == []
        counts = lookup.counts()
        assert (counts.total, counts.dead, counts.captured, counts.unread) == (0, 0, 0, 0)

    def test_leaves_other_messages_alone(self, queue: Queue) -> None:
        first, second = make.enqueued(queue), make.enqueued(queue)
        queue.delete(first.id).result()
        assert queue.open_content(first.id) is None
        assert [work.message_id for work in queue.claim(make.NOW, 10)] == [second.id]

    def test_is_refused_while_it_is_being_sent_and_changes_nothing(self, queue: Queue, lookup: Lookup) -> None:
        # Whichever of its recipients is the one: those before it must not have been stopped.
        for index in range(3):
            message = make.enqueued(queue, *(f"{number}@example.org" for number in range(3)))
            work = sorted(queue.claim(make.NOW, 3), key=lambda item: item.recipient_id)
            queue.release([item for item in work if item is not work[index]], make.LATER, make.NOW).result()
            assert queue.delete(message.id).result() is Deleted.IN_FLIGHT
            make.settled(queue, [work[index]])
        assert sorted(statuses(queue)) == ["delivered"] * 3 + ["pending"] * 6
        assert lookup.counts().pending == 6

    def test_of_a_message_that_is_gone_says_so(self, queue: Queue, other_queue: Queue) -> None:
        message = make.enqueued(queue)
        assert queue.delete(message.id).result() is Deleted.DONE
        assert other_queue.delete(message.id).result() is Deleted.UNKNOWN


class TestDeadLetters:
    @pytest.fixture
    def dead(self, queue: Queue) -> list[int]:
        messages = [make.enqueued(queue).id for _ in range(3)]
        make.settled(queue, queue.claim(make.NOW, 10), "failed")
        return messages

    def test_are_forgotten_and_their_mail_stays_in_the_history(
        self, queue: Queue, lookup: Lookup, dead: list[int]
    ) -> None:
        assert queue.forget_dead(dead[:2]).result() == 2
        assert lookup.counts().dead == 1
        assert lookup.message(to_text(dead[0])) is not None
        assert queue.retry(dead[0], make.NOW).result() == 1

    def test_are_all_forgotten_at_once(self, queue: Queue, lookup: Lookup, dead: list[int]) -> None:
        assert queue.forget_dead(None).result() == 3
        assert (lookup.counts().dead, lookup.dead_numbers(10)) == (0, [])

    def test_that_somebody_else_forgot_are_not_counted(self, queue: Queue, lookup: Lookup, dead: list[int]) -> None:
        queue.forget_dead(dead[:1]).result()
        assert queue.forget_dead([*dead[:2], 99]).result() == 1
        assert lookup.counts().dead == 1

    def test_are_listed_in_order_and_dated(self, queue: Queue, lookup: Lookup, dead: list[int]) -> None:
        assert lookup.dead_numbers(2) == dead[:2]
        assert lookup.dead_numbers(10, after=dead[1]) == dead[2:]
        later = make.enqueued(queue)
        queue.settle([make.result(w, "failed") for w in queue.claim(make.LATER, 1)], make.LATER).result()
        stats = lookup.dead_stats()
        assert (stats.count, stats.oldest_at, stats.newest_at) == (4, make.NOW, make.LATER)
        assert lookup.dead_numbers(10)[-1] == later.id

    def test_are_none_in_an_empty_line(self, lookup: Lookup) -> None:
        stats = lookup.dead_stats()
        assert (stats.count, stats.oldest_at, stats.newest_at) == (0, None, None)


def test_captured_mail_is_not_retried(queue: Queue) -> None:
    message = make.enqueued(queue, route=Route.CAPTURE, capture=NewCapture(("boris@example.org",)))
    assert queue.retry(message.id, make.NOW + timedelta(days=1)).result() == 0
