"""After a crash: nothing is stuck, nothing is lost, and what may have arrived is marked."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from sendry.queue.claim import LEASE
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import EventKind
from sendry.store.database import Store
from sendry.store.ids import to_text
from tests import make

AFTER = make.NOW + LEASE + timedelta(seconds=1)


def test_a_lease_that_has_not_run_out_is_left_alone(queue: Queue, other_queue: Queue) -> None:
    make.enqueued(queue)
    queue.claim(make.NOW, 1)
    assert other_queue.recover(make.NOW + LEASE - timedelta(seconds=1)) == 0
    assert other_queue.claim(AFTER, 1) == []


def test_what_a_run_out_lease_held_is_due_again_at_once(queue: Queue, other_queue: Queue, lookup: Lookup) -> None:
    make.enqueued(queue, "a@example.org", "b@example.org")
    queue.claim(make.NOW, 2)
    assert other_queue.recover(AFTER) == 2
    assert [work.attempts for work in other_queue.claim(AFTER, 10)] == [0, 0]
    counts = lookup.counts()
    assert (counts.sending, counts.pending, counts.deferred) == (2, 0, 0)


def test_what_a_dead_node_held_is_taken_back_before_its_lease_runs_out(queue: Queue, other_queue: Queue) -> None:
    make.enqueued(queue)
    queue.claim(make.NOW, 1)
    assert other_queue.recover(make.NOW, dead_nodes=[3]) == 0
    assert other_queue.recover(make.NOW, dead_nodes=[1, 3]) == 1
    assert len(other_queue.claim(make.NOW, 1)) == 1


def test_what_was_tried_before_is_deferred_again(queue: Queue, lookup: Lookup) -> None:
    message = make.enqueued(queue)
    make.settled(queue, queue.claim(make.NOW, 1), "deferred")
    queue.claim(make.LATER, 1)
    queue.recover(make.LATER, dead_nodes=[1])
    view = lookup.message(to_text(message.id))
    assert view is not None
    assert (view.message.status, view.recipients[0].status, view.recipients[0].attempts) == (
        "deferred", "deferred", 1,
    )  # fmt: skip


def test_recovering_wakes_whoever_delivers(queue: Queue) -> None:
    woken: list[str] = []
    queue.on_work.append(lambda: woken.append("woken"))
    make.enqueued(queue)
    queue.claim(make.NOW, 1)
    woken.clear()
    queue.recover(make.NOW)
    assert woken == []
    queue.recover(make.NOW, dead_nodes=[1])
    assert woken == ["woken"]


def test_recovering_where_there_is_nothing_costs_no_commit(queue: Queue) -> None:
    make.enqueued(queue)
    commits = queue.store.writer.commits
    assert queue.recover(AFTER, dead_nodes=[1, 2, 3]) == 0
    assert queue.store.writer.commits == commits


def test_what_was_in_flight_may_have_arrived_and_is_marked(queue: Queue, lookup: Lookup) -> None:
    message = make.enqueued(queue, "sent@example.org", "claimed@example.org")
    work = {item.address: item for item in queue.claim(make.NOW, 2)}
    queue.note_in_flight([work["sent@example.org"].recipient_id])
    reborn = make.queue(queue.store)
    assert reborn.recover(make.NOW, dead_nodes=[1]) == 2
    view = lookup.message(to_text(message.id))
    assert view is not None
    sent, claimed = view.recipients
    assert (sent.status, sent.attempts, sent.is_possible_duplicate) == ("deferred", 1, True)
    assert (claimed.status, claimed.attempts, claimed.is_possible_duplicate) == ("pending", 0, False)
    assert sent.last_response == "Sendry stopped before the reply to the message came"
    (attempt,) = view.attempts
    assert (attempt.outcome, attempt.recipient_number, attempt.code) == ("unknown", sent.number, 0)
    event = view.events[-1]
    assert (event.kind, event.detail, event.attempt) == (EventKind.DEFERRED, {"outcome": "unknown"}, attempt)
    assert lookup.totals()["deferred"] == 1
    assert ("deferred", 1) in [(kind, value) for _, kind, value in lookup.tallies(make.NOW, make.LATER)]
    again = {item.address: item.is_possible_duplicate for item in reborn.claim(make.NOW, 2)}
    assert again == {"sent@example.org": True, "claimed@example.org": False}


def test_notes_of_other_nodes_that_died_with_it_count_too(queue: Queue, other_queue: Queue, lookup: Lookup) -> None:
    make.enqueued(queue, "one@example.org", "two@example.org")
    for line in (queue, other_queue):
        line.note_in_flight([work.recipient_id for work in line.claim(make.NOW, 1)])
    third = make.queue(queue.store, node=3)
    assert third.recover(make.NOW, dead_nodes=[1, 2]) == 2
    assert queue.store.rows("SELECT is_possible_duplicate FROM recipient") == [(True,)] * 2


def test_a_lease_that_runs_out_while_its_node_lives_marks_what_it_had_in_flight(queue: Queue) -> None:
    make.enqueued(queue)
    queue.note_in_flight([work.recipient_id for work in queue.claim(make.NOW, 1)])
    assert queue.recover(AFTER) == 1
    assert queue.store.rows("SELECT is_possible_duplicate FROM recipient") == [(True,)]


_DIE = """
import os, signal, sys
from pathlib import Path
from sendry.store.database import open_store
from tests import make

place, folder = sys.argv[1:]
store = open_store(Path(place) if place.startswith("/") else place, Path(folder))
queue = make.queue(store)
queue.enqueue([make.message(queue, f"{n}@example.org") for n in range(30)]).result()
work = queue.claim(make.NOW, 20)
queue.note_in_flight([item.recipient_id for item in work[:10]])
queue.note_delivered([item.recipient_id for item in work[:7]])
print(*make.settled(queue, work[:5]), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_midst_of_it_all_loses_nothing(
    store: Store, location: Path | str, tmp_path: Path, lookup: Lookup
) -> None:
    arguments = [sys.executable, "-c", _DIE, str(location), str(tmp_path / "spool")]
    root = Path(make.__file__).parents[1]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=root)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-9, "\n", "")
    reborn = make.queue(store)
    assert len(reborn.in_flight.left_over) == 5
    assert reborn.recover(make.NOW, dead_nodes=[1]) == 15
    reborn.in_flight.forget_left_over()
    counts = lookup.counts()
    assert (counts.delivered, counts.deferred, counts.pending, counts.sending) == (7, 3, 20, 0)
    again = reborn.claim(make.NOW, 100)
    assert sum(work.is_possible_duplicate for work in again) == 3
    assert len(again) == 23


def test_what_was_delivered_but_not_written_down_is_not_tried_again(queue: Queue, lookup: Lookup) -> None:
    message = make.enqueued(queue)
    work = queue.claim(make.NOW, 10)
    queue.note_in_flight([item.recipient_id for item in work])
    queue.note_delivered([item.recipient_id for item in work])
    assert queue.recover(AFTER) == len(work)
    assert queue.claim(AFTER, 10) == []
    view = lookup.message(to_text(message.id))
    assert view is not None
    assert view.message.status == "delivered"
    assert [(a.outcome, a.code) for a in view.attempts] == [("delivered", 250)]
    assert [e.kind for e in view.events] == [EventKind.ACCEPTED, EventKind.DELIVERED]


@pytest.mark.parametrize("status", ["delivered", "failed", "cancelled", "suppressed"])
def test_what_has_ended_is_never_recovered(queue: Queue, status: str) -> None:
    make.enqueued(queue)
    queue.store.writer.call(
        lambda tx: tx.change("UPDATE recipient SET status = ?, next_attempt_at = NULL", (status,))
    ).result()
    assert queue.recover(AFTER, dead_nodes=[1]) == 0
    assert queue.claim(AFTER, 10) == []
