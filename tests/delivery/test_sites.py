"""One destination in memory: who is next, and how many lanes it may have."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sendry.config.values import RelayTls
from sendry.delivery.deliver import Done
from sendry.delivery.holding import Holding
from sendry.delivery.sites import Group, Site, SiteKey
from sendry.mail.outcome import connect_failure
from sendry.queue.work import Work
from tests.delivery.make import NOW, settings, work
from tests.delivery.office import Clock

NO = connect_failure("mx.test", "refused")


def site(most: int = 10) -> Site:
    return Site(SiteKey("example.test", RelayTls.OPPORTUNISTIC), most)


def group(priority: int = 0, **changes: Any) -> Group:
    return Group([work(priority=priority, **changes)], 1000.0)


def test_transactional_mail_is_taken_before_bulk_mail() -> None:
    one, bulk, urgent = site(), group(1), group(0)
    one.put(bulk)
    one.put(urgent)

    assert [one.take(), one.take(), one.take()] == [urgent, bulk, None]


def test_what_is_put_back_is_next() -> None:
    one, first, second = site(), group(), group()
    one.put(first)
    one.put_back(second)

    assert one.take() is second


def test_bulk_mail_and_the_newest_are_given_up_first() -> None:
    one, groups = site(), [group(0), group(1), group(0), group(1)]
    for item in groups:
        one.put(item)

    assert list(one.drop_newest(1)) == [groups[3], groups[1], groups[2]]


def test_one_lane_goes_first_and_more_follow_when_a_host_has_answered() -> None:
    one = site()
    for _ in range(9):
        one.put(group())
    lanes = []
    for _ in range(2):
        while one.wants_lane(0.0):
            one.lanes += 1
        lanes.append(one.lanes)
        one.note_session()
    one.note_delivery(1.0)
    while one.wants_lane(0.0):
        one.lanes += 1

    assert [*lanes, one.lanes] == [1, 5, 6]


def test_a_refused_connection_beside_others_lowers_the_lanes_and_deliveries_raise_them() -> None:
    one = site()
    one.note_session()
    one.connected = 3
    one.note_crowded()
    assert one.allowed == 3

    one.note_delivery(1.0)
    assert one.allowed == 4


def test_a_quick_site_needs_no_more_lanes_than_get_through_what_waits() -> None:
    one = site()
    one.note_session()
    for _ in range(50):
        one.note_delivery(0.002)
    for _ in range(25):
        one.put(group())
    while one.wants_lane(1000.0):
        one.lanes += 1
    lanes = one.lanes
    while one.wants_lane(1000.1):
        one.lanes += 1

    assert lanes == 3  # 25 messages of 2 ms each in 20 ms
    assert one.lanes == 10  # but they waited longer than that


def test_a_site_is_left_alone_longer_each_time() -> None:
    one = site()
    one.put(group())
    now, pauses = 100.0, []
    for _ in range(9):
        one.note_failure(now, now, NOW, NO)
        pauses.append(max(0.0, one.down_until - now))
        now = max(now, one.down_until) + 1

    assert pauses == [0.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    assert one.failing_since == NOW


def test_lanes_that_fail_together_count_once() -> None:
    one = site()
    for _ in range(5):
        one.note_failure(began=100.0, now=130.0, at=NOW, verdict=NO)

    assert one.failures == 1


def test_a_session_ends_the_failure() -> None:
    one = site()
    one.note_failure(100.0, 100.0, NOW, NO)
    one.note_failure(101.0, 101.0, NOW, NO)
    one.note_session()

    assert (one.failures, one.failing_since, one.is_open) == (0, None, True)


class Held:
    """A Holding, with what it gave back and what it ended."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock(NOW)
        self.released: list[tuple[int, datetime]] = []
        self.expired: list[Done] = []
        self.holding = Holding(
            settings(**changes),
            clock=self.clock,
            ticks=self.clock.ticks,
            chance=random.Random(1),
            release=self._release,
            expire=self.expired.extend,
        )

    def _release(self, works: Sequence[Work], until: datetime) -> None:
        self.released.append((len(works), until))

    def take_in(self, count: int, destination: str = "slow.test", **changes: Any) -> None:
        self.holding.take_in([work(f"r{n}@{destination}", **changes) for n in range(count)])

    def next_site(self) -> Site:
        found = self.holding.next_site()
        assert found is not None
        return found


def test_recipients_of_one_message_at_one_site_are_one_group() -> None:
    held = Held()
    held.take_in(3, "a.test", message_id=7)
    held.holding.take_in([work("x@a.test", message_id=7), work("x@b.test", message_id=7)])

    first, second = held.next_site(), held.next_site()

    assert ([len(g.works) for g in first.waiting], [len(g.works) for g in second.waiting]) == ([3, 1], [1])
    assert held.holding.held == 5


def test_sites_get_lanes_in_turns_and_transactional_mail_first() -> None:
    held = Held()
    held.take_in(2, "bulk.test", priority=1)
    held.take_in(2, "a.test")
    held.take_in(2, "b.test")
    names = []
    for _ in range(3):
        site = held.next_site()
        names.append(site.key.name)
        site.lanes += 1
        held.holding.look_at(site)

    assert names == ["a.test", "b.test", "bulk.test"]
    assert held.holding.next_site() is None


def test_a_full_memory_is_trimmed_only_of_sites_that_do_not_get_on() -> None:
    held = Held()
    held.take_in(1000)
    assert not held.holding.trim()

    held.clock.forward(seconds=3)
    assert held.holding.trim()
    assert held.holding.held == 200
    ((number, until),) = held.released
    assert number == 800
    assert timedelta(seconds=5) <= until - NOW - timedelta(seconds=3) <= timedelta(seconds=8)


def test_more_for_a_slow_site_goes_straight_back_and_stays_away_longer() -> None:
    held = Held()
    held.take_in(200)
    held.clock.forward(seconds=3)
    for _ in range(6):
        held.take_in(100)

    assert held.holding.held == 200
    assert [number for number, _ in held.released] == [100] * 6
    away = [until - held.clock() for _, until in held.released]
    assert away[0] < timedelta(seconds=8)
    assert timedelta(seconds=60) <= away[-1] <= timedelta(seconds=90)


def test_more_for_a_site_that_gets_on_slowly_comes_back_when_its_turn_is_near() -> None:
    held = Held()
    held.take_in(1)
    one = held.next_site()
    one.note_session()
    one.note_delivery(0.05)
    one.lanes = 10  # 200 a second: what is kept is through in one second, what is given back in four more
    held.take_in(999)
    held.clock.forward(seconds=3)
    held.holding.trim()

    away = [(number, (until - held.clock()).total_seconds()) for number, until in held.released]
    assert sum(number for number, _ in away) == 800
    assert (min(seconds for _, seconds in away), max(seconds for _, seconds in away)) == (1.0, 4.0)


def test_many_slow_sites_share_half_of_the_memory() -> None:
    held = Held()
    for n in range(10):
        held.take_in(100, f"slow{n}.test")
    held.clock.forward(seconds=3)
    held.holding.trim()

    assert held.holding.held == 500


def test_what_waited_too_long_goes_back_before_its_lease_runs_out() -> None:
    held = Held()
    held.take_in(5)
    held.clock.forward(seconds=121)
    held.holding.sweep()

    assert (held.holding.held, [number for number, _ in held.released]) == (0, [5])


def test_work_for_a_site_that_is_down_waits_in_the_queue() -> None:
    held = Held()
    held.take_in(1)
    one = held.next_site()
    one.note_failure(0.0, held.clock.ticks(), NOW, NO)
    one.note_failure(held.clock.ticks() + 1, held.clock.ticks() + 1, NOW, NO)
    held.take_in(10)

    assert held.holding.held == 0
    assert held.holding.next_site() is None
    assert all(timedelta(seconds=30) <= until - NOW <= timedelta(seconds=40) for _, until in held.released)


def test_work_that_waited_as_long_as_all_attempts_expires() -> None:
    held = Held()
    held.take_in(1, created_at=NOW - timedelta(days=3))
    one = held.next_site()
    for _ in range(2):
        one.note_failure(held.clock.ticks(), held.clock.ticks(), NOW - timedelta(days=2), NO)
        held.clock.forward(seconds=1)
    held.take_in(2)

    assert len(held.expired) == 1
    assert held.expired[0].result.outcome == "failed"
    assert "refused" in held.expired[0].verdict.text
    assert sum(number for number, _ in held.released) == 2
