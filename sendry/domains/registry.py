"""The directory of sending domains: which are ours, in which mode, signed with which keys.

Reads the configuration and key files; keeps parsed keys until their file changes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sendry.config.tree import Config
from sendry.config.values import DomainMode
from sendry.mail.dkim import SigningKey, load_key


class KeyUnreadable(Exception):
    """A DKIM key that must sign cannot be used now; the text says which and why."""


@dataclass(frozen=True, slots=True)
class SendingDomain:
    """One own domain and what happens to its mail."""

    name: str
    mode: DomainMode
    redirect_to: tuple[str, ...] = ()
    bcc_to: tuple[str, ...] = ()
    default_from: str = ""


class Directory:
    """Own domains by name. A subdomain of an own domain is own too: the nearest configured parent decides."""

    def __init__(self, config: Config) -> None:
        self._lock = threading.Lock()
        self._keys: dict[tuple[Path, str, str], tuple[int, SigningKey]] = {}
        self.replace(config)

    def replace(self, config: Config) -> None:
        """Take over a changed configuration; mail that is accepted from now on goes by it."""
        self._is_sandbox_profile = config.is_sandbox_profile
        self._signing = config.dkim_keys
        self._own = {name: _of(name, config) for name in config.own_domains}
        # A new cache, and last: an answer by the old configuration that is being worked out stays in the old one.
        self.find = lru_cache(maxsize=4096)(self._find)

    def own(self) -> tuple[SendingDomain, ...]:
        """Every configured domain."""
        return tuple(self._own.values())

    def _find(self, domain: str) -> SendingDomain | None:
        """The own domain that answers for `domain` (lower-case A-labels), or None when it is not ours.

        In the sandbox profile every domain is ours and captured.
        """
        name = domain
        while name:
            if name in self._own:
                return self._own[name]
            name = name.partition(".")[2]
        if self._is_sandbox_profile and domain:
            return SendingDomain(domain, DomainMode.SANDBOX)
        return None

    def signing_keys(self, from_domain: str) -> tuple[SigningKey, ...]:
        """The keys that sign mail whose From is of this domain; none is configured = empty.

        Raises KeyUnreadable: the mail must wait, it may not go out unsigned.
        """
        name = from_domain
        settings = self._signing
        while name and name not in settings:
            name = name.partition(".")[2]
        return tuple(self._load(key.key_file, name, key.selector) for key in settings.get(name, ()))

    def _load(self, path: Path | None, domain: str, selector: str) -> SigningKey:
        if path is None:
            raise KeyUnreadable(f"the DKIM key {selector} of {domain} has no key_file")
        try:
            changed = path.stat().st_mtime_ns
            with self._lock:
                known = self._keys.get((path, domain, selector))
            if known is not None and known[0] == changed:
                return known[1]
            key = load_key(path.read_bytes(), domain, selector)
        except (OSError, ValueError) as error:
            raise KeyUnreadable(f"the DKIM key {selector} of {domain} cannot be used: {error}") from error
        with self._lock:
            self._keys[path, domain, selector] = (changed, key)
        return key


def _of(name: str, config: Config) -> SendingDomain:
    settings = config.domains.get(name)
    if settings is None:
        return SendingDomain(name, config.default_mode)
    return SendingDomain(
        name, settings.mode, _distinct(settings.redirect_to), _distinct(settings.bcc_to), settings.default_from
    )


def _distinct(addresses: tuple[str, ...]) -> tuple[str, ...]:
    # An address that stands twice in a list would get every mail twice.
    return tuple(dict.fromkeys(addresses))
