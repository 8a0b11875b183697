"""Which hosts to try for a destination, and in which order (RFC 5321 section 5.1, RFC 7505).

Asks the resolver, touches nothing else. Promise: no address of this machine's loopback, no link-local, multicast or
unspecified address is ever tried unless `delivery.allowed_networks` names it, and mail for which this host is
itself the MX never goes back to it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from sendry.config.values import Network
from sendry.delivery.settings import Relay, Settings
from sendry.mail.outcome import DnsFault, Verdict, dns_failure, local_failure
from sendry.resolver import LookupFailed, MxHost, MxKind, Resolver, is_address

MOST_HOSTS: Final = 16
"""MX hosts looked up for one destination; who lists more is tried at the first of them."""

MOST_ADDRESSES: Final = 10
"""Addresses handed out for one try; more would only keep a mail waiting."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Host:
    """One place to connect to. `name` is what the certificate must be for; "" for an address literal."""

    name: str
    ip: str
    port: int

    def __str__(self) -> str:
        """As shown in the history of a message."""
        return self.name or self.ip


class Unroutable(Exception):
    """There is nowhere to connect to; `verdict` says why and whether for good."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict


class Hosts:
    """Finds the places for destinations. `is_local` tells whether an address belongs to this machine."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        chance: random.Random,
        *,
        is_local: Callable[[str], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._chance = chance
        self._is_local = is_local or is_of_this_machine

    async def of(self, destination: str) -> tuple[Host, ...]:
        """The places for a domain or an address literal, best first; never empty. Raises Unroutable."""
        literal = _literal(destination)
        if literal is not None:
            return self._chosen(destination, [[("", (str(literal),))]], None, is_implicit=True)
        answer = await self._resolver.mx(destination)
        if answer.kind is MxKind.NULL:
            raise Unroutable(dns_failure(DnsFault.NULL_MX, destination))
        if answer.kind is MxKind.NXDOMAIN:
            raise Unroutable(dns_failure(DnsFault.NXDOMAIN, destination))
        if answer.kind is MxKind.FAILURE:
            raise _unknown_now(destination, answer.reason)
        records = answer.hosts[:MOST_HOSTS] or (MxHost(0, destination),)
        found = await asyncio.gather(
            *(self._resolver.addresses(record.name) for record in records), return_exceptions=True
        )
        levels: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
        failure: LookupFailed | None = None
        for record, addresses in zip(records, found, strict=True):
            level = levels.setdefault(record.preference, [])
            if isinstance(addresses, LookupFailed):
                failure = addresses
                level.append((record.name, ()))
            elif isinstance(addresses, BaseException):
                raise addresses
            else:
                level.append((record.name, addresses))
        is_implicit = answer.kind is MxKind.IMPLICIT
        return self._chosen(destination, list(levels.values()), failure, is_implicit=is_implicit)

    async def of_relay(self, relay: Relay) -> tuple[Host, ...]:
        """The places of the smart host. The operator named it, so any address will do, but for our own ports."""
        if is_address(relay.host):
            addresses: tuple[str, ...] = (relay.host,)
        else:
            try:
                addresses = await self._resolver.named_addresses(relay.host)
            except LookupFailed as failure:
                raise _unknown_now(relay.host, str(failure)) from None
        if not addresses:
            raise Unroutable(dns_failure(DnsFault.NO_ADDRESS, relay.host))
        others = [ip for ip in addresses if not self._is_own_port(ip, relay.port)]
        if not others:
            raise Unroutable(local_failure(f"delivery.relay: {relay.host}:{relay.port} is this server itself"))
        return tuple(Host(relay.host, ip, relay.port) for ip in _alternating(others)[:MOST_ADDRESSES])

    def _chosen(
        self,
        destination: str,
        levels: Sequence[Sequence[tuple[str, tuple[str, ...]]]],
        failure: LookupFailed | None,
        *,
        is_implicit: bool,
    ) -> tuple[Host, ...]:
        """The places of hosts that stand in levels of preference, best first."""
        chosen: list[Host] = []
        is_loop = is_forbidden = False
        for level in levels:
            # Whoever stands at our level or behind it would hand the mail to us (RFC 5321 section 5.1).
            if any(self._is_us(name, addresses) for name, addresses in level):
                is_loop = True
                break
            hosts = list(level)
            self._chance.shuffle(hosts)
            for name, addresses in hosts:
                allowed = [ip for ip in addresses if self._may_be_mx(ip)]
                is_forbidden = is_forbidden or len(allowed) < len(addresses)
                self._chance.shuffle(allowed)
                chosen += (Host(name, ip, self._settings.port) for ip in _alternating(allowed))
        if chosen:
            return tuple(chosen[:MOST_ADDRESSES])
        if failure is not None:
            raise _unknown_now(destination, str(failure))
        if is_loop:
            raise Unroutable(dns_failure(DnsFault.LOOP, destination))
        if is_forbidden:
            raise Unroutable(dns_failure(DnsFault.PROHIBITED, destination))
        raise Unroutable(dns_failure(DnsFault.NO_HOST if is_implicit else DnsFault.NO_ADDRESS, destination))

    def _is_us(self, name: str, addresses: Iterable[str]) -> bool:
        if name and name == self._settings.hostname.rstrip(".").lower():
            return True
        return any(self._is_own_port(ip, self._settings.port) for ip in addresses)

    def _is_own_port(self, ip: str, port: int) -> bool:
        for place in self._settings.own_listeners:
            if place.port != port:
                continue
            if place.host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
                if self._is_local(ip):
                    return True
            elif _same_address(place.host, ip):
                return True
        return False

    def _may_be_mx(self, ip: str) -> bool:
        return may_be_mx(ip, self._settings.allowed_networks)


def _unknown_now(name: str, reason: str) -> Unroutable:
    return Unroutable(replace(dns_failure(DnsFault.SERVFAIL, name), text=f"DNS: {reason}"))


def may_be_mx(ip: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether mail may go to an address: not loopback, unspecified, link-local or multicast, unless allowed."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if any(address in network for network in allowed if network.version == address.version):
        return True
    return not any(_is_special(form) for form in _forms(address))


def _is_special(address: Address) -> bool:
    if address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast:
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return address in _THIS_NETWORK or address == _BROADCAST
    return address.is_site_local


def _forms(address: Address) -> list[Address]:
    """The address, and the IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64, 6to4."""
    forms: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            forms.append(address.ipv4_mapped)
        if address.sixtofour is not None:
            forms.append(address.sixtofour)
        if address in _NAT64 or int(address) >> 32 == 0:
            forms.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return forms


_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def is_of_this_machine(ip: str) -> bool:
    """Whether an address is one of this machine's: only those can be bound."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


def _alternating(addresses: Sequence[str]) -> list[str]:
    """IPv4 and IPv6 by turns. IPv4 first: many hosts have IPv6 without a reverse name, which gets mail refused."""
    four = [ip for ip in addresses if ":" not in ip]
    six = [ip for ip in addresses if ":" in ip]
    return [ip for pair in zip_longest(four, six) for ip in pair if ip is not None]


def _literal(destination: str) -> Address | None:
    if not (destination.startswith("[") and destination.endswith("]")):
        return None
    inside = destination[1:-1]
    if inside[:5].lower() == "ipv6:":
        inside = inside[5:]
    try:
        return ipaddress.ip_address(inside)
    except ValueError:
        raise Unroutable(dns_failure(DnsFault.NO_HOST, destination)) from None


def _same_address(host: str, ip: str) -> bool:
    if host == "localhost":
        return ip in ("127.0.0.1", "::1")
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(ip)
    except ValueError:
        return False
