"""Which recipients were past the point of no return when the process died.

Before the final dot of a transaction goes out, its recipients are noted in a memory-mapped file; after their
result is on disk they are taken out. The pages survive `kill -9` without a system call per message, so a node
that starts can tell «claimed, never sent» (goes back to the line) from «the other side may have it» (marked).
"""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_SLOTS: Final = 65_536
_ID = struct.Struct("<Q")


class InFlight:
    """The notes of one node."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._file.truncate(_SLOTS * _ID.size)
        self._map = mmap.mmap(self._file.fileno(), _SLOTS * _ID.size)
        self._lock = threading.Lock()
        self._slots: dict[int, int] = {}
        self._free: list[int] = []
        self._next = 0
        self.left_over = frozenset(number for (number,) in _ID.iter_unpack(self._map[:]) if number)
        """Recipient ids that an earlier life of this node left behind."""

    def forget_left_over(self) -> None:
        """The left-over ids are dealt with: start with an empty file."""
        self._map[:] = bytes(len(self._map))
        self.left_over = frozenset()

    def note(self, recipient_ids: Iterable[int]) -> None:
        """These are about to be sent."""
        with self._lock:
            for number in recipient_ids:
                if number in self._slots:
                    continue
                if self._free:
                    slot = self._free.pop()
                elif self._next < _SLOTS:
                    slot, self._next = self._next, self._next + 1
                else:
                    raise RuntimeError(f"more than {_SLOTS} recipients in flight")
                self._slots[number] = slot
                _ID.pack_into(self._map, slot * _ID.size, number)

    def clear(self, recipient_ids: Iterable[int]) -> None:
        """Their results are on disk."""
        with self._lock:
            for number in recipient_ids:
                slot = self._slots.pop(number, None)
                if slot is not None:
                    _ID.pack_into(self._map, slot * _ID.size, 0)
                    self._free.append(slot)

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
        self._file.close()
