from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.panel import chart


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 4), (4, 4), (5, 8), (10, 12), (31, 32), (48, 60), (61, 80), (100, 120), (3610, 4000)]
)
def test_the_scale_ends_at_a_round_figure(highest: int, top: int) -> None:
    assert chart.ceiling(highest) == top


@given(st.integers(0, 10**12))
def test_four_lines_divide_the_scale_into_whole_numbers(highest: int) -> None:
    top = chart.ceiling(highest)
    assert top >= highest
    assert top % 4 == 0
    assert top <= max(4, highest * 2)


@given(st.lists(st.fixed_dictionaries({"good": st.integers(0, 10**6), "bad": st.integers(0, 10**6)}), max_size=40))
def test_bars_stand_on_zero_and_parts_upon_each_other(buckets: list[dict[str, int]]) -> None:
    bars = chart.stacked(buckets, ("bad", "good"))
    for part in bars.parts:
        assert part.height > 0 or part.y == pytest.approx(100, abs=100)
        assert -0.02 <= part.y <= 100
    feet = {part.x: part.y + part.height for part in reversed(bars.parts)}
    assert all(foot == pytest.approx(100, abs=0.02) for foot in feet.values())
    assert bars.scale[-1] == 0
    assert len(bars.scale) == 5


def test_what_did_not_happen_takes_no_room() -> None:
    bars = chart.stacked([{"good": 3}, {}, {"good": 1, "bad": 2}], ("bad", "good"))
    assert [(part.state, part.x, part.height) for part in bars.parts] == [
        ("good", 1.5, 75.0),
        ("bad", 21.5, 50.0),
        ("good", 21.5, 25.0),
    ]


def test_a_spark_goes_from_the_foot_to_the_top() -> None:
    assert chart.spark([0, 5, 10]).line == "M0.0 28.0L50.0 15.0L100.0 2.0"
    assert chart.spark([0, 5, 10]).area == "M0.0 28.0L50.0 15.0L100.0 2.0L100 30L0 30Z"


@pytest.mark.parametrize("values", [[], [0], [0, 0]])
def test_nothing_is_a_flat_line(values: list[int]) -> None:
    assert chart.spark(values).line == "M0.0 28.0L100.0 28.0"
