"""The writer when things go wrong, at its end, and what it leaves on disk."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from sendry.store.database import Store, open_store
from sendry.store.writer import StoreUnavailable, Transaction
from tests.make import SOON, held_up
from tests.postgres import Cluster
from tests.store.changes import INSERT, names, put


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
