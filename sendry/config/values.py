"""Small values that settings are made of: addresses of listeners, durations, domain names, choices.

Pure: no file, socket, clock or environment. Each `parse_*` takes the text a person wrote and either returns the
normal form or raises ValueError with a reason fit to be shown to that person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address


class DomainMode(StrEnum):
    """What happens to mail of a sender domain."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"
    REDIRECT = "redirect"
    BCC = "bcc"


class BareNewline(StrEnum):
    """What a listener does with a line feed that has no carriage return before it."""

    REJECT = "reject"
    NORMALIZE = "normalize"


class DeliveryTls(StrEnum):
    """TLS towards an MX: never, when offered (unverified will do), or always and verified."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRE = "require"


class RelayTls(StrEnum):
    """TLS towards the smart host; `implicit` speaks TLS from the first octet (port 465)."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    REQUIRE = "require"
    IMPLICIT = "implicit"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    JSON = "json"
    TEXT = "text"


class HeaderAction(StrEnum):
    REMOVE = "remove"
    REPLACE = "replace"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to listen or connect. `host` is "" for all interfaces, an IP address without brackets, or a name."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. All interfaces ("") and names other than localhost: no."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_host_port(text: str) -> HostPort:
    """`host:port`, `:port`, `1.2.3.4:port` or `[::1]:port`. Port 0 lets the system choose."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("the port is missing")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("the port must be a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return HostPort(str(IPv6Address(host[1:-1])), int(port))
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if host and not _is_ipv4(host):
        host = _parse_host(host)
    return HostPort(host, int(port))


def parse_remote(text: str) -> HostPort:
    """As parse_host_port, for a host that is dialed: both parts are needed."""
    place = parse_host_port(text)
    if not place.host or not place.port:
        raise ValueError("both host and port are needed")
    return place


def parse_nameserver(text: str) -> HostPort:
    """`ip` or `ip:port` (`[ip]:port` for IPv6); the port is 53 unless given."""
    try:
        return HostPort(str(ip_address(text)), 53)
    except ValueError:
        place = parse_remote(text)
        return HostPort(str(ip_address(place.host)), place.port)


def parse_network(text: str) -> Network:
    """An IP address or a network in CIDR notation."""
    try:
        return ip_network(text)
    except ValueError:
        try:
            meant = ip_network(text, strict=False)
        except ValueError:
            raise ValueError("this is no IP address or network") from None
        raise ValueError(f"the address has bits beyond its mask, did you mean {meant}?") from None


_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_DURATION_PART = re.compile(r"([0-9]{1,12})(ms|[smhdw])")


def parse_duration(text: str) -> timedelta:
    """`30s`, `5m`, `1h30m`, `7d`; `0` is no time at all."""
    if text == "0":
        return timedelta(0)
    total, end = timedelta(0), 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != end:
            break
        try:
            total, end = total + int(part[1]) * _UNITS[part[2]], part.end()
        except OverflowError:
            break
    if not text or end != len(text):
        raise ValueError("this is no duration")
    if total > timedelta(days=36500):
        raise ValueError("this is more than a hundred years")
    return total


def format_duration(value: timedelta) -> str:
    """The shortest text that parse_duration reads back as the same value."""
    for unit in ("d", "h", "m", "s", "ms"):
        if value and not value % _UNITS[unit]:
            return f"{value // _UNITS[unit]}{unit}"
    return "0"


_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def parse_domain(text: str) -> str:
    """A domain name in the form used on the wire: lower case, A-labels (IDNA 2008), no final dot."""
    name = text.removesuffix(".")
    if name.isascii():
        name = name.lower()
    else:
        # Loading the tables of idna costs more than the rest of a start; most names never need them.
        import idna

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"this is no domain name: {error}") from None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("this is no domain name")
    if labels[-1].isdigit():
        raise ValueError("a domain name is needed here, not an IP address")
    return name


_SELECTOR_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")


def parse_selector(text: str) -> str:
    """A DKIM selector, lower case; several labels and nothing but digits are fine (RFC 6376 3.1)."""
    name = text.lower()
    if len(name) > 100 or not all(_SELECTOR_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("this is no selector")
    return name


_ATOM = r"[^.\s\"(),:;<>@\[\\\]\x00-\x1f\x7f]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")


def parse_mailbox(text: str) -> str:
    """`local@domain` without display name or quotes; the domain comes back in its normal form."""
    local, at, domain = text.rpartition("@")
    if not at or len(local.encode()) > 64 or not _LOCAL_PART.fullmatch(local):
        raise ValueError("this is no address")
    return f"{local}@{parse_domain(domain)}"


def parse_web_url(text: str) -> str:
    """An http or https address without query; a final slash is dropped."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"this is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host or " " in text:
        raise ValueError("it must begin with http:// or https:// and name a host")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("it may have no query, fragment or user name")
    return text.rstrip("/")


def _parse_host(text: str) -> str:
    # Names of containers have underscores, which a domain name may not have.
    parse_domain(text.replace("_", "-"))
    return text.lower()


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
