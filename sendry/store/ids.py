"""Identifiers: 63-bit integers that grow with time, unique per node, shown as 13 characters of base 32.

An id is the primary key itself, so new rows are appended to the end of every index, and a cursor over ids is
a cursor over time. Layout: 41 bits of milliseconds since 2024, 10 bits of node, 12 bits of sequence.
"""

from __future__ import annotations

import threading
import time

EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
MAX_NODE = 1023
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no i, l, o, u
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_LENGTH = 13


class IdSource:
    """Gives ids that never repeat and never go back, even when the wall clock does.

    `node` must be held by this process alone while it lives (table `node`); `after` is the greatest id known
    from before, so that a clock set back across a restart cannot repeat one.
    """

    def __init__(self, node: int, after: int = 0) -> None:
        if not 0 <= node <= MAX_NODE:
            raise ValueError(f"node must be 0 to {MAX_NODE}, not {node}")
        self._node = node << 12
        self._lock = threading.Lock()
        self._tick = (after >> 22) + 1 if after else 0
        self._sequence = 0

    def next(self) -> int:
        """One new id."""
        return self.take(1)[0]

    def take(self, count: int) -> list[int]:
        """`count` new ids in growing order."""
        with self._lock:
            tick = time.time_ns() // 1_000_000 - EPOCH_MS
            if tick > self._tick:
                self._tick, self._sequence = tick, 0
            ids = []
            for _ in range(count):
                if self._sequence == 4096:  # this millisecond is used up: borrow from the next
                    self._tick, self._sequence = self._tick + 1, 0
                ids.append(self._tick << 22 | self._node | self._sequence)
                self._sequence += 1
            return ids


def floor_of(milliseconds: int) -> int:
    """The smallest id that a row made at this Unix time (ms) or later can have."""
    return max(0, milliseconds - EPOCH_MS) << 22


def to_text(number: int) -> str:
    """The id as users see it: 13 characters, in the same order as the numbers."""
    chars = []
    for _ in range(_LENGTH):
        chars.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(chars))


def from_text(text: str) -> int | None:
    """The number behind an id as users see it, or None when it cannot be one."""
    if len(text) != _LENGTH or not text.isascii():
        return None
    number = 0
    for char in text.lower():
        value = _VALUES.get(char)
        if value is None:
            return None
        number = number << 5 | value
    return number if number < 1 << 63 else None
