"""What one listener's sessions obey, and what they reach: settings and doors as values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from math import inf
from typing import Final, Protocol

from sendry.access.guard import Guard
from sendry.access.logins import Logins
from sendry.config.tree import Config
from sendry.config.values import BareNewline
from sendry.mail.envelope import Envelope, Origin
from sendry.metrics import Metrics
from sendry.store.spool import Spool
from sendry.tls.contexts import ServerContexts


class ListenerKind(StrEnum):
    """What a port is for: mail of anybody, submission, submission with implicit TLS."""

    RELAY = "relay"
    SUBMISSION = "submission"
    SMTPS = "smtps"


class Networks:
    """A set of IP networks to look addresses up in."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, address: object) -> bool:
        return any(address in network for network in self._networks)

    def __bool__(self) -> bool:
        return bool(self._networks)


_NO_NETWORKS: Final = Networks(())


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a session waits, in seconds; `inf` = for ever."""

    command: float = 60.0  # smtp.read_timeout: a whole command line, not each packet of it
    write: float = 60.0  # smtp.write_timeout: until the peer takes what we sent
    block: float = 180.0  # the next octets of a message (RFC 5321 section 4.5.3.2.5)
    rate_window: float = 60.0  # how often the pace of a message is looked at
    minimum_rate: int = 500  # octets per second over such a window
    session: float = 1800.0  # without a message handed in: NOOP does not keep a session for ever
    commit: float = 120.0  # for intake; then 451, and the client tries again
    linger: float = 3.0  # reading on after a closing reply, so that the peer gets to see it

    @property
    def shortest(self) -> float:
        """How often a session looks at its clock."""
        return min(self.command, self.write, self.block, self.rate_window, self.session, self.commit)


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers a session may not exceed."""

    max_message_bytes: int = 10_485_760
    max_recipients: int = 100
    max_errors: int = 20  # of syntax and order
    max_refusals: int = 200  # of senders and recipients since the last accepted message
    max_idle_commands: int = 200  # NOOP, RSET and the like since the last accepted message
    max_auth_failures: int = 3


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What the sessions of one listener obey."""

    kind: ListenerKind
    hostname: str
    limits: Limits = Limits()
    patience: Patience = Patience()
    trusted_networks: Networks = _NO_NETWORKS
    allowed_ips: Networks = _NO_NETWORKS  # empty = everyone
    requires_auth: bool = False  # from whoever is not in a trusted network
    allows_plaintext_auth: bool = False
    normalizes_bare_lf: bool = False

    @property
    def is_implicit_tls(self) -> bool:
        return self.kind is ListenerKind.SMTPS


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


def peer_ip(peername: object) -> str:
    """The address of a peer as text: IPv4 also where it came mapped into IPv6, no zone; "" when unknown."""
    if not isinstance(peername, tuple) or not peername:
        return ""
    text = str(peername[0]).partition("%")[0]
    if text.startswith("::ffff:"):
        address = ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return str(mapped) if mapped is not None else text
    return text


def parsed_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The address, None when the text is none (a Unix socket, say)."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def session_settings(config: Config, kind: ListenerKind) -> SessionSettings:
    """What the configuration says for listeners of this kind."""
    smtp = config.smtp
    return SessionSettings(
        kind=kind,
        hostname=config.server.hostname,
        limits=Limits(max_message_bytes=smtp.max_message_bytes, max_recipients=smtp.max_recipients),
        patience=Patience(command=_seconds(smtp.read_timeout), write=_seconds(smtp.write_timeout)),
        trusted_networks=Networks(smtp.trusted_networks),
        allowed_ips=Networks(smtp.allowed_ips),
        requires_auth=smtp.auth.required or kind is not ListenerKind.RELAY,
        allows_plaintext_auth=smtp.auth.allow_plaintext,
        normalizes_bare_lf=smtp.bare_newline is BareNewline.NORMALIZE,
    )


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds() or inf  # 0 = off
