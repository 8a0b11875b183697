"""What a session reaches beyond itself: the other rooms, and what all sessions of a process share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sendry.access.guard import Guard
from sendry.access.logins import Logins
from sendry.listener.settings import ListenerKind
from sendry.listener.wire import Outbox
from sendry.mail.envelope import Envelope, Origin
from sendry.metrics import Metrics
from sendry.store.spool import Spool
from sendry.tls.contexts import ServerContexts


class Intake(Protocol):
    """The doors of sendry.intake that a session uses."""

    def check_sender(self, origin: Origin, sender: str) -> None:
        """Raises Refused."""

    def check_recipient(self, origin: Origin, sender: str, recipient: str) -> None:
        """Raises Refused."""

    def accept_soon(self, envelope: Envelope, now: datetime) -> asyncio.Future[str]:
        """The public id of the message once it is on disk; raises Refused at once or from the future."""


class Counters:
    """Sums over all listeners, written by the listener thread only; the metrics page gets them too."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        self.connections_total = 0
        self.connections_refused = 0
        self.tls_connections_total = 0
        self.auth_success_total = 0
        self.auth_failed_total = 0
        self.messages_accepted = 0
        self.messages_refused = 0

    def connected(self, kind: ListenerKind) -> None:
        self.connections_total += 1
        if self._metrics is not None:
            self._metrics.add("sendry_smtp_connections", kind.value)

    def encrypted(self) -> None:
        self.tls_connections_total += 1
        if self._metrics is not None:
            self._metrics.add("sendry_smtp_tls_connections")

    def signed_in(self) -> None:
        self.auth_success_total += 1
        if self._metrics is not None:
            self._metrics.add("sendry_smtp_auth_success")

    def sign_in_failed(self) -> None:
        self.auth_failed_total += 1
        if self._metrics is not None:
            self._metrics.add("sendry_smtp_auth_failed")


@dataclass(slots=True)
class Connections:
    """Who is connected now, over all listeners."""

    most: int = 1000
    most_per_ip: int = 50
    per_ip: dict[str, int] = field(default_factory=dict)
    active: int = 0

    def enter(self, ip: str) -> str:
        """Take a place: "" when there is one, else what is used up: "all" or "ip"."""
        if self.active >= self.most:
            return "all"
        mine = self.per_ip.get(ip, 0)
        if mine >= self.most_per_ip:
            return "ip"
        self.per_ip[ip] = mine + 1
        self.active += 1
        return ""

    def leave(self, ip: str) -> None:
        """Give the place back."""
        self.active -= 1
        left = self.per_ip[ip] - 1
        if left:
            self.per_ip[ip] = left
        else:
            del self.per_ip[ip]


@dataclass(frozen=True, slots=True)
class Doors:
    """The other rooms as a session sees them."""

    intake: Intake
    logins: Logins
    guard: Guard
    contexts: ServerContexts
    spool: Spool
    disk: Executor  # for spool files
    clock: Callable[[], datetime]
    connections: Connections
    counters: Counters
    outbox: Outbox
