"""Claiming: transactional mail first, never twice, under a lease that can be given back."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from sendry.mail.envelope import Content
from sendry.queue.claim import LEASE, SMALL
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import Status
from sendry.store.database import Store
from sendry.store.ids import to_text
from tests import make


def states(queue: Queue) -> list[tuple[str, bool, bool, int | None]]:
    return [
        (status, due is not None, lease is not None, node)
        for status, due, lease, node in queue.store.rows(
            "SELECT status, next_attempt_at, lease_until, lease_node FROM recipient ORDER BY id"
        )
    ]


class TestOrder:
    def test_transactional_mail_passes_bulk_mail_that_waits_longer(self, queue: Queue) -> None:
        for minute in range(3):
            make.enqueued(queue, f"bulk{minute}@example.org", priority=1, due=make.NOW - timedelta(hours=1))
            make.enqueued(queue, f"now{minute}@example.org", due=make.NOW - timedelta(minutes=minute))
        claimed = [work.address for work in queue.claim(make.NOW, 4)]
        assert claimed[:3] == ["now2@example.org", "now1@example.org", "now0@example.org"]
        assert claimed[3].startswith("bulk")

    def test_bulk_mail_gets_what_transactional_mail_leaves(self, queue: Queue) -> None:
        make.enqueued(queue, "bulk@example.org", priority=1)
        assert [work.priority for work in queue.claim(make.NOW, 10)] == [1]

    def test_what_is_due_longest_comes_first(self, queue: Queue) -> None:
        for minutes in (5, 30, 10):
            make.enqueued(queue, f"{minutes}@example.org", due=make.NOW - timedelta(minutes=minutes))
        assert [work.address.partition("@")[0] for work in queue.claim(make.NOW, 3)] == ["30", "10", "5"]

    def test_no_more_than_the_limit_are_taken(self, queue: Queue) -> None:
        make.enqueued(queue, *(f"{number}@example.org" for number in range(7)))
        assert [len(queue.claim(make.NOW, 3)) for _ in range(4)] == [3, 3, 1, 0]

    def test_what_is_not_due_waits(self, queue: Queue) -> None:
        make.enqueued(queue, due=make.NOW + timedelta(milliseconds=1))
        assert queue.claim(make.NOW, 10) == []
        assert len(queue.claim(make.NOW + timedelta(milliseconds=1), 10)) == 1

    def test_an_empty_line_gives_nothing(self, queue: Queue) -> None:
        assert queue.claim(make.NOW, 10) == []
        assert queue.next_due() is None


class TestLease:
    def test_stands_on_what_is_claimed(self, queue: Queue) -> None:
        make.enqueued(queue)
        (work,) = queue.claim(make.NOW, 1)
        assert states(queue) == [("sending", False, True, 1)]
        until = int((make.NOW + LEASE).timestamp() * 1000)
        assert queue.store.rows("SELECT lease_until FROM recipient") == [(until,)]
        assert work.lease == until
        assert Lookup(queue.store).counts().sending == 1

    def test_keeps_a_recipient_from_being_claimed_again(self, queue: Queue, other_queue: Queue) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")
        queue.claim(make.NOW, 1)
        assert len(other_queue.claim(make.NOW, 10)) == 1
        assert queue.claim(make.NOW, 10) == other_queue.claim(make.NOW, 10) == []

    def test_a_claimed_message_is_shown_as_sending(self, queue: Queue) -> None:
        message = make.enqueued(queue, "a@example.org", "b@example.org")
        queue.claim(make.NOW, 1)
        view = Lookup(queue.store).message(to_text(message.id))
        assert view is not None
        assert view.message.status is Status.SENDING

    def test_two_processes_that_claim_at_once_never_get_the_same_recipient(
        self, queue: Queue, other_queue: Queue
    ) -> None:
        queue.enqueue([make.message(queue, f"{number}@example.org") for number in range(400)]).result()
        claimed: dict[int, list[int]] = {1: [], 2: []}
        barrier = threading.Barrier(4)

        def drain(line: Queue) -> None:
            barrier.wait()
            while work := line.claim(make.NOW, 7):
                claimed[line.node] += [item.recipient_id for item in work]

        threads = [threading.Thread(target=drain, args=(line,)) for line in (queue, other_queue) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # SKIP LOCKED may leave a few to a claim that came to nothing; nobody claims them twice.
        drained = claimed[1] + claimed[2] + [work.recipient_id for work in queue.claim(make.NOW, 400)]
        assert len(drained) == len(set(drained)) == 400
        counts = Lookup(queue.store).counts()
        assert (counts.pending, counts.sending) == (0, 400)


class TestContent:
    def test_that_is_small_comes_along(self, queue: Queue) -> None:
        message = make.enqueued(queue)
        (work,) = queue.claim(make.NOW, 1)
        assert work.small == message.content.head + message.content.body
        assert work.size == len(work.small)

    @pytest.mark.parametrize(("over", "comes_along"), [(0, True), (1, False)])
    def test_up_to_32_kib_is_small(self, queue: Queue, over: int, comes_along: bool) -> None:
        head = make.head()
        message = make.enqueued(queue, content=Content(head, b"x" * (SMALL - len(head) + over)))
        (work,) = queue.claim(make.NOW, 1)
        assert (work.small is not None) is comes_along
        stored = queue.open_content(message.id)
        assert stored is not None
        assert len(stored.read()) == SMALL + over

    def test_in_a_spool_file_is_never_small(self, queue: Queue) -> None:
        make.enqueued(queue, content=make.spooled(queue.store, b"x" * 300_000))
        (work,) = queue.claim(make.NOW, 1)
        assert work.small is None

    def test_of_many_messages_is_read_in_few_questions(self, queue: Queue) -> None:
        messages = [make.message(queue) for _ in range(30)]
        queue.enqueue(messages).result()
        smalls = {work.message_id: work.small for work in queue.claim(make.NOW, 30)}
        assert smalls == {message.id: message.content.head + message.content.body for message in messages}


class TestReleasing:
    def test_gives_back_untouched_until_the_time_given(self, queue: Queue) -> None:
        make.enqueued(queue)
        work = queue.claim(make.NOW, 1)
        assert queue.release(work, make.LATER, make.NOW).result() == 1
        assert states(queue) == [("pending", True, False, None)]
        assert queue.claim(make.NOW, 1) == []
        (again,) = queue.claim(make.LATER, 1)
        assert again.attempts == 0
        assert Lookup(queue.store).counts().sending == 1

    def test_gives_back_what_was_tried_before_as_deferred(self, queue: Queue) -> None:
        message = make.enqueued(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "deferred")
        queue.release(queue.claim(make.LATER, 1), make.LATER, make.LATER).result()
        view = Lookup(queue.store).message(to_text(message.id))
        assert view is not None
        assert (view.message.status, view.recipients[0].status, view.recipients[0].attempts) == (
            "deferred", "deferred", 1,
        )  # fmt: skip

    def test_of_what_was_put_off_without_a_try_makes_the_message_pending_again(self, queue: Queue) -> None:
        make.enqueued(queue)
        make.settled(queue, queue.claim(make.NOW, 1), "deferred", tried=(), counts=False)
        queue.release(queue.claim(make.LATER, 1), make.LATER, make.LATER).result()
        assert queue.store.rows("SELECT status FROM message") == queue.store.rows("SELECT status FROM recipient")

    def test_what_is_leased_to_another_is_not_given_back(self, queue: Queue, other_queue: Queue) -> None:
        make.enqueued(queue)
        work = queue.claim(make.NOW, 1)
        assert other_queue.release(work, make.NOW, make.NOW).result() == 0
        assert states(queue) == [("sending", False, True, 1)]


class TestNextDue:
    def test_is_the_first_of_both_priorities(self, queue: Queue) -> None:
        make.enqueued(queue, priority=0, due=make.LATER)
        make.enqueued(queue, priority=1, due=make.NOW)
        assert queue.next_due() == make.NOW
        make.enqueued(queue, priority=0, due=make.NOW - timedelta(seconds=1))
        assert queue.next_due() == make.NOW - timedelta(seconds=1)

    def test_leaves_out_what_is_being_sent_or_has_ended(self, queue: Queue) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")
        (first,) = queue.claim(make.NOW, 1)
        make.settled(queue, [first])
        queue.claim(make.NOW, 1)
        assert queue.next_due() is None


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (
            "SELECT r.id FROM recipient r JOIN message m ON m.id = r.message_id WHERE r.priority = 0"
            " AND r.next_attempt_at <= 5 ORDER BY r.next_attempt_at LIMIT 100",
            "recipient_due",
        ),
        ("SELECT id FROM recipient WHERE lease_until IS NOT NULL AND lease_until < 5", "recipient_lease"),
        (
            "SELECT next_attempt_at FROM recipient WHERE priority = 0 AND next_attempt_at IS NOT NULL"
            " ORDER BY next_attempt_at LIMIT 1",
            "recipient_due",
        ),
    ],
)
def test_the_questions_of_the_loops_go_by_partial_indexes(sqlite_store: Store, sql: str, index: str) -> None:
    plan = [row[3] for row in sqlite_store.rows(f"EXPLAIN QUERY PLAN {sql}")]
    assert f"USING INDEX {index}" in plan[0] or f"USING COVERING INDEX {index}" in plan[0]
    assert not any("TEMP B-TREE" in step for step in plan)


def test_the_claim_itself_goes_by_the_partial_index(sqlite_store: Store) -> None:
    queue, asked = make.queue(sqlite_store), list[str]()
    queue.enqueue([make.message(queue) for _ in range(100)]).result()
    # The statements as SQLite saw them, with their parameters in place.
    sqlite_store.writer.call(lambda tx: sqlite_store.database.connection().set_trace_callback(asked.append)).result()
    assert len(queue.claim(make.NOW, 100)) == 100
    sqlite_store.writer.call(lambda tx: sqlite_store.database.connection().set_trace_callback(None)).result()
    selects = [sql for sql in asked if sql.startswith("SELECT")]
    assert selects
    for sql in selects:
        plan = [row[3] for row in sqlite_store.rows(f"EXPLAIN QUERY PLAN {sql}")]
        assert plan == [
            "SEARCH r USING INDEX recipient_due (priority=? AND next_attempt_at<?)",
            "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)",
        ]
    updates = {sql.split(" SET ")[0]: sql for sql in asked if sql.startswith("UPDATE")}
    plan = [row[3] for row in sqlite_store.rows(f"EXPLAIN QUERY PLAN {updates['UPDATE recipient']}")]
    assert plan == ["SEARCH recipient USING INTEGER PRIMARY KEY (rowid=?)"]
