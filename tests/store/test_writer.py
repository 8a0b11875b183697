"""Group commit: shared transactions, changes that fail alone, answers that come after the commit."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sendry.store.database import Store, open_store
from sendry.store.writer import StoreUnavailable, Transaction
from tests.make import SOON, held_up
from tests.postgres import Cluster

INSERT = "INSERT INTO setting (name, value) VALUES (?, ?)"


def put(name: str, value: str = "") -> Callable[[Transaction], int]:
    return lambda tx: tx.change(INSERT, (name, value))


def add(name: str) -> Callable[[Transaction], None]:
    return lambda tx: tx.add(INSERT, [(name, "")])


def names(store: Store) -> list[str]:
    return [name for (name,) in store.rows("SELECT name FROM setting ORDER BY name")]


class TestSharing:
    def test_what_waits_while_a_commit_runs_makes_one_transaction(self, store: Store) -> None:
        commits = store.writer.commits
        with held_up(store):
            futures = [store.writer.call(put(f"n{number}")) for number in range(50)]
        assert [future.result(SOON) for future in futures] == [1] * 50
        assert (store.writer.commits - commits, len(names(store))) == (2, 50)

    def test_a_lone_change_is_committed_at_once(self, store: Store) -> None:
        commits = store.writer.commits
        store.writer.call(put("one")).result(SOON)
        store.writer.call(put("two")).result(SOON)
        assert store.writer.commits - commits == 2

    def test_changes_from_many_threads_all_arrive(self, store: Store) -> None:
        def hand_in(thread: int) -> None:
            for number in range(25):
                store.writer.call(put(f"{thread}-{number}")).result(SOON)

        threads = [threading.Thread(target=hand_in, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(names(store)) == 200
        assert store.writer.changes >= 200

    def test_a_change_gets_back_what_its_function_returns(self, store: Store) -> None:
        store.writer.call(put("a", "1")).result(SOON)
        future: Future[list[Any]] = store.writer.call(lambda tx: tx.execute("SELECT value FROM setting"))
        assert future.result(SOON) == [("1",)]

    def test_counters_of_many_changes_are_summed(self, store: Store) -> None:
        with held_up(store):
            for number in range(10):
                store.writer.call(lambda tx, number=number: tx.count("queue.pending", number))  # type: ignore[misc]  # mypy cannot type a default
                store.writer.call(lambda tx: tx.tally(3_600_000, "example.com", "accepted", 2))
        store.writer.call(lambda tx: tx.count("queue.pending", -5)).result(SOON)
        assert store.rows("SELECT name, value FROM counter") == [("queue.pending", 40)]
        assert store.rows("SELECT hour, domain, kind, value FROM tally") == [
            (3_600_000, "example.com", "accepted", 20)
        ]


class TestFailing:
    @pytest.mark.parametrize("is_guarded", [True, False])
    def test_a_change_that_raises_fails_alone(self, store: Store, is_guarded: bool) -> None:
        def fail(tx: Transaction) -> None:
            tx.change(INSERT, ("half", ""))
            tx.add(INSERT, [("later", "")])
            tx.count("queue.pending", 1)
            tx.tally(0, "example.com", "accepted", 1)
            raise LookupError("no")

        with held_up(store):
            before = store.writer.call(add("before"))
            failing = store.writer.call(fail, is_guarded=is_guarded)
            after = store.writer.call(put("after"))
        with pytest.raises(LookupError):
            failing.result(SOON)
        assert (before.result(SOON), after.result(SOON)) == (None, 1)
        assert names(store) == ["after", "before"]
        assert store.rows("SELECT name FROM counter") == store.rows("SELECT kind FROM tally") == []

    def test_a_constraint_broken_by_a_statement_costs_only_its_change(self, store: Store) -> None:
        with held_up(store):
            futures = [store.writer.call(put(name)) for name in ("a", "b", "a", "c")]
        assert [future.exception(SOON) is None for future in futures] == [True, True, False, True]
        assert "unique" in str(futures[2].exception()).lower()
        assert names(store) == ["a", "b", "c"]

    @pytest.mark.parametrize("is_guarded", [True, False])
    def test_a_constraint_broken_at_the_end_of_the_transaction_costs_only_its_change(
        self, store: Store, is_guarded: bool
    ) -> None:
        with held_up(store):
            futures = [store.writer.call(add(name), is_guarded=is_guarded) for name in ("a", "b", "a", "c")]
        assert [future.exception(SOON) is None for future in futures] == [True, True, False, True]
        assert names(store) == ["a", "b", "c"]

    def test_a_guarded_change_that_sent_what_others_gathered_and_failed_loses_nothing_of_theirs(
        self, store: Store
    ) -> None:
        def send_and_fail(tx: Transaction) -> None:
            tx.add(INSERT, [("mine", "")])
            tx.flush()
            raise LookupError("no")

        with held_up(store):
            before = store.writer.call(add("before"))
            store.writer.call(lambda tx: tx.count("queue.pending", 1))
            failing = store.writer.call(send_and_fail)
            store.writer.call(add("after"))
        before.result(SOON)
        assert isinstance(failing.exception(SOON), LookupError)
        assert names(store) == ["after", "before"]
        assert store.rows("SELECT value FROM counter") == [(1,)]

    def test_the_writer_goes_on_after_a_failure(self, store: Store) -> None:
        for _ in range(3):
            assert store.writer.call(lambda tx: tx.change("UPDATE nothing SET x = 1")).exception(SOON) is not None
        assert store.writer.call(put("a")).result(SOON) == 1


class TestFollowUps:
    def test_come_after_the_commit(self, store: Store, location: Path | str, tmp_path: Path) -> None:
        other = open_store(location, tmp_path / "spool")
        seen: list[list[str]] = []

        def change(tx: Transaction) -> None:
            tx.change(INSERT, ("a", ""))
            tx.after.append(lambda: seen.append(names(other)))

        store.writer.call(change).result(SOON)
        assert seen == [["a"]]
        other.close()

    @pytest.mark.parametrize("is_guarded", [True, False])
    def test_of_a_change_that_failed_do_not_come(self, store: Store, is_guarded: bool) -> None:
        called: list[str] = []

        def fail(tx: Transaction) -> None:
            tx.after.append(lambda: called.append("failed"))
            raise LookupError("no")

        def succeed(tx: Transaction) -> None:
            tx.after.append(lambda: called.append("done"))

        with held_up(store):
            store.writer.call(fail, is_guarded=is_guarded)
            last = store.writer.call(succeed)
        last.result(SOON)
        assert called == ["done"]

    def test_that_raise_hurt_nobody(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> None:
            raise LookupError("no")

        def change(tx: Transaction) -> None:
            tx.after.append(fail)
            tx.change(INSERT, ("a", ""))

        store.writer.call(change).result(SOON)
        assert names(store) == ["a"]
        assert "follow-up" in caplog.text


class TestAnswers:
    def test_come_only_after_the_commit(self, store: Store, location: Path | str, tmp_path: Path) -> None:
        other = open_store(location, tmp_path / "spool")
        seen: dict[str, object] = {}
        first: list[Future[int]] = []

        def look(_tx: Transaction) -> None:
            # Same transaction, one change later: written, not committed, not answered.
            seen["others during"] = names(other)
            seen["answered during"] = first[0].done()

        with held_up(store):
            first.append(store.writer.call(put("a")))
            first[0].add_done_callback(lambda _: seen.update({"others when answered": names(other)}))
            looking = store.writer.call(look)
        looking.result(SOON)
        assert seen == {"others during": [], "answered during": False, "others when answered": ["a"]}
        other.close()

    def test_reach_a_loop_that_waits(self, store: Store) -> None:
        async def many() -> list[int]:
            return list(await asyncio.gather(*(store.writer.call_soon(put(f"n{number}")) for number in range(30))))

        assert asyncio.run(many()) == [1] * 30
        assert len(names(store)) == 30

    def test_reach_a_loop_with_the_error_of_the_one_that_failed(self, store: Store) -> None:
        async def three() -> list[int | BaseException]:
            waiting = [store.writer.call_soon(put(name)) for name in ("a", "a", "b")]
            return await asyncio.gather(*waiting, return_exceptions=True)

        first, second, third = asyncio.run(three())
        assert (first, isinstance(second, Exception), third) == (1, True, 1)

    def test_that_nobody_waits_for_any_more_hurt_nobody(self, store: Store) -> None:
        async def give_up() -> int:
            with held_up(store):
                lost = store.writer.call_soon(put("lost"))
                kept = store.writer.call_soon(put("kept"))
                lost.cancel()
            return await kept

        assert asyncio.run(give_up()) == 1
        assert names(store) == ["kept", "lost"]

    def test_of_a_change_that_was_handed_in_cannot_be_cancelled(self, store: Store) -> None:
        async def hang_up() -> None:
            with held_up(store):
                waiting = asyncio.ensure_future(asyncio.wrap_future(store.writer.call(put("a"))))
                waiting.cancel()
                await asyncio.sleep(0)

        asyncio.run(hang_up())
        assert store.writer.call(put("b")).result(SOON) == 1
        assert names(store) == ["a", "b"]

    def test_to_a_closed_loop_are_dropped(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        async def leave() -> None:
            store.writer.call_soon(put("a"))

        with held_up(store):
            asyncio.run(leave())
        assert store.writer.call(put("b")).result(SOON) == 1
        assert names(store) == ["a", "b"]


@contextmanager
def files_end_at(octets: int) -> Iterator[None]:
    """While the body runs, no file of this process can grow beyond that: a disk that is full."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)


_HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
held.execute("ROLLBACK")
held.close()
"""


class TestTrouble:
    def test_a_lock_held_by_another_process_is_said_to_everyone_who_waits_and_passes(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "queue.db", tmp_path / "spool", busy_seconds=0.05)
        other = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(tmp_path / "queue.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        futures = [store.writer.call(put("lost")) for _ in range(5)]
        assert [type(future.exception(SOON)) for future in futures] == [StoreUnavailable] * 5
        assert names(store) == []
        other.communicate("go\n")
        assert store.writer.call(put("kept")).result(SOON) == 1
        assert names(store) == ["kept"]
        store.close()

    def test_a_full_disk_is_said_to_those_it_hits_and_the_others_are_kept(
        self, sqlite_store: Store, tmp_path: Path
    ) -> None:
        store, large_text = sqlite_store, "x" * 3_000_000
        store.writer.call(put("first")).result(SOON)
        with files_end_at(max(path.stat().st_size for path in tmp_path.iterdir()) + 300_000):
            with held_up(store):
                small = store.writer.call(put("small"))
                large = store.writer.call(lambda tx: tx.add(INSERT, [("large", large_text)]), is_guarded=False)
                at_once = store.writer.call(put("at once", large_text))
                last = store.writer.call(put("last"))
            assert (small.result(SOON), last.result(SOON)) == (1, 1)
            assert isinstance(large.exception(SOON), StoreUnavailable)
            assert isinstance(at_once.exception(SOON), StoreUnavailable)
        assert names(store) == ["first", "last", "small"]

    @pytest.mark.postgres
    def test_a_server_that_was_restarted_while_idle_is_not_noticed(
        self, postgres: Cluster, postgres_url: str, tmp_path: Path
    ) -> None:
        store = open_store(postgres_url, tmp_path / "spool")
        store.writer.call(put("a")).result(SOON)
        assert names(store) == ["a"]
        postgres.disconnect(postgres_url.rpartition("/")[2])
        assert store.writer.call(put("b")).result(SOON) == 1
        assert names(store) == ["a", "b"]
        store.close()

    @pytest.mark.postgres
    def test_a_connection_lost_in_the_midst_is_said_and_nothing_is_kept(
        self, postgres_url: str, tmp_path: Path
    ) -> None:
        store = open_store(postgres_url, tmp_path / "spool")

        def end(tx: Transaction) -> None:
            tx.change(INSERT, ("half", ""))
            tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        with held_up(store):
            before = store.writer.call(put("before"))
            ending = store.writer.call(end)
        assert before.result(SOON) == 1
        assert isinstance(ending.exception(SOON), StoreUnavailable)
        assert store.writer.call(put("after")).result(SOON) == 1
        assert names(store) == ["after", "before"]
        store.close()


class TestTheEnd:
    def test_what_was_handed_in_is_finished(self, store: Store, location: Path | str, tmp_path: Path) -> None:
        with held_up(store):
            futures = [store.writer.call(put(f"n{number}")) for number in range(10)]
            closing = threading.Thread(target=store.writer.close)
            closing.start()
        closing.join(SOON)
        assert [future.result(0) for future in futures] == [1] * 10
        other = open_store(location, tmp_path / "spool")
        assert len(names(other)) == 10
        other.close()

    def test_later_changes_are_refused_at_once(self, store: Store) -> None:
        store.writer.close()
        assert isinstance(store.writer.call(put("a")).exception(0), StoreUnavailable)

        async def too_late() -> BaseException:
            (error,) = await asyncio.gather(store.writer.call_soon(put("b")), return_exceptions=True)
            assert isinstance(error, BaseException)
            return error

        assert isinstance(asyncio.run(too_late()), StoreUnavailable)

    def test_everybody_gets_an_answer_however_close_to_the_end_he_comes(self, sqlite_store: Store) -> None:
        futures: list[Future[int]] = []

        def hand_in(thread: int) -> None:
            for number in range(200):
                futures.append(sqlite_store.writer.call(put(f"{thread}-{number}")))

        threads = [threading.Thread(target=hand_in, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        sqlite_store.writer.close()
        for thread in threads:
            thread.join()
        kept = sum(future.exception(SOON) is None for future in futures)
        assert len(futures) == 800
        assert len(names(sqlite_store)) == kept

    def test_closing_twice_is_no_fault(self, store: Store) -> None:
        store.close()
        store.close()


class TestWhatIsOnDisk:
    def test_sqlite_syncs_every_commit_to_its_log(self, sqlite_store: Store) -> None:
        synchronous = sqlite_store.writer.call(lambda tx: tx.execute("PRAGMA synchronous"))
        journal_mode = sqlite_store.writer.call(lambda tx: tx.execute("PRAGMA journal_mode"))
        assert (synchronous.result(SOON), journal_mode.result(SOON)) == ([(2,)], [("wal",)])
        assert sqlite_store.rows("PRAGMA synchronous") == [(2,)]

    @pytest.mark.postgres
    def test_postgres_answers_after_its_log_is_written(self, postgres_url: str, tmp_path: Path) -> None:
        store = open_store(postgres_url, tmp_path / "spool")
        assert store.writer.call(lambda tx: tx.execute("SHOW synchronous_commit")).result(SOON) == [("on",)]
        assert store.writer.call(lambda tx: tx.execute("SHOW transaction_isolation")).result(SOON) == [
            ("read committed",)
        ]
        store.close()

    def test_what_was_answered_survives_a_process_that_is_killed(self, tmp_path: Path) -> None:
        script = (
            "import os, signal, sys; from pathlib import Path; from sendry.store.database import open_store\n"
            "store = open_store(Path(sys.argv[1]), Path(sys.argv[2]))\n"
            "for number in range(100):\n"
            "    row = (str(number), '')\n"
            "    store.writer.call(lambda tx: tx.change('INSERT INTO setting VALUES (?, ?)', row)).result()\n"
            "    print(number, flush=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        arguments = [str(tmp_path / "queue.db"), str(tmp_path / "spool")]
        ended = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == -9
        store = open_store(tmp_path / "queue.db", tmp_path / "spool")
        assert set(ended.stdout.split()) == set(names(store))
        assert len(names(store)) == 100
        store.close()
        assert os.listdir(tmp_path / "spool") == []
