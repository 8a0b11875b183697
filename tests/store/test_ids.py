"""Ids: in order, unique, and the same number whoever reads their text."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.store.ids import EPOCH_MS, MAX_NODE, IdSource, floor_of, from_text, to_text

ids = st.integers(min_value=0, max_value=2**63 - 1)


def moment_of(number: int) -> int:
    return (number >> 22) + EPOCH_MS


class TestIdSource:
    def test_gives_growing_numbers_that_fit_a_signed_64_bit_column(self) -> None:
        source = IdSource(MAX_NODE)
        taken = [source.next() for _ in range(1000)]
        assert taken == sorted(set(taken))
        assert taken[-1] < 2**63

    def test_gives_more_than_a_millisecond_holds(self) -> None:
        taken = IdSource(1).take(20_000)
        assert taken == sorted(set(taken))

    def test_never_repeats_across_threads(self) -> None:
        source = IdSource(1)
        taken: list[list[int]] = [[] for _ in range(8)]

        def take(into: list[int]) -> None:
            for count in range(100):
                into.extend(source.take(count % 50))

        threads = [threading.Thread(target=take, args=(into,)) for into in taken]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        every = [number for some in taken for number in some]
        assert len(every) == len(set(every)) == 8 * 2450
        assert all(some == sorted(some) for some in taken)

    def test_never_repeats_across_nodes(self) -> None:
        sources = [IdSource(node) for node in (0, 1, MAX_NODE)]
        every = [number for source in sources for number in source.take(5000)]
        assert len(every) == len(set(every))

    def test_bears_the_time_it_was_made(self) -> None:
        before = time.time_ns() // 1_000_000
        number = IdSource(1).next()
        assert before <= moment_of(number) <= time.time_ns() // 1_000_000

    def test_does_not_go_back_when_the_clock_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source = IdSource(1)
        first = source.next()
        genuine = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: genuine() - 3600 * 10**9)
        assert source.next() > first

    def test_does_not_go_back_across_a_restart(self) -> None:
        future = floor_of(int(datetime(2060, 1, 1, tzinfo=UTC).timestamp() * 1000)) | 5
        source = IdSource(1, after=future)
        first, second = source.take(2)
        assert future < first < second
        assert first >> 22 == (future >> 22) + 1

    @pytest.mark.parametrize("node", [-1, MAX_NODE + 1])
    def test_takes_no_node_that_has_no_room_in_an_id(self, node: int) -> None:
        with pytest.raises(ValueError, match=f"0 to 1023, not {node}"):
            IdSource(node)


class TestFloor:
    def test_is_not_above_any_id_made_then_or_later(self) -> None:
        now = time.time_ns() // 1_000_000
        number = IdSource(0).next()
        assert floor_of(now) <= number < floor_of(now + 60_000)

    def test_of_times_before_there_were_ids_is_nought(self) -> None:
        assert floor_of(0) == 0


class TestText:
    @given(ids)
    def test_comes_back_as_the_same_number(self, number: int) -> None:
        text = to_text(number)
        assert len(text) == 13
        assert from_text(text) == from_text(text.upper()) == number

    @given(ids, ids)
    def test_is_in_the_order_of_the_numbers(self, one: int, other: int) -> None:
        assert (to_text(one) < to_text(other)) == (one < other)

    @given(st.text(max_size=14))
    def test_is_read_or_refused_whatever_it_is(self, text: str) -> None:
        number = from_text(text)
        assert number is None or to_text(number) == text.lower()

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0",
            "0" * 12,
            "0" * 14,
            "8000000000000",
            "zzzzzzzzzzzzz",
            "000000000000u",
            "00000000000-1",
            "00000000000\u212a1",
        ],
    )
    def test_that_no_id_has_is_none(self, text: str) -> None:
        assert from_text(text) is None
