"""Group commit: shared transactions, changes that fail alone, answers that come after the commit."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from sendry.store.database import Store, open_store
from sendry.store.writer import Transaction
from tests.make import SOON, held_up
from tests.store.changes import INSERT, add, names, put


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
