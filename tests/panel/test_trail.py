from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask, g

from sendry.panel import trail
from sendry.queue.lookup import Lookup
from sendry.queue.states import Route
from sendry.queue.views import MessageView
from sendry.queue.work import Result
from sendry.store.database import Store
from sendry.store.ids import to_text
from tests import make

NOW = make.NOW


@pytest.fixture
def app() -> Flask:
    return Flask("trail")


class Line:
    """A queue whose clock the test turns."""

    def __init__(self, store: Store) -> None:
        self.queue = make.queue(store)
        self.lookup = Lookup(store)
        self.now = NOW

    def enqueue(self, *to: str, route: Route = Route.MX) -> str:
        return to_text(make.enqueued(self.queue, *to, route=route).id)

    def turn(self, outcome: str, minutes: int = 0, **changes: object) -> None:
        self.now += timedelta(minutes=minutes)
        results = []
        for work in self.queue.claim(self.now, 10):
            fits = {"delivered": 250, "deferred": 451, "failed": 550, "unknown": 0}[outcome]
            tried = make.tried(fits, f"{outcome} then", started_at=self.now, tls="TLSv1.3", **changes)
            due = self.now + timedelta(minutes=30) if outcome in ("deferred", "unknown") else None
            results.append(Result(work, outcome, (tried,), due))
        assert results
        self.queue.settle(results, self.now).result()


@pytest.fixture
def line(sqlite_store: Store) -> Line:
    return Line(sqlite_store)


def legs(app: Flask, line: Line, message_id: str, most: int = 40) -> list[trail.Leg]:
    with app.test_request_context():
        g.now = line.now
        view = line.lookup.message(message_id)
        assert view is not None
        return trail.legs(view, most)


def view_of(line: Line, message_id: str) -> MessageView:
    view = line.lookup.message(message_id)
    assert view is not None
    return view


def test_a_trail_goes_from_acceptance_over_every_try_to_the_next_one(app: Flask, line: Line) -> None:
    made = line.enqueue("boris@example.org")
    line.turn("deferred", bounce_class="greylist")
    line.turn("deferred", 30, bounce_class="rate")
    (leg,) = legs(app, line, made)
    assert [(step.what, step.sense, step.code) for step in leg.steps] == [
        ("Accepted", "from SMTP: app", ""),
        ("Deferred", "greylisted", "451 4.2.0"),
        ("Deferred", "too much at a time", "451 4.2.0"),
        ("Try 3 of 40", "", ""),
    ]
    assert leg.steps[1].host == "mx.example.org, 192.0.2.25"
    assert leg.steps[1].reply == "deferred then"
    assert leg.steps[-1].due == "in 30 min"
    assert (leg.state, leg.end, leg.is_open) == ("deferred", "next try in 30 min", True)


def test_who_is_not_delivered_comes_first(app: Flask, line: Line) -> None:
    made = line.enqueue("a@example.org", "b@example.org", "c@example.org")
    work = {item.address: item for item in line.queue.claim(NOW, 10)}
    line.queue.settle(
        [
            make.result(work["a@example.org"]),
            make.result(work["b@example.org"], "failed"),
            make.result(work["c@example.org"], "deferred"),
        ],
        NOW,
    ).result()
    found = legs(app, line, made)
    assert [(leg.address, leg.state) for leg in found] == [
        ("b@example.org", "failed"),
        ("c@example.org", "deferred"),
        ("a@example.org", "delivered"),
    ]


def test_delivered_legs_of_a_long_list_are_folded(app: Flask, line: Line) -> None:
    made = line.enqueue(*(f"{name}@example.org" for name in "abcd"))
    line.turn("delivered")
    assert [leg.is_open for leg in legs(app, line, made)] == [False] * 4


def test_an_open_outcome_says_that_the_mail_may_arrive_twice(app: Flask, line: Line) -> None:
    made = line.enqueue("boris@example.org")
    line.turn("unknown")
    (leg,) = legs(app, line, made)
    assert leg.steps[1].what == "Outcome unknown"
    assert "may have arrived" in leg.steps[1].sense
    assert "may arrive twice" in leg.steps[-1].sense


@pytest.mark.parametrize(
    ("tls", "verified", "words", "is_secure"),
    [
        ("TLSv1.3", "web-pki", "TLS 1.3, verified", True),
        ("TLSv1.2", "unverified", "TLS 1.2, certificate not verified", True),
        ("", "", "clear text", False),
    ],
)
def test_how_the_line_was_secured_is_told(
    app: Flask, line: Line, tls: str, verified: str, words: str, is_secure: bool
) -> None:
    made = line.enqueue("boris@example.org")
    work = line.queue.claim(NOW, 10)
    tried = make.tried(250, "OK", tls=tls, tls_verified=verified)
    line.queue.settle([Result(work[0], "delivered", (tried,))], NOW).result()
    (leg,) = legs(app, line, made)
    assert (leg.steps[1].tls, leg.steps[1].is_secure) == (words, is_secure)
    assert leg.end == "in 0.1 s"


def test_nothing_is_said_of_tls_where_nobody_answered(app: Flask, line: Line) -> None:
    made = line.enqueue("boris@example.org")
    work = line.queue.claim(NOW, 10)
    silent = make.tried(0, "Connect timed out after 30 s")
    line.queue.settle([make.result(work[0], "deferred", tried=(silent,))], NOW).result()
    assert legs(app, line, made)[0].steps[1].tls == ""


def test_acts_of_people_stand_in_the_trail(app: Flask, line: Line) -> None:
    made = line.enqueue("boris@example.org")
    line.turn("failed", bounce_class="hard-address")
    number = view_of(line, made).message.number
    line.now += timedelta(minutes=1)
    assert line.queue.retry(number, line.now).result() == 1
    line.now += timedelta(minutes=1)
    assert line.queue.cancel(number, line.now).result() == 1
    (leg,) = legs(app, line, made)
    assert [step.what for step in leg.steps] == ["Accepted", "Failed", "Retry", "Cancelled"]
    assert leg.steps[1].sense == "no such mailbox"


def test_quarantine_tells_its_reason(app: Flask, line: Line) -> None:
    made = line.enqueue("boris@example.org")
    for turn in range(3):
        work = line.queue.claim(NOW + timedelta(hours=turn), 10)
        line.queue.crashed(work[0], "KeyError: 'x'", NOW + timedelta(hours=turn)).result()
    (leg,) = legs(app, line, made)
    assert (leg.steps[-1].what, leg.steps[-1].reply) == ("Quarantined", "KeyError: 'x'")


def test_what_can_be_done_is_counted(line: Line) -> None:
    made = line.enqueue("a@example.org", "b@example.org", "c@example.org")
    work = {item.address: item for item in line.queue.claim(NOW, 10)}
    line.queue.settle(
        [
            make.result(work["a@example.org"]),
            make.result(work["b@example.org"], "failed"),
            make.result(work["c@example.org"], "deferred"),
        ],
        NOW,
    ).result()
    recipients = view_of(line, made).recipients
    assert (trail.can_retry(recipients), trail.can_cancel(recipients)) == (2, 1)


def test_the_headline_counts_who_is_in_the_state_of_the_message(app: Flask, line: Line) -> None:
    made = line.enqueue("a@example.org", "b@example.org")
    with app.test_request_context():
        assert trail.headline(view_of(line, made)) == ("pending", "Pending")
    work = line.queue.claim(NOW, 10)
    line.queue.settle([make.result(work[0]), make.result(work[1], "deferred")], NOW).result()
    with app.test_request_context():
        assert trail.headline(view_of(line, made)) == ("deferred", "1 of 2 deferred")


def test_the_history_names_recipients_and_replies(app: Flask, line: Line) -> None:
    made = line.enqueue("boris@example.org")
    line.turn("delivered")
    with app.test_request_context():
        found = trail.history(view_of(line, made))
    assert [(event.what, event.address, event.detail) for event in found] == [
        ("Accepted", "", ""),
        ("Delivered", "boris@example.org", "250 2.0.0 delivered then"),
    ]
