"""Which recipients were past the point of no return when the process died.

Before the final dot of a transaction goes out, its recipients are noted in a memory-mapped file; after their
result is on disk they are taken out; in between, a reply that says delivered is noted too. The pages survive
`kill -9` without a system call per message, so whoever recovers can tell «claimed, never sent» (goes back to the
line) from «the other side may have it» (marked) and from «the other side has it» (delivered, not tried again).

All nodes of a machine keep their notes in one folder, in files called `in-flight…`.
"""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SLOTS: Final = 65_536
_ID = struct.Struct("<Q")
_DELIVERED: Final = 1 << 63  # ids have 63 bits


@dataclass(frozen=True, slots=True)
class Notes:
    """What was noted: recipients whose content had gone out, and those among them that were delivered."""

    sent: frozenset[int] = frozenset()
    delivered: frozenset[int] = frozenset()


class InFlight:
    """The notes of one node. Thread-safe."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = path.parent
        with path.open("a+b") as file:
            file.truncate(_SLOTS * _ID.size)
            self._map = mmap.mmap(file.fileno(), _SLOTS * _ID.size)
        self._lock = threading.Lock()
        self._slots: dict[int, int] = {}
        numbers = [number for (number,) in _ID.iter_unpack(self._map[:])]
        self._left = {slot: number & ~_DELIVERED for slot, number in enumerate(numbers) if number}
        self._next = max(self._left, default=-1) + 1
        self._free = [slot for slot in range(self._next) if slot not in self._left]

    @property
    def left_over(self) -> frozenset[int]:
        """Recipient ids that an earlier life of this node left behind."""
        return frozenset(self._left.values())

    def forget_left_over(self) -> None:
        """The left-over ids are dealt with; what was noted since stays."""
        with self._lock:
            for slot in self._left:
                self._write(slot, 0)
                self._free.append(slot)
            self._left = {}

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
                self._write(slot, number)

    def note_delivered(self, recipient_ids: Iterable[int]) -> None:
        """The other side said that it has them."""
        with self._lock:
            for number in recipient_ids:
                slot = self._slots.get(number)
                if slot is not None:
                    self._write(slot, number | _DELIVERED)

    def clear(self, recipient_ids: Iterable[int]) -> None:
        """Their results are on disk."""
        with self._lock:
            for number in recipient_ids:
                slot = self._slots.pop(number, None)
                if slot is not None:
                    self._write(slot, 0)
                    self._free.append(slot)

    def holds(self, recipient_id: int) -> bool:
        """Whether this life of the node noted it."""
        return recipient_id in self._slots

    def of_all_nodes(self) -> Notes:
        """What every node of this machine, alive or dead, has noted now. Reads files of 512 KiB."""
        sent: set[int] = set()
        delivered: set[int] = set()
        for path in self._folder.glob("in-flight*"):
            with suppress(FileNotFoundError):
                octets = path.read_bytes()
                whole = octets[: len(octets) // _ID.size * _ID.size]
                for (number,) in _ID.iter_unpack(whole):
                    if number:
                        (delivered if number & _DELIVERED else sent).add(number & ~_DELIVERED)
        return Notes(frozenset(sent | delivered), frozenset(delivered))

    def close(self) -> None:
        """Let go of the file; later calls change nothing."""
        with self._lock:
            self._map.close()

    def _write(self, slot: int, number: int) -> None:
        # A worker that answers after the end only leaves its note where the next life finds it.
        if not self._map.closed:
            _ID.pack_into(self._map, slot * _ID.size, number)
