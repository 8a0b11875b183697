"""Charts as SVG made on the server: geometry only, words stand in HTML around them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BAR_SPACE: Final = 10  # units of the view box that one bar and its gaps take
_BAR_WIDTH: Final = 7
_SPARK_TOP, _SPARK_FOOT = 2.0, 28.0
_LINES: Final = 4
_STEPS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 15)  # from one grid line to the next


@dataclass(frozen=True, slots=True)
class Part:
    """One coloured part of a stacked bar."""

    state: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bars:
    """Stacked bars in a view box 100 high. `scale` is what the grid lines say, from the top down to 0."""

    width: int
    parts: tuple[Part, ...]
    scale: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spark:
    """A small line without axes, and the area under it, as SVG paths in a box of 100 by 30."""

    line: str
    area: str


def ceiling(highest: int) -> int:
    """The least round figure at or above `highest` that four grid lines divide into whole numbers."""
    magnitude = 1
    while True:
        for step in _STEPS:
            if highest <= step * magnitude * _LINES:
                return step * magnitude * _LINES
        magnitude *= 10


def stacked(buckets: Sequence[Mapping[str, int]], states: Sequence[str]) -> Bars:
    """One bar per bucket, the first state at the foot. All bars stand on zero."""
    top = ceiling(max((sum(bucket.get(state, 0) for state in states) for bucket in buckets), default=0))
    parts = []
    for place, bucket in enumerate(buckets):
        foot = 100.0
        for state in states:
            height = bucket.get(state, 0) * 100 / top
            if not height:
                continue
            foot -= height
            x = place * BAR_SPACE + (BAR_SPACE - _BAR_WIDTH) / 2
            parts.append(Part(state, x, round(foot, 2), _BAR_WIDTH, round(height, 2)))
    scale = tuple(top * line // _LINES for line in range(_LINES, -1, -1))
    return Bars(max(1, len(buckets)) * BAR_SPACE, tuple(parts), scale)


def spark(values: Sequence[int]) -> Spark:
    """A line through the values from left to right; flat at the foot while there is nothing but nought."""
    if len(values) < 2:
        values = [0, 0]
    highest = max(values)
    span = _SPARK_FOOT - _SPARK_TOP
    points = []
    for place, value in enumerate(values):
        x = place * 100 / (len(values) - 1)
        y = _SPARK_FOOT - (value * span / highest if highest else 0)
        points.append(f"{x:.1f} {y:.1f}")
    line = "M" + "L".join(points)
    return Spark(line, f"{line}L100 30L0 30Z")
