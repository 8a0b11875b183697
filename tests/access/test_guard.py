"""The guard against guessing: blocks by address and by name, over restarts, and forgets in time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from sendry.access.guard import Guard
from sendry.config import Config, loads
from sendry.store.database import Store

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def config(toml: str = "") -> Config:
    return loads(f'[smtp]\nlisten_addr = "127.0.0.1:0"\n{toml}')


def settle(guard: Guard, store: Store) -> None:
    """Wait until all that was noted is on disk."""
    store.writer.call(lambda tx: None).result()


def fail(guard: Guard, times: int, ip: str = "192.0.2.1", name: str = "alice", start: float = 0) -> None:
    for second in range(times):
        guard.failed(ip, name, at(start + second))


@pytest.fixture
def guard(sqlite_store: Store) -> Guard:
    """Blocks for 15 minutes after 5 failures within 5."""
    return Guard(config(), sqlite_store)


class TestBlocking:
    def test_begins_at_the_fifth_failure(self, guard: Guard) -> None:
        fail(guard, 4)
        assert guard.is_blocked("192.0.2.1", "alice", at(4)) is None
        guard.failed("192.0.2.1", "alice", at(4))
        assert guard.is_blocked("192.0.2.1", "", at(5)) == at(4 + 900)

    def test_is_by_address_whatever_the_name(self, guard: Guard) -> None:
        for number in range(5):
            guard.failed("192.0.2.1", f"name{number}", NOW)
        assert guard.is_blocked("192.0.2.1", "somebody", at(1))
        assert guard.is_blocked("192.0.2.2", "somebody", at(1)) is None
        assert guard.is_blocked("", "name1", at(1)) is None

    def test_is_by_name_whatever_the_address(self, guard: Guard) -> None:
        for number in range(5):
            guard.failed(f"192.0.2.{number}", "Alice", NOW)
        assert guard.is_blocked("198.51.100.1", "alice", at(1))
        assert guard.is_blocked("192.0.2.1", "bob", at(1)) is None

    def test_ends_when_its_time_is_over(self, guard: Guard) -> None:
        fail(guard, 5)
        assert guard.is_blocked("192.0.2.1", "", at(903))
        assert guard.is_blocked("192.0.2.1", "", at(905)) is None

    def test_ended_takes_as_many_failures_again(self, guard: Guard) -> None:
        fail(guard, 5)
        fail(guard, 4, start=1000)
        assert guard.is_blocked("192.0.2.1", "alice", at(1004)) is None
        guard.failed("192.0.2.1", "alice", at(1005))
        assert guard.is_blocked("192.0.2.1", "alice", at(1006))

    def test_counts_only_what_falls_into_one_window(self, guard: Guard) -> None:
        fail(guard, 4)
        fail(guard, 4, start=301)
        assert guard.is_blocked("192.0.2.1", "alice", at(305)) is None

    def test_begins_anew_after_a_success(self, guard: Guard) -> None:
        fail(guard, 4)
        guard.succeeded("192.0.2.1", "alice")
        fail(guard, 4, start=4)
        assert guard.is_blocked("192.0.2.1", "alice", at(8)) is None

    def test_takes_a_customers_ipv6_network_as_one(self, guard: Guard) -> None:
        for number in range(5):
            guard.failed(f"2001:db8:1:2::{number}", f"name{number}", NOW)
        assert guard.is_blocked("2001:db8:1:2:ffff::1", "", at(1))
        assert guard.is_blocked("2001:db8:1:3::1", "", at(1)) is None

    def test_takes_mapped_ipv4_for_what_it_is(self, guard: Guard) -> None:
        fail(guard, 5, ip="::ffff:192.0.2.1")
        assert guard.is_blocked("192.0.2.1", "", at(5))

    def test_may_be_switched_off(self, sqlite_store: Store) -> None:
        guard = Guard(config("auth.max_failures = 0\n"), sqlite_store)
        fail(guard, 50)
        assert guard.is_blocked("192.0.2.1", "alice", at(50)) is None

    def test_counts_every_failure_of_many_threads(self, sqlite_store: Store) -> None:
        guard = Guard(config("auth.max_failures = 80\n"), sqlite_store)
        threads = [threading.Thread(target=fail, args=(guard, 10)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert guard.is_blocked("192.0.2.1", "", at(10))


class TestKeeping:
    def test_outlasts_a_restart(self, store: Store) -> None:
        guard = Guard(config(), store)
        fail(guard, 5)
        fail(guard, 4, ip="192.0.2.9", name="bob")
        settle(guard, store)
        again = Guard(config(), store)
        again.load(at(10))
        assert again.is_blocked("192.0.2.1", "", at(10)) == at(904)
        again.failed("192.0.2.9", "carol", at(10))
        assert again.is_blocked("192.0.2.9", "", at(11))

    def test_is_learned_from_another_process(self, store: Store) -> None:
        here, there = Guard(config(), store), Guard(config(), store)
        fail(here, 3)
        fail(there, 5)
        settle(there, store)
        here.load(at(6))
        assert here.is_blocked("192.0.2.1", "", at(6)) == at(904)

    def test_learned_anew_forgets_nothing(self, store: Store) -> None:
        guard = Guard(config(), store)
        fail(guard, 4)
        guard.load(at(4))
        guard.failed("192.0.2.1", "alice", at(4))
        assert guard.is_blocked("192.0.2.1", "", at(5))

    def test_forgets_on_disk_what_has_run_out(self, store: Store) -> None:
        guard = Guard(config(), store)
        fail(guard, 5)
        guard.failed("198.51.100.1", "bob", at(10_000))
        settle(guard, store)
        again = Guard(config(), store)
        again.load(at(10_001))
        settle(again, store)
        assert store.rows("SELECT subject FROM auth_failure ORDER BY subject") == [
            ("ip:198.51.100.1",),
            ("name:bob",),
        ]

    def test_forgets_on_disk_who_got_in(self, store: Store) -> None:
        guard = Guard(config(), store)
        fail(guard, 2)
        guard.succeeded("192.0.2.1", "alice")
        settle(guard, store)
        assert store.rows("SELECT subject FROM auth_failure") == []

    def test_writes_nothing_for_a_success_without_failures(self, guard: Guard) -> None:
        assert guard.succeeded("192.0.2.1", "alice") is None

    def test_stays_bounded_however_many_names_are_tried(self, sqlite_store: Store) -> None:
        guard = Guard(config(), sqlite_store)
        fail(guard, 5, ip="192.0.2.1", name="")
        for number in range(25_000):
            guard.failed("", f"name{number}", at(10 + number / 1000))
        assert len(guard._records) <= 20_000
        settle(guard, sqlite_store)
        ((rows,),) = sqlite_store.rows("SELECT COUNT(*) FROM auth_failure")
        assert rows == len(guard._records)

    @pytest.mark.parametrize("name", ["x" * 100_000, "nul\0byte", "\ud800", "имя'; DROP TABLE auth_failure"])
    def test_keeps_names_of_any_kind(self, store: Store, name: str) -> None:
        guard = Guard(config(), store)
        fail(guard, 5, ip="", name=name)
        settle(guard, store)
        again = Guard(config(), store)
        again.load(at(6))
        assert again.is_blocked("", name, at(6))
        ((longest,),) = store.rows("SELECT MAX(LENGTH(subject)) FROM auth_failure")
        assert longest < 300
