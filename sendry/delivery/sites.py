"""What waits in memory for one destination, and how hard it may be pressed.

Pure but for the clock it is given. A site is a destination domain under one TLS policy, or the smart host. Its
limits move with what happens: one lane goes first, and when a host has given it a session others follow; a connection
that fails while others stand lowers the number of lanes, each delivery raises it again. When no host of a site can be
reached, the site as a whole is left alone for a growing time, and then again one lane goes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from sendry.config.values import RelayTls
from sendry.mail.outcome import Verdict
from sendry.queue.work import Tried, Work

LONGEST_TURN: Final = 540.0
"""Seconds from the claim of a group to the final dot, the wait in memory included: with 10 minutes for the reply to
that it must end before the lease does."""

FIRST_LANES: Final = 5
"""Lanes of a site that has given a session but not delivered anything yet."""

SOON: Final = 0.02
"""Seconds in which the lanes there are should get through what waits; if they do, no further connection is opened."""

FAILURES_UNTIL_DOWN: Final = 2
FIRST_DOWN: Final = 30.0
LONGEST_DOWN: Final = 900.0
"""Seconds a site is left alone: doubling from the first to the longest."""


class SiteKey(NamedTuple):
    """`name` is the domain, or "" for the smart host."""

    name: str
    tls: RelayTls


@dataclass(slots=True, eq=False)
class Group:
    """Recipients of one message for one site: what one transaction carries.

    taken_at: monotonic seconds of the claim. tried: attempts at hosts that led to nothing. avoid: addresses that
    broke off this very message. last: what the last of those attempts meant.
    """

    works: list[Work]
    taken_at: float
    tried: list[Tried] = field(default_factory=list)
    avoid: set[str] = field(default_factory=set)
    last: Verdict | None = None

    def seconds_left(self, now: float) -> float:
        """Of its turn."""
        return self.taken_at + LONGEST_TURN - now

    @property
    def priority(self) -> int:
        """0 passes 1."""
        return self.works[0].priority


@dataclass(slots=True, eq=False)
class Site:
    """One destination as the delivery loop sees it now. Times are monotonic seconds."""

    key: SiteKey
    most_lanes: int
    waiting: deque[Group] = field(default_factory=deque)
    bulk: deque[Group] = field(default_factory=deque)
    lanes: int = 0
    pace: float | None = None  # seconds a transaction takes; not known before the first
    connected: int = 0
    is_open: bool = False  # the last try to get a session succeeded
    allowed: int = FIRST_LANES
    failures: int = 0
    failed_at: float = 0.0
    failing_since: datetime | None = None
    failure: Verdict | None = None
    down_until: float = 0.0
    used_at: float = 0.0
    overflow_delay: float = 0.0

    def __post_init__(self) -> None:
        self.allowed = min(FIRST_LANES, self.most_lanes)

    def __len__(self) -> int:
        """Groups that wait."""
        return len(self.waiting) + len(self.bulk)

    def put(self, group: Group) -> None:
        """Add a group at the end of its line."""
        (self.bulk if group.priority else self.waiting).append(group)

    def put_back(self, group: Group) -> None:
        """Add a group at the head of its line."""
        (self.bulk if group.priority else self.waiting).appendleft(group)

    def take(self) -> Group | None:
        """The next group: transactional mail passes bulk mail."""
        line = self.waiting or self.bulk
        return line.popleft() if line else None

    def drop_newest(self, keep: int) -> Iterator[Group]:
        """Take out groups until `keep` are left: bulk mail first, what came last first."""
        while len(self) > keep:
            yield (self.bulk or self.waiting).pop()

    def oldest(self) -> float | None:
        """When the group that waits longest was claimed."""
        heads = [line[0].taken_at for line in (self.waiting, self.bulk) if line]
        return min(heads) if heads else None

    def wants_lane(self, now: float) -> bool:
        """Whether another lane should be started for it."""
        if not self or now < self.down_until:
            return False
        if not self.lanes:
            return True
        if not self.has_lanes_left:
            return False
        return self.pace is None or self.lanes < len(self) * self.pace / SOON or self._waits_too_long(now)

    @property
    def has_lanes_left(self) -> bool:
        """Whether more lanes are allowed than there are."""
        return self.lanes < (self.allowed if self.is_open else 1)

    def _waits_too_long(self, now: float) -> bool:
        oldest = self.oldest()
        return oldest is not None and now - oldest > 2 * SOON

    def is_down(self, now: float) -> bool:
        """It is being left alone."""
        return now < self.down_until

    # What lanes report

    def note_delivery(self, seconds: float) -> None:
        """A transaction came to its end after so long."""
        self.pace = seconds if self.pace is None else self.pace + (seconds - self.pace) / 8
        if self.allowed < self.most_lanes:
            self.allowed += 1

    def note_session(self) -> None:
        """A host gave a session."""
        self.is_open = True
        self.failures = 0
        self.failing_since = None
        self.failure = None

    def note_crowded(self) -> None:
        """A connection was refused while others stand: they are as many as the site wants."""
        self.allowed = max(1, min(self.allowed, self.connected))

    def note_failure(self, began: float, now: float, at: datetime, verdict: Verdict) -> None:
        """No host could be reached by a lane that `began` to try then. Lanes that fail together count once."""
        self.failure = verdict
        self.is_open = False
        if began < self.failed_at:
            return
        self.failures += 1
        self.failed_at = now
        self.failing_since = self.failing_since or at
        if self.failures >= FAILURES_UNTIL_DOWN:
            doublings = min(self.failures - FAILURES_UNTIL_DOWN, 10)
            self.down_until = now + min(FIRST_DOWN * 2**doublings, LONGEST_DOWN)
            self.allowed = min(FIRST_LANES, self.most_lanes)
