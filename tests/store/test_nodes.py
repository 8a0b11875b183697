"""Node numbers: one process each, taken over only from the dead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from sendry.store import nodes
from sendry.store.database import Store, open_store
from sendry.store.ids import MAX_NODE

NOW = datetime(2026, 3, 18, 14, 32, tzinfo=UTC)
HERE = socket.gethostname()


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def enter(store: Store, number: int, host: str = HERE, pid: int = 0, seen_at: datetime = NOW) -> None:
    """Put a process into the table as if it had joined."""
    store.writer.call(
        lambda tx: tx.change(
            "INSERT INTO node (id, host, pid, roles, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?)",
            (number, host, pid or os.getpid(), "all", ms(seen_at), ms(seen_at)),
        )
    ).result()


def entered(store: Store) -> list[tuple[int, str, int]]:
    return store.rows("SELECT id, host, pid FROM node ORDER BY id")


@contextmanager
def living_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


class TestJoining:
    def test_takes_the_first_free_number(self, store: Store) -> None:
        lease = nodes.join(store, "web,smtp", NOW)
        assert (lease.number, lease.dead) == (0, ())
        assert store.rows("SELECT id, host, pid, roles, seen_at FROM node") == [
            (0, HERE, os.getpid(), "web,smtp", ms(NOW))
        ]

    def test_leaves_the_number_of_a_living_process_alone(self, store: Store) -> None:
        with living_process() as pid:
            enter(store, 0, pid=pid)
            assert nodes.join(store, "all", NOW).number == 1

    def test_leaves_the_number_of_a_process_on_another_machine_alone(self, store: Store, dead_pid: int) -> None:
        enter(store, 0, host="elsewhere", pid=dead_pid)
        assert nodes.join(store, "all", NOW).number == 1

    def test_takes_over_the_number_of_a_dead_process_of_this_machine(self, store: Store, dead_pid: int) -> None:
        enter(store, 7, pid=dead_pid)
        lease = nodes.join(store, "all", NOW)
        assert (lease.number, lease.dead) == (7, (7,))
        assert entered(store) == [(7, HERE, os.getpid())]

    def test_takes_over_its_own_number_when_a_container_gives_it_the_same_pid_again(self, store: Store) -> None:
        enter(store, 3, pid=os.getpid())
        assert nodes.join(store, "all", NOW).dead == (3,)

    def test_knows_who_was_silent_for_dead_wherever_he_ran(self, store: Store) -> None:
        enter(store, 0, host="elsewhere", seen_at=NOW - nodes.SILENT_AFTER - timedelta(seconds=1))
        enter(store, 1, host="elsewhere", seen_at=NOW - nodes.SILENT_AFTER + timedelta(seconds=1))
        lease = nodes.join(store, "all", NOW)
        assert (lease.number, lease.dead) == (0, (0,))
        assert [number for number, _, _ in entered(store)] == [0, 1]

    def test_prefers_an_earlier_life_of_this_machine_to_those_of_others(self, store: Store, dead_pid: int) -> None:
        enter(store, 0, host="elsewhere", seen_at=NOW - timedelta(hours=1))
        enter(store, 5, pid=dead_pid)
        enter(store, 6, pid=dead_pid)
        lease = nodes.join(store, "all", NOW)
        assert (lease.number, sorted(lease.dead)) == (5, [0, 5, 6])

    def test_says_so_when_all_numbers_are_taken(self, store: Store) -> None:
        store.writer.call(
            lambda tx: tx.change_many(
                "INSERT INTO node (id, host, pid, roles, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?)",
                [(number, "elsewhere", 1, "", ms(NOW), ms(NOW)) for number in range(MAX_NODE + 1)],
            )
        ).result()
        with pytest.raises(RuntimeError, match="1,024 processes"):
            nodes.join(store, "all", NOW)

    def test_goes_on_after_the_greatest_id_that_was_ever_given(self, store: Store) -> None:
        far = (1 << 62) + 12345
        store.writer.call(
            lambda tx: tx.change(
                "INSERT INTO event (id, message_id, kind, at, detail) VALUES (?, 1, 'accepted', 0, '')", (far,)
            )
        ).result()
        assert nodes.join(store, "all", NOW).ids.next() > far

    @pytest.mark.postgres
    def test_waits_for_another_process_that_joins_at_the_same_time(self, postgres_url: str, tmp_path: Path) -> None:
        store = open_store(postgres_url, tmp_path / "spool")
        numbers: list[int] = []
        joining = threading.Thread(target=lambda: numbers.append(nodes.join(store, "all", NOW).number))
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE node IN SHARE ROW EXCLUSIVE MODE")
            other.execute("INSERT INTO node VALUES (0, 'elsewhere', 1, '', %s, %s)", (ms(NOW), ms(NOW)))
            joining.start()
            # It waits for the lock; were there none, it would wait for the row of the number that it chose.
            while not store.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                assert joining.is_alive()
        joining.join()
        assert numbers == [1]
        store.close()


class TestShowing:
    def test_keeps_a_node_from_being_thought_dead(self, store: Store) -> None:
        lease = nodes.join(store, "all", NOW)
        later = NOW + timedelta(minutes=5)
        assert nodes.show(store, lease.number, later) == ()
        assert store.rows("SELECT seen_at FROM node") == [(ms(later),)]

    def test_tells_who_else_is_gone(self, store: Store, dead_pid: int) -> None:
        lease = nodes.join(store, "all", NOW)
        enter(store, 8, pid=dead_pid)
        enter(store, 9, host="elsewhere", seen_at=NOW - timedelta(hours=1))
        enter(store, 10, host="elsewhere")
        assert sorted(nodes.show(store, lease.number, NOW)) == [8, 9]

    def test_enters_a_node_again_that_was_thought_dead_and_whose_number_is_free(self, store: Store) -> None:
        lease = nodes.join(store, "all", NOW)
        store.writer.call(lambda tx: tx.change("DELETE FROM node")).result()
        nodes.show(store, lease.number, NOW)
        assert entered(store) == [(lease.number, HERE, os.getpid())]

    def test_stops_a_node_whose_number_another_process_has_now(self, store: Store) -> None:
        lease = nodes.join(store, "all", NOW)
        store.writer.call(lambda tx: tx.change("DELETE FROM node")).result()
        enter(store, lease.number, host="elsewhere")
        with pytest.raises(nodes.NumberLost, match="number 0 belongs to another process"):
            nodes.show(store, lease.number, NOW)
        nodes.leave(store, lease.number)
        assert entered(store) == [(lease.number, "elsewhere", os.getpid())]

    def test_leaving_gives_the_number_back(self, store: Store) -> None:
        lease = nodes.join(store, "all", NOW)
        nodes.leave(store, lease.number)
        assert entered(store) == []


class TestRemembering:
    def test_keeps_what_was_made_first(self, store: Store) -> None:
        assert nodes.remembered(store, "key", "first") == "first"
        assert nodes.remembered(store, "key", "second") == "first"
        assert nodes.remembered(store, "other", "second") == "second"

    def test_gives_the_same_to_all_who_ask_at_once(self, store: Store, location: Path | str, tmp_path: Path) -> None:
        stores = [store, *(open_store(location, tmp_path / "spool") for _ in range(3))]
        answers: list[str] = []
        barrier = threading.Barrier(len(stores))

        def ask(number: int) -> None:
            barrier.wait()
            answers.append(nodes.remembered(stores[number], "key", f"made by {number}"))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for other in stores[1:]:
            other.close()
        assert len(answers) == 4
        assert len(set(answers)) == 1
