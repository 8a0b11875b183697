"""Sessions kept for the next message to the same site.

Runs on the delivery loop. Promise: a session is handed out only for the site and TLS policy it was opened for, never
after the host said goodbye, and none is kept longer than asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sendry.delivery.session import Session
from sendry.delivery.sites import SiteKey

_FAREWELL: Final = 5.0
"""Seconds a host has to answer QUIT."""


class Pool:
    """Idle sessions by site; `clock` gives monotonic seconds."""

    def __init__(self, longest_idle: float, most_messages: int, clock: Callable[[], float]) -> None:
        self._longest_idle = longest_idle
        self._most_messages = most_messages
        self._clock = clock
        self._idle: dict[SiteKey, list[Session]] = {}

    def take(self, key: SiteKey) -> Session | None:
        """An idle session that looks alive: the one used last."""
        sessions = self._idle.get(key)
        now = self._clock()
        while sessions:
            session = sessions.pop()
            if not sessions:
                del self._idle[key]
            if session.can_go_on and now - session.idle_since < self._longest_idle:
                return session
            part(session)
        return None

    def give(self, key: SiteKey, session: Session) -> None:
        """Keep a session for later, or part with it when it is of no more use."""
        if not self.is_good(session):
            part(session)
            return
        session.idle_since = self._clock()
        self._idle.setdefault(key, []).append(session)

    def is_good(self, session: Session) -> bool:
        """Whether a session may carry another message."""
        return session.can_go_on and session.used < self._most_messages

    def sweep(self) -> None:
        """Part with sessions that were idle too long."""
        now = self._clock()
        for key in list(self._idle):
            keep = []
            for session in self._idle[key]:
                if session.can_go_on and now - session.idle_since < self._longest_idle:
                    keep.append(session)
                else:
                    part(session)
            if keep:
                self._idle[key] = keep
            else:
                del self._idle[key]

    def close(self) -> None:
        """Part with all."""
        for sessions in self._idle.values():
            for session in sessions:
                part(session)
        self._idle.clear()

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))


def part(session: Session) -> None:
    """Leave a host politely if the dialogue is in step, else at once."""
    wire = session.wire
    if wire.lost is None and not session.is_ending and not wire.replies:
        wire.leave(_FAREWELL)
    else:
        wire.abort("closed")
