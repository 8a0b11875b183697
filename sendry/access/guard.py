"""The guard against guessing: who failed to sign in too often, by IP address and by name, is blocked for a while.

One guard serves all SMTP listeners and the panel. Writer of the table `auth_failure`. Promises: a check is a look
into memory and costs no query; a block outlasts a restart; memory and table stay bounded however many names and
addresses are tried.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

from sendry.config.tree import Config
from sendry.store.database import Store
from sendry.store.writer import Transaction

log = logging.getLogger(__name__)

_MOST_KEPT: Final = 20_000  # subjects in memory; above it what has run out, then the oldest, is forgotten
_LONGEST_NAME: Final = 200  # characters; longer names, and those no database keeps, are told apart by a digest

_SAVE: Final = (
    "INSERT INTO auth_failure (subject, failures, window_start, blocked_until) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (subject) DO UPDATE SET failures = excluded.failures, window_start = excluded.window_start, "
    "blocked_until = excluded.blocked_until"
)


@dataclass(slots=True)
class _Record:
    failures: int
    window_start: int  # Unix ms
    blocked_until: int = 0  # Unix ms, 0 = not blocked


class Guard:
    """Counts failures per subject within a window; thread-safe. `smtp.auth.max_failures` 0 = never blocks."""

    def __init__(self, config: Config, store: Store) -> None:
        auth = config.smtp.auth
        self._store = store
        self._max_failures = auth.max_failures
        self._block_ms = int(auth.block_duration.total_seconds() * 1000)
        self._window_ms = int(auth.failure_window.total_seconds() * 1000)
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def load(self, now: datetime) -> None:
        """Take over what the table knows, and drop from it what has run out. Blocks on the database.

        Called at the start, and now and then where several processes share the table: what both know is kept as the
        stricter of the two.
        """
        at = _ms(now)
        oldest = at - self._window_ms
        with self._lock:
            for subject, failures, window_start, blocked_until in self._store.rows(
                "SELECT subject, failures, window_start, blocked_until FROM auth_failure "
                "WHERE blocked_until > ? OR window_start > ?",
                (at, oldest),
            ):
                known = self._records.get(subject)
                if known is None or (known.window_start, known.failures) < (window_start, failures):
                    self._records[subject] = _Record(failures, window_start, blocked_until)
                elif known.blocked_until < blocked_until:
                    known.blocked_until = blocked_until
        self._later(
            lambda tx: tx.change(
                "DELETE FROM auth_failure WHERE blocked_until <= ? AND window_start <= ?", (at, oldest)
            )
        )

    def is_blocked(self, ip: str, name: str, now: datetime) -> datetime | None:
        """Until when this address or this name is blocked, whichever is later; None when neither is."""
        if not self._records:
            return None
        at, until = _ms(now), 0
        for subject in _subjects(ip, name):
            record = self._records.get(subject)
            if record is not None and record.blocked_until > at:
                until = max(until, record.blocked_until)
        return datetime.fromtimestamp(until / 1000, UTC) if until else None

    def failed(self, ip: str, name: str, now: datetime) -> Future[Any] | None:
        """Note a failure. The future, if any, tells when it is on disk; nobody has to wait for it."""
        if not self._max_failures:
            return None
        at = _ms(now)
        rows = []
        with self._lock:
            for subject in _subjects(ip, name):
                record = self._records.get(subject)
                if record is None or record.window_start <= at - self._window_ms:
                    blocked_until = record.blocked_until if record is not None else 0
                    record = self._records[subject] = _Record(0, at, blocked_until)
                record.failures += 1
                if record.failures >= self._max_failures:
                    record.blocked_until = at + self._block_ms
                    # The next window begins behind the block: one more failure then is the first again.
                    record.failures, record.window_start = 0, record.blocked_until
                    log.warning("blocked after failed sign-ins", extra={"by": subject.partition(":")[0]})
                rows.append((subject, record.failures, record.window_start, record.blocked_until))
            forgotten = self._forget(at)
        return self._later(lambda tx: _write(tx, rows, forgotten))

    def succeeded(self, ip: str, name: str) -> Future[Any] | None:
        """Forget the failures of somebody who got in."""
        with self._lock:
            known = [subject for subject in _subjects(ip, name) if self._records.pop(subject, None) is not None]
        return self._later(lambda tx: _write(tx, (), known)) if known else None

    def _forget(self, at: int) -> list[str]:
        if len(self._records) <= _MOST_KEPT:
            return []
        oldest = at - self._window_ms
        gone = [
            subject
            for subject, record in self._records.items()
            if record.blocked_until <= at and record.window_start <= oldest
        ]
        if len(self._records) - len(gone) > _MOST_KEPT * 3 // 4:
            by_age = sorted(self._records, key=lambda subject: self._records[subject].window_start)
            gone = by_age[: len(by_age) - _MOST_KEPT * 3 // 4]
        for subject in gone:
            del self._records[subject]
        return gone

    def _later(self, change: Any) -> Future[Any]:
        future: Future[Any] = self._store.writer.call(change)
        future.add_done_callback(_report)
        return future


def _report(future: Future[Any]) -> None:
    error = future.exception()
    if error is not None:
        log.error("failed sign-ins could not be saved", extra={"error": str(error)})


def _write(tx: Transaction, rows: Iterable[tuple[str, int, int, int]], forgotten: Iterable[str]) -> None:
    tx.change_many(_SAVE, sorted(rows))
    tx.change_many("DELETE FROM auth_failure WHERE subject = ?", [(subject,) for subject in sorted(forgotten)])


def _subjects(ip: str, name: str) -> list[str]:
    found = []
    if ip:
        found.append(f"ip:{_network(ip)}")
    if name:
        folded = name.casefold()
        if len(folded) > _LONGEST_NAME or not folded.isprintable():
            folded = hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()
        found.append(f"name:{folded}")
    return found


def _network(ip: str) -> str:
    """An IPv6 customer has a /64: counting single addresses would count nothing."""
    if ":" not in ip:
        return ip
    try:
        address = ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
