"""The only door to DNS: where the mail of a domain goes, and the addresses of a host.

Talks to the nameservers it is given, or to those of the system. An answer is kept as long as its TTL says
(a negative one as the SOA says), within bounds; callers that ask the same at once share one query. Promise: a
name that does not exist and a name that could not be looked up are never mistaken for each other. All
coroutines of one Resolver run on one event loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

log = logging.getLogger(__name__)

LIFETIME: Final = 15.0
"""Seconds for one question in all, retries and other nameservers included."""

LONGEST_KEPT: Final = 3600.0
LONGEST_KEPT_NEGATIVE: Final = 300.0
SHORTEST_KEPT: Final = 5.0
FAILURE_KEPT: Final = 10.0
"""Seconds a failed lookup is remembered: a thousand mails to one domain wait for one timeout together."""

CACHE_SIZE: Final = 20_000


class MxKind(StrEnum):
    """What DNS says about the mail of a domain."""

    HOSTS = "hosts"
    IMPLICIT = "implicit"  # no MX record: the domain itself is the host (RFC 5321 section 5.1)
    NULL = "null"  # takes no mail at all (RFC 7505)
    NXDOMAIN = "nxdomain"  # the name does not exist, or cannot exist
    FAILURE = "failure"  # no answer, SERVFAIL, REFUSED: ask again later


@dataclass(frozen=True, slots=True, order=True)
class MxHost:
    """One MX record; `name` is in lower case, A-labels, without the final dot."""

    preference: int
    name: str


@dataclass(frozen=True, slots=True)
class MxAnswer:
    """`hosts` is set for kind HOSTS only, smallest preference first; `reason` tells people what is wrong."""

    kind: MxKind
    hosts: tuple[MxHost, ...] = ()
    reason: str = ""


class LookupFailed(Exception):
    """No answer now; asking again later may help. The text is for people."""


class _NoSuchName(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float
    answer: Any
    failure: str = ""


class Resolver:
    """Asks `nameservers` (pairs of IP address and port), or the system's when there are none.

    `clock` gives seconds that only grow; `lifetime` is the time for one question, `timeout` for one try at
    one server.
    """

    def __init__(
        self,
        nameservers: tuple[tuple[str, int], ...] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        lifetime: float = LIFETIME,
        timeout: float = 4.0,
    ) -> None:
        self._is_system = not nameservers
        self._clock = clock
        self._lifetime = lifetime
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None
        if nameservers:
            self._resolver = self._shaped(dns.asyncresolver.Resolver(configure=False))
            self._resolver.nameservers = [
                dns.nameserver.Do53Nameserver(address, port) for address, port in nameservers
            ]
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._asking: dict[tuple[str, str], asyncio.Future[_Kept]] = {}

    async def mx(self, domain: str) -> MxAnswer:
        """Where the mail of `domain` goes (RFC 5321 section 5.1). Never raises for what DNS answers."""
        try:
            name = to_ascii(domain)
        except ValueError as error:
            return MxAnswer(MxKind.NXDOMAIN, reason=str(error))
        try:
            answer: MxAnswer = await self._shared(("MX", name), partial(self._ask_mx, name))
        except LookupFailed as failure:
            return MxAnswer(MxKind.FAILURE, reason=str(failure))
        return answer

    async def addresses(self, host: str) -> tuple[str, ...]:
        """IPv4, then IPv6 addresses of a host; empty when it has none or does not exist.

        Raises LookupFailed when neither family could be looked up to the end and nothing was found.
        """
        try:
            name = to_ascii(host)
        except ValueError:
            return ()
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
            return ("127.0.0.1", "::1")
        found = await asyncio.gather(
            self._shared(("A", name), partial(self._ask_addresses, dns.rdatatype.A, name)),
            self._shared(("AAAA", name), partial(self._ask_addresses, dns.rdatatype.AAAA, name)),
            return_exceptions=True,
        )
        addresses: list[str] = []
        failure: LookupFailed | None = None
        for answer in found:
            if isinstance(answer, LookupFailed):
                failure = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                addresses.extend(answer)
        if failure is not None and not addresses:
            raise failure
        return tuple(addresses)

    async def named_addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of a host that the operator named himself.

        As the system sees it, hosts file included, unless nameservers were given. Raises LookupFailed.
        """
        if not self._is_system:
            return await self.addresses(host)
        found: tuple[str, ...] = await self._shared(("host", host), partial(self._ask_system, host))
        return found

    async def _shared(self, key: tuple[str, str], ask: Callable[[], Awaitable[tuple[Any, float]]]) -> Any:
        """The kept answer if it is still good, else one question however many ask."""
        kept = self._kept.get(key)
        if kept is None or kept.until <= self._clock():
            asking = self._asking.get(key)
            if asking is None:
                asking = asyncio.ensure_future(self._fetch(key, ask))
                self._asking[key] = asking
            # Shielded: who stops waiting must not take the answer from the others.
            kept = await asyncio.shield(asking)
        if kept.failure:
            raise LookupFailed(kept.failure)
        return kept.answer

    async def _fetch(self, key: tuple[str, str], ask: Callable[[], Awaitable[tuple[Any, float]]]) -> _Kept:
        try:
            try:
                answer, ttl = await ask()
                kept = _Kept(self._clock() + ttl, answer)
            except LookupFailed as failure:
                log.info("dns lookup failed", extra={"name": key[1], "kind": key[0], "reason": str(failure)})
                kept = _Kept(self._clock() + FAILURE_KEPT, None, str(failure))
            if len(self._kept) >= CACHE_SIZE:
                self._make_room()
            self._kept[key] = kept
            return kept
        finally:
            del self._asking[key]

    def _make_room(self) -> None:
        now = self._clock()
        for key in [key for key, kept in self._kept.items() if kept.until <= now]:
            del self._kept[key]
        for key in list(self._kept)[: max(0, len(self._kept) - CACHE_SIZE * 9 // 10)]:
            del self._kept[key]  # the longest known go first

    async def _ask_mx(self, name: str) -> tuple[MxAnswer, float]:
        try:
            records, ttl = await self._query(name, dns.rdatatype.MX)
        except _NoSuchName as missing:
            return MxAnswer(MxKind.NXDOMAIN, reason=f"the domain {name} does not exist"), _ttl_of(missing)
        hosts = sorted({MxHost(record.preference, _plain(record.exchange)) for record in records})
        named = tuple(host for host in hosts if host.name)
        if named:
            return MxAnswer(MxKind.HOSTS, named), ttl
        if hosts:
            return MxAnswer(MxKind.NULL, reason=f"the domain {name} takes no mail (null MX)"), ttl
        return MxAnswer(MxKind.IMPLICIT), ttl

    async def _ask_addresses(self, kind: dns.rdatatype.RdataType, name: str) -> tuple[tuple[str, ...], float]:
        try:
            records, ttl = await self._query(name, kind)
        except _NoSuchName as missing:
            return (), _ttl_of(missing)
        return tuple(record.address for record in records), ttl

    async def _ask_system(self, host: str) -> tuple[tuple[str, ...], float]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                return (), SHORTEST_KEPT
            raise LookupFailed(f"{host} could not be looked up: {error.strerror}") from None
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found)), 30.0

    async def _query(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[list[Any], float]:
        """The records, possibly none, and how long to keep them. Raises _NoSuchName, LookupFailed."""
        if self._resolver is None:
            self._resolver = self._shaped(_of_system())
        text = f"{kind.name} of {name}"
        try:
            answer = await self._resolver.resolve(
                dns.name.from_text(name),
                kind,
                raise_on_no_answer=False,
                search=False,
                lifetime=self._lifetime,
            )
        except dns.resolver.NXDOMAIN as missing:
            raise _NoSuchName(_negative_ttl(missing)) from None
        except dns.resolver.LifetimeTimeout:
            raise LookupFailed(f"no nameserver answered for the {text} in {self._lifetime:g} s") from None
        except dns.resolver.NoNameservers as error:
            raise LookupFailed(f"no nameserver could answer for the {text}: {_first_fault(error)}") from None
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise LookupFailed(f"the lookup of the {text} failed: {error}") from None
        records = list(answer.rrset or ())
        longest = LONGEST_KEPT if records else LONGEST_KEPT_NEGATIVE
        return records, min(max(answer.expiration - time.time(), SHORTEST_KEPT), longest)

    def _shaped(self, resolver: dns.asyncresolver.Resolver) -> dns.asyncresolver.Resolver:
        resolver.timeout = self._timeout
        resolver.lifetime = self._lifetime
        resolver.use_edns(0, 0, 1232)
        resolver.cache = None
        return resolver


def to_ascii(name: str) -> str:
    """The domain name in lower case as A-labels, without a final dot. ValueError says what is wrong."""
    name = name.removesuffix(".").lower()
    if not name:
        raise ValueError("the domain name is empty")
    if not name.isascii():
        import idna  # its tables cost much to load, and most names never need them

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"{name} is not a domain name: {error}") from None
    if len(name) > 253 or any(not 0 < len(label) <= 63 for label in name.split(".")):
        raise ValueError(f"{name[:80]} is not a domain name: a label is empty or the name is too long")
    return name


def is_address(host: str) -> bool:
    """Whether `host` is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _of_system() -> dns.asyncresolver.Resolver:
    try:
        return dns.asyncresolver.Resolver()
    except dns.exception.DNSException as error:
        raise LookupFailed(f"the system names no nameserver: {error}; set dns.nameservers") from None


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _ttl_of(missing: _NoSuchName) -> float:
    return float(missing.args[0])


def _negative_ttl(missing: dns.resolver.NXDOMAIN) -> float:
    """RFC 2308 section 5: the smaller of the SOA's TTL and its minimum."""
    longest = LONGEST_KEPT_NEGATIVE
    responses: dict[dns.name.Name, dns.message.Message] = missing.responses()  # type: ignore[no-untyped-call]  # of dnspython
    for response in responses.values():
        for rrset in response.authority:
            if rrset.rdtype == dns.rdatatype.SOA:
                longest = min(longest, rrset.ttl, rrset[0].minimum)
    return max(longest, SHORTEST_KEPT)


def _first_fault(error: dns.resolver.NoNameservers) -> str:
    """What the nameserver that answered last said: SERVFAIL, REFUSED."""
    faults = error.kwargs.get("errors") or []
    return str(faults[-1][3]) if faults else "SERVFAIL"
