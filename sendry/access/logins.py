"""SMTP logins: names and passwords (plain or argon2id) of the configuration, compared without telling which was
wrong.

Promises: an unknown name takes as long to refuse as a wrong password; hashing never runs on an event loop, and only
a few at a time, for each takes 19 MiB; a login that was right is known again for a while without hashing, from a
keyed digest that is worth nothing outside this process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

AT_ONCE: Final = 3
"""Hashes computed at the same time."""

_REMEMBERED_SECONDS: Final = 300.0
_MOST_REMEMBERED: Final = 10_000
_LONGEST_PASSWORD: Final = 1024  # octets; what is longer is nobody's

# The cost of a sign-in on a public port: 19 MiB and about 35 ms (RFC 9106 section 4 allows more where memory does).
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
hashing: Final = threading.BoundedSemaphore(AT_ONCE)


def hash_password(password: str) -> str:
    """The password as `smtp.auth.users` wants it: an argon2id hash. Blocks for about 35 ms."""
    with hashing:
        return _HASHER.hash(password)


def is_hash(stored: str) -> bool:
    """Whether a configured password is an argon2 hash, not clear text."""
    return stored.startswith("$argon2")


def verify_hash(stored: str, password: str) -> bool:
    """Whether an argon2 hash is of this password. Blocks for about 35 ms; a broken hash is of none."""
    with hashing:
        try:
            return _HASHER.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


class Logins:
    """Who may sign in by SMTP. With `accepts_any` (sandbox profile) everybody, whatever the password."""

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        accepts_any: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accepts_any = accepts_any
        self._monotonic = monotonic
        self._key = secrets.token_bytes(32)
        self._remembered: dict[str, tuple[bytes, float]] = {}  # name: digest of the password, good until
        self.workers = ThreadPoolExecutor(AT_ONCE, "sign-in")
        self._nobody = ""
        self._users: dict[str, str] = {}
        self.replace(users)

    def replace(self, users: Mapping[str, str]) -> None:
        """Take over a changed configuration; what was remembered is forgotten."""
        # Of the same cost as a real one, and nobody's password.
        has_hashes = any(is_hash(stored) for stored in users.values())
        self._nobody = hash_password(secrets.token_hex(16)) if has_hashes else ""
        self._users = dict(users)
        self._remembered = {}

    @property
    def is_open(self) -> bool:
        """Whether there is anybody who could sign in."""
        return self._accepts_any or bool(self._users)

    def remembers(self, name: str, password: str) -> bool:
        """Whether these were right a short while ago (or any are); never blocks. False says nothing."""
        if self._accepts_any:
            return True
        known = self._remembered.get(name)
        if known is None or known[1] < self._monotonic():
            return False
        return hmac.compare_digest(known[0], self._digest(name, password))

    def verify(self, name: str, password: str) -> bool:
        """Whether name and password are right. Blocks: run it in `workers`."""
        if self._accepts_any:
            return True
        users, nobody = self._users, self._nobody
        if len(password) > _LONGEST_PASSWORD:
            password = ""
        stored = users.get(name, "")
        if is_hash(stored):
            is_right = verify_hash(stored, password)
        else:
            if nobody:  # where some take 35 ms, all do
                verify_hash(nobody, password)
            is_same = hmac.compare_digest(self._digest(name, stored), self._digest(name, password))
            is_right = is_same and bool(stored)
        if is_right and users is self._users:
            self._remember(name, password)
        return is_right

    def close(self) -> None:
        """Let the threads end."""
        self.workers.shutdown(wait=False, cancel_futures=True)

    def _remember(self, name: str, password: str) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered = {}
        self._remembered[name] = (self._digest(name, password), self._monotonic() + _REMEMBERED_SECONDS)

    def _digest(self, name: str, password: str) -> bytes:
        told = f"{name}\0{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, hashlib.sha256(told).digest(), "sha256")
