"""Whatever is done to the line in whatever order: counters equal a real count, statuses follow from recipients."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from sendry.queue import captures, retention
from sendry.queue.states import Route, Status, of_message
from sendry.queue.work import NewCapture, NewRecipient, Work
from sendry.store.database import Store
from tests import make

ROUTES = (Route.MX, Route.MX, Route.CAPTURE, Route.REDIRECT)
OUTCOMES = ("delivered", "deferred", "failed", "unknown")
TABLES = ("recipient", "content", "event", "attempt", "message_tag", "capture", "dead_letter")


class Walk:
    """Two nodes over one database, and people who change things meanwhile. Each act is one step."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.dice = random.Random(seed)
        self.queues = {node: make.queue(store, node) for node in (1, 2)}
        self.now = make.NOW
        self.held: dict[int, list[Work]] = {1: [], 2: []}
        self.messages: list[int] = []
        self.acts = {
            self.enqueue: 6, self.claim: 6, self.settle: 8, self.release: 2, self.crash: 2, self.die: 1, self.wait: 3,
            self.change: 5, self.tidy: 3, self.clean_up: 1,
        }  # fmt: skip

    def step(self) -> str:
        (act,) = self.dice.choices(list(self.acts), list(self.acts.values()))
        act()
        return act.__name__

    def some_messages(self, most: int) -> list[int]:
        recent = self.messages[-12:]
        return self.dice.sample(recent, min(len(recent), self.dice.randint(1, most)))

    def taken(self) -> tuple[int, list[Work]]:
        node = self.dice.choice([1, 2])
        most = self.dice.randint(1, 4)
        work, self.held[node] = self.held[node][:most], self.held[node][most:]
        return node, work

    def enqueue(self) -> None:
        routes = self.dice.choices(ROUTES, k=self.dice.randint(1, 4))
        made = make.enqueued(
            self.queues[1],
            recipients=tuple(NewRecipient(f"{n}@example.org", "example.org", r) for n, r in enumerate(routes)),
            capture=None if set(routes) == {Route.MX} else NewCapture(("0@example.org",)),
            priority=self.dice.randint(0, 1),
            tags=("x",) * self.dice.randint(0, 1),
            now=self.now,
            id=make.id_at(self.now),
        )
        self.messages.append(made.id)

    def claim(self) -> None:
        node = self.dice.choice([1, 2])
        self.held[node] += self.queues[node].claim(self.now, self.dice.randint(1, 6))

    def settle(self) -> None:
        node, work = self.taken()
        results = []
        for item in work:
            outcome, changes = self.dice.choice(OUTCOMES), dict[str, Any]()
            if outcome in ("deferred", "unknown"):
                changes["next_attempt_at"] = self.now + timedelta(minutes=10)
            if outcome == "deferred" and self.dice.random() < 0.5:
                changes |= {"tried": (), "counts": False}
            results.append(make.result(item, outcome, **changes))
        self.queues[node].settle(results, self.now).result()

    def release(self) -> None:
        node, work = self.taken()
        self.queues[node].release(work, self.now, self.now).result()

    def crash(self) -> None:
        node, work = self.taken()
        for item in work:
            self.queues[node].crashed(item, "boom", self.now).result()

    def die(self) -> None:
        """One node dies with what it holds, and the other one takes that back."""
        node = self.dice.choice([1, 2])
        if self.dice.random() < 0.5:
            self.queues[node].note_in_flight([item.recipient_id for item in self.held[node]])
        self.queues[3 - node].recover(self.now, dead_nodes=[node])

    def wait(self) -> None:
        self.now += timedelta(minutes=self.dice.choice([1, 15, 15, 60]))
        self.queues[1].recover(self.now)

    def change(self) -> None:
        for number in self.some_messages(2):
            act = self.dice.choice(["cancel", "retry", "retry_dead", "delete"])
            if act == "delete":
                self.queues[2].delete(number).result()
            else:
                getattr(self.queues[2], act)(number, self.now).result()

    def tidy(self) -> None:
        numbers = self.some_messages(6)
        match self.dice.randint(0, 5):
            case 0 | 1 | 2 as act:
                captures.mark_read(self.store, numbers, is_read=act != 2).result()
            case 3:
                captures.delete(self.store, numbers).result()
            case 4:
                self.queues[1].forget_dead(self.dice.choice([numbers, None])).result()
            case _:
                captures.clear(self.store, "").result()

    def clean_up(self) -> None:
        age, most = timedelta(hours=self.dice.randint(0, 4)), self.dice.randint(0, 4)
        retention.drop_delivered(self.store, self.now, age)
        retention.drop_captured(self.store, self.now, age, most)
        retention.drop_dead_letters(self.store, self.now, age, most)


def assert_counters_equal_a_real_count(store: Store) -> None:
    counters: dict[str, int] = dict(store.rows("SELECT name, value FROM counter"))
    counted: dict[str, int] = dict(store.rows("SELECT status, COUNT(*) FROM recipient GROUP BY status"))
    assert {s: counters.get(f"queue.{s}", 0) for s in Status} == {s: counted.get(s.value, 0) for s in Status}
    marks = [bool(is_read) for (is_read,) in store.rows("SELECT is_read FROM capture")]
    assert (counters.get("capture.total", 0), counters.get("capture.unread", 0)) == (len(marks), marks.count(False))
    assert [(counters.get("dead.total", 0),)] == store.rows("SELECT COUNT(*) FROM dead_letter")
    totals = {name: value for name, value in counters.items() if name.startswith("total.") and value}
    # Refusals of the other side: a part of the failures, without an hourly sum of its own.
    assert totals.pop("total.bounced", 0) <= totals.get("total.failed", 0)
    hourly = store.rows("SELECT kind, SUM(value) FROM tally WHERE value <> 0 GROUP BY kind")
    assert totals == {f"total.{kind}": value for kind, value in hourly}


def assert_statuses_follow_from_recipients(store: Store) -> None:
    of: dict[int, tuple[str, list[str]]] = {}
    for number, status, of_recipient in store.rows(
        "SELECT m.id, m.status, r.status FROM message m LEFT JOIN recipient r ON r.message_id = m.id"
    ):
        of.setdefault(number, (status, []))[1].append(of_recipient)
    for status, recipients in of.values():
        if Status.SENDING not in recipients:  # a claim does not touch the message row
            assert status == of_message(recipients)


def assert_nothing_is_left_of_what_was_deleted(store: Store) -> None:
    orphans = {
        table: store.rows(f"SELECT 1 FROM {table} WHERE message_id NOT IN (SELECT id FROM message)")
        for table in TABLES
    }
    assert orphans == {table: [] for table in TABLES}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counters_are_right_whatever_is_done(store: Store, seed: int) -> None:
    walk = Walk(store, seed)
    done = ["began"]
    for _ in range(200):
        done.append(walk.step())
        try:
            assert_counters_equal_a_real_count(store)
            assert_statuses_follow_from_recipients(store)
            assert_nothing_is_left_of_what_was_deleted(store)
        except AssertionError:
            print("after", *done[-8:])
            raise
    assert set(done[1:]) >= {act.__name__ for act in walk.acts} - {"die", "clean_up"}
