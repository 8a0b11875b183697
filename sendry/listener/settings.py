"""What the sessions of one listener obey, as values made from the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from math import inf
from typing import Final

from sendry.config.tree import Config
from sendry.config.values import BareNewline


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
    rate_window: float = 180.0  # how often the pace of a message is looked at
    minimum_rate: float = 500.0  # octets per second over such a window
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
