"""How claimed work ends: states, attempts, events, counters and dead letters, all in one transaction."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import EventKind, Status
from sendry.queue.views import MessageView
from sendry.queue.work import Work
from sendry.store.database import Store
from sendry.store.ids import to_text
from sendry.store.writer import Transaction
from tests import make

HOUR = int(make.NOW.timestamp() * 1000) // 3_600_000 * 3_600_000


def claimed(queue: Queue, *addresses: str) -> list[Work]:
    make.enqueued(queue, *addresses)
    return sorted(queue.claim(make.NOW, 100), key=lambda work: work.recipient_id)


def view_of(queue: Queue, work: Work) -> MessageView:
    view = Lookup(queue.store).message(to_text(work.message_id))
    assert view is not None
    return view


def totals(queue: Queue) -> dict[str, int]:
    return {name: value for name, value in Lookup(queue.store).totals().items() if value}


class TestDelivered:
    def test_ends_the_recipient_with_its_attempt_and_event(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        tried = make.tried(250, "queued as 4xyz", source_ip="192.0.2.1", tls="TLSv1.3", tls_verified="web-pki")
        assert make.settled(queue, [work], tried=(tried,)) == []
        view = view_of(queue, work)
        (recipient,), (attempt,) = view.recipients, view.attempts
        assert (recipient.status, recipient.attempts, recipient.next_attempt_at) == ("delivered", 1, None)
        assert (recipient.last_code, recipient.last_enhanced, recipient.last_response) == (
            250, "2.0.0", "queued as 4xyz",
        )  # fmt: skip
        assert (attempt.host, attempt.ip, attempt.source_ip, attempt.tls, attempt.tls_verified) == (
            "mx.example.org", "192.0.2.25", "192.0.2.1", "TLSv1.3", "web-pki",
        )  # fmt: skip
        assert (attempt.code, attempt.response, attempt.outcome, attempt.duration_ms, attempt.started_at) == (
            250, "queued as 4xyz", "delivered", 120, make.NOW,
        )  # fmt: skip
        assert [(event.kind, event.attempt) for event in view.events] == [
            (EventKind.ACCEPTED, None), (EventKind.DELIVERED, attempt),
        ]  # fmt: skip
        assert (view.message.status, view.is_dead) == ("delivered", False)
        counts = Lookup(queue.store).counts()
        assert (counts.delivered, counts.sending, counts.pending) == (1, 0, 0)
        assert totals(queue) == {"accepted": 1, "delivered": 1}
        assert Lookup(queue.store).tallies(make.NOW, make.LATER) == [
            (make.NOW.replace(minute=0), "accepted", 1), (make.NOW.replace(minute=0), "delivered", 1),
        ]  # fmt: skip

    def test_is_never_tried_again(self, queue: Queue) -> None:
        make.settled(queue, claimed(queue))
        assert queue.claim(make.NOW + timedelta(days=30), 10) == []
        assert queue.recover(make.NOW + timedelta(days=30), [1]) == 0

    def test_keeps_every_host_that_was_tried_on_the_way(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        first = make.tried(0, "connection refused", host="mx1.example.org")
        second = make.tried(250, "OK", host="mx2.example.org")
        make.settled(queue, [work], tried=(first, second))
        view = view_of(queue, work)
        assert [(attempt.host, attempt.outcome) for attempt in view.attempts] == [
            ("mx1.example.org", "deferred"), ("mx2.example.org", "delivered"),
        ]  # fmt: skip
        assert (view.recipients[0].attempts, view.recipients[0].last_code) == (1, 250)
        assert view.events[-1].attempt == view.attempts[-1]


class TestDeferred:
    def test_waits_until_its_next_attempt(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        make.settled(queue, [work], "deferred")
        view = view_of(queue, work)
        assert (view.message.status, view.recipients[0].next_attempt_at) == ("deferred", make.LATER)
        assert view.events[-1].detail == {"next_attempt_at": int(make.LATER.timestamp() * 1000)}
        assert queue.claim(make.LATER - timedelta(seconds=1), 1) == []
        (again,) = queue.claim(make.LATER, 1)
        assert (again.attempts, again.is_possible_duplicate) == (1, False)

    def test_need_not_use_up_an_attempt(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        make.settled(queue, [work], "deferred", counts=False)
        (again,) = queue.claim(make.LATER, 1)
        assert again.attempts == 0

    def test_without_a_try_keeps_the_reply_to_the_last_one(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        make.settled(queue, [work], "deferred", tried=(make.tried(450, "greylisted", bounce_class="policy"),))
        make.settled(queue, queue.claim(make.LATER, 1), "deferred", tried=(), counts=False)
        recipient = view_of(queue, work).recipients[0]
        assert (recipient.last_code, recipient.last_enhanced, recipient.last_response, recipient.bounce_class) == (
            450, "4.2.0", "greylisted", "policy",
        )  # fmt: skip
        assert len(view_of(queue, work).attempts) == 1

    def test_remembers_that_the_sender_was_told_of_the_delay(self, queue: Queue) -> None:
        make.settled(queue, claimed(queue), "deferred", is_delay_told=True)
        (again,) = queue.claim(make.LATER, 1)
        assert again.is_delay_told
        make.settled(queue, [again], "deferred", next_attempt_at=make.LATER)
        assert queue.claim(make.LATER, 1)[0].is_delay_told

    def test_without_a_time_is_refused_and_changes_nothing(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        with pytest.raises(Exception, match=r"(?i)check"):
            make.settled(queue, [work], "deferred", next_attempt_at=None)
        assert view_of(queue, work).recipients[0].status is Status.SENDING
        assert Lookup(queue.store).counts().sending == 1


class TestUnknown:
    def test_is_deferred_and_marked_for_good(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        make.settled(queue, [work], "unknown")
        view = view_of(queue, work)
        assert (view.recipients[0].status, view.recipients[0].is_possible_duplicate) == ("deferred", True)
        assert view.attempts[0].outcome == "unknown"
        assert view.events[-1].detail["outcome"] == "unknown"
        (again,) = queue.claim(make.LATER, 1)
        make.settled(queue, [again], "delivered")
        view = view_of(queue, work)
        assert view.recipients[0].is_possible_duplicate
        assert view.events[-1].detail == {"possible_duplicate": True}


class TestFailed:
    def test_ends_in_the_dead_letter_queue(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        make.settled(queue, [work], "failed", tried=(make.tried(550, "No such user", bounce_class="unknown-user"),))
        view = view_of(queue, work)
        assert (view.message.status, view.recipients[0].bounce_class, view.is_dead) == (
            "failed",
            "unknown-user",
            True,
        )
        assert queue.store.rows("SELECT message_id, code, reason FROM dead_letter") == [
            (work.message_id, 550, "No such user")
        ]
        assert Lookup(queue.store).counts().dead == 1
        assert view.events[-1].kind is EventKind.FAILED

    def test_makes_one_dead_letter_of_a_message_with_many_recipients(self, queue: Queue) -> None:
        make.settled(queue, claimed(queue, "a@example.org", "b@example.org", "c@example.org"), "failed")
        counts = Lookup(queue.store).counts()
        assert (counts.dead, counts.failed) == (1, 3)

    def test_makes_none_where_the_dead_letter_queue_is_off(self, store: Store) -> None:
        queue = make.queue(store)
        queue.keeps_dead_letters = False
        (work,) = claimed(queue)
        make.settled(queue, [work], "failed")
        assert (view_of(queue, work).is_dead, Lookup(store).counts().dead) == (False, 0)


class TestTheMessage:
    @pytest.mark.parametrize(
        ("outcomes", "status"),
        [
            (("delivered", "delivered"), "delivered"),
            (("delivered", "failed"), "failed"),
            (("failed", "deferred"), "deferred"),
            (("delivered", "deferred"), "deferred"),
            (("delivered", None), "sending"),
            (("failed", None), "sending"),
            (("deferred", None), "sending"),
            (("deferred", "unknown", "delivered", "failed"), "deferred"),
        ],
    )
    def test_has_the_status_that_follows_from_its_recipients(
        self, queue: Queue, outcomes: tuple[str | None, ...], status: str
    ) -> None:
        work = claimed(queue, *(f"{number}@example.org" for number in range(len(outcomes))))
        results = [make.result(item, outcome) for item, outcome in zip(work, outcomes, strict=True) if outcome]
        queue.settle(results, make.NOW).result()
        view = view_of(queue, work[0])
        assert view.message.status == status
        stored = "pending" if None in outcomes else status
        assert queue.store.rows("SELECT status FROM message") == [(stored,)]

    def test_is_pending_while_some_recipients_have_not_been_tried(self, queue: Queue) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")
        work = queue.claim(make.NOW, 1)
        make.settled(queue, work)
        assert view_of(queue, work[0]).message.status == "pending"

    @pytest.mark.postgres
    @pytest.mark.parametrize("location", ["postgres"], indirect=True)
    def test_of_two_recipients_that_two_processes_end_at_once_is_right(
        self, queue: Queue, other_queue: Queue
    ) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")
        first, second = queue.claim(make.NOW, 1), other_queue.claim(make.NOW, 1)
        with make.held_up(queue.store):
            one = queue.settle([make.result(work) for work in first], make.NOW)
            written, may_commit = threading.Event(), threading.Event()

            def wait(_tx: Transaction) -> None:
                written.set()
                assert may_commit.wait(make.SOON)

            queue.store.writer.call(wait)
        # The first process has written its half and not committed it when the second one writes its own.
        assert written.wait(make.SOON)
        other = other_queue.settle([make.result(work) for work in second], make.NOW)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not queue.store.rows(waiting):
            assert not other.done()
        may_commit.set()
        assert (one.result(make.SOON), other.result(make.SOON)) == ([], [])
        assert queue.store.rows("SELECT status FROM message") == [("delivered",)]


class TestLostLeases:
    def test_results_that_come_too_late_change_nothing(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        queue.recover(make.NOW + timedelta(days=1))
        assert make.settled(queue, [work], "failed") == [work.recipient_id]
        view = view_of(queue, work)
        assert (view.message.status, view.attempts, view.is_dead) == ("pending", (), False)
        assert totals(queue) == {"accepted": 1}

    def test_a_node_s_own_later_lease_is_not_ended_by_a_result_of_its_earlier_one(self, queue: Queue) -> None:
        (early,) = claimed(queue)
        much_later = make.NOW + timedelta(days=1)
        queue.recover(much_later)
        (late,) = queue.claim(much_later, 1)
        assert make.settled(queue, [early], "deferred") == [early.recipient_id]
        assert view_of(queue, late).recipients[0].status is Status.SENDING
        assert make.settled(queue, [late], "delivered") == []

    def test_results_beside_a_lost_one_are_written(self, queue: Queue) -> None:
        first, second = claimed(queue, "a@example.org", "b@example.org")
        queue.release([first], make.LATER, make.NOW).result()
        assert make.settled(queue, [first, second]) == [first.recipient_id]
        assert [r.status for r in view_of(queue, first).recipients] == ["pending", "delivered"]

    def test_results_of_a_deleted_message_change_nothing(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        queue.store.writer.call(lambda tx: tx.change("DELETE FROM recipient")).result()
        assert make.settled(queue, [work]) == [work.recipient_id]
        assert queue.store.rows("SELECT 1 FROM attempt") == []


class TestCrashes:
    def test_defer_twice_and_quarantine_the_third_time(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        now, ended = make.NOW, list[bool]()
        for _ in range(3):
            ended.append(queue.crashed(work, "KeyError: 'x'", now).result())
            now += timedelta(minutes=5)
            work = next(iter(queue.claim(now, 1)), work)
        assert ended == [False, False, True]
        view = view_of(queue, work)
        assert (view.message.status, view.is_dead) == ("failed", True)
        assert view.recipients[0].last_response == "KeyError: 'x'"
        assert [event.kind for event in view.events] == ["accepted", "deferred", "deferred", "quarantined"]
        assert view.events[-1].detail == {"reason": "KeyError: 'x'"}
        assert totals(queue) == {"accepted": 1, "deferred": 2, "failed": 1}
        counts = Lookup(queue.store).counts()
        assert (counts.failed, counts.sending, counts.deferred, counts.dead) == (1, 0, 0, 1)

    def test_while_the_content_was_on_its_way_mark_a_possible_duplicate(self, queue: Queue) -> None:
        first, second = claimed(queue, "a@example.org", "b@example.org")
        queue.note_in_flight([first.recipient_id])
        queue.crashed(first, "boom", make.NOW).result()
        queue.crashed(second, "boom", make.NOW).result()
        assert [r.is_possible_duplicate for r in view_of(queue, first).recipients] == [True, False]
        assert not queue.in_flight.holds(first.recipient_id)

    def test_on_work_that_is_no_longer_ours_change_nothing(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        make.settled(queue, [work])
        assert queue.crashed(work, "boom", make.NOW).result() is False
        assert view_of(queue, work).message.status == "delivered"

    def test_are_forgotten_when_somebody_retries_the_message(self, queue: Queue) -> None:
        (work,) = claimed(queue)
        queue.crashed(work, "boom", make.NOW).result()
        queue.retry(work.message_id, make.NOW).result()
        assert queue.store.rows("SELECT crashes FROM recipient") == [(0,)]


def test_settled_recipients_are_no_longer_in_flight(queue: Queue) -> None:
    work = claimed(queue, "a@example.org", "b@example.org")
    queue.note_in_flight([item.recipient_id for item in work])
    make.settled(queue, work[:1])
    assert [queue.in_flight.holds(item.recipient_id) for item in work] == [False, True]


def test_what_the_remote_wrote_is_kept_whatever_it_is(queue: Queue) -> None:
    (work,) = claimed(queue)
    make.settled(queue, [work], "failed", tried=(make.tried(550, "нет\0 \ud800 " + "x" * 2000),))
    view = view_of(queue, work)
    assert view.recipients[0].last_response == view.attempts[0].response
    assert view.attempts[0].response.startswith("нет ? xxx")
    assert len(view.attempts[0].response) == 1000


def test_what_the_other_side_refused_counts_as_bounced_and_what_we_gave_up_does_not(queue: Queue) -> None:
    refused, gone = claimed(queue, "a@example.org", "b@example.org")
    make.settled(queue, [refused], "failed")
    make.settled(queue, [gone], "failed", tried=(make.tried(0, "no host could be reached"),))
    found = totals(queue)
    assert (found["failed"], found["bounced"]) == (2, 1)
