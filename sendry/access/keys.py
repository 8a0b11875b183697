"""Who calls over HTTP: the address behind the proxies, and the key that is shown.

Pure but for a cache of addresses. Promise: the key is compared in constant time, and an address is believed
only as far as the trusted proxies reach: what a stranger writes into X-Forwarded-For changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Network = IPv4Network | IPv6Network


class RootKey:
    """The one key of `api.api_key`. An empty one admits nobody."""

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest() if key else b""

    def admits(self, shown: str) -> bool:
        """Whether `shown`, as the HTTP server hands it over (Latin-1), is the key."""
        octets = shown.encode("latin-1", "replace")
        return hmac.compare_digest(hashlib.sha256(octets).digest(), self._digest)


def shown_key(environ: Mapping[str, Any]) -> str:
    """The key of a request, from `Authorization: Bearer KEY`, else `X-API-Key`; "" when it shows none."""
    scheme, _, credentials = str(environ.get("HTTP_AUTHORIZATION", "")).strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return str(environ.get("HTTP_X_API_KEY", "")).strip()


def client_ip(environ: Mapping[str, Any], trusted_proxies: Sequence[Network]) -> str:
    """The caller's address: of the connection, or, where that is a trusted proxy, what the proxies say.

    X-Forwarded-For is read from the right; the first address that is no trusted proxy is the caller. What
    stands left of it, or of something that is no address, was written by a stranger and is not looked at.
    """
    address = str(environ.get("REMOTE_ADDR", ""))
    if not trusted_proxies:
        return address
    forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", ""))
    entries = forwarded.split(",") if forwarded else []
    while entries and is_within(address, trusted_proxies):
        nearer = _address(entries.pop())
        if nearer is None:
            break
        address = str(nearer)
    return address


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether the address lies in one of the networks; what is no address lies in none."""
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in networks)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in one entry: bare, in brackets, with a port, or IPv4 mapped into IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        return parsed.ipv4_mapped or parsed
    return parsed
