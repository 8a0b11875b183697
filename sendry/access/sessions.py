"""Sign-ins that can be ended: a random token in the cookie, its hash in the table `session`.

Sole writer of `session`, beside `users`, which ends the sessions of an account it changes. A copied database
opens nobody's session, and a session that was ended stays ended whatever a cookie says.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sendry.access.users import Person, Role
from sendry.store.database import Store
from sendry.store.writer import Transaction

_SEEN_EVERY_MS: Final = 60_000
_LONGEST_AGENT: Final = 200


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person on one of their sessions."""

    person: Person
    token: str
    expires_at: datetime


class Sessions:
    """The sessions of one installation. Each lasts `lifetime` from its sign-in, used or not."""

    def __init__(self, store: Store, lifetime: timedelta) -> None:
        self._store = store
        self.lifetime = lifetime

    def open(self, user_id: int, now: datetime, client_ip: str = "", agent: str = "") -> str:
        """Start a session and return its token, which is kept nowhere else."""
        token = secrets.token_urlsafe(32)
        row = (
            _hashed(token),
            user_id,
            _ms(now),
            _ms(now + self.lifetime),
            _ms(now),
            client_ip,
            agent[:_LONGEST_AGENT],
        )

        def change(tx: Transaction) -> None:
            # Each sign-in clears away what is past its time: the table needs no job of its own.
            tx.change("DELETE FROM session WHERE expires_at <= ?", (_ms(now),))
            tx.change(
                "INSERT INTO session (token_hash, user_id, created_at, expires_at, seen_at, client_ip, agent) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

        self._store.writer.call(change).result()
        return token

    def find(self, token: str, now: datetime) -> SignedIn | None:
        """Who holds this token now; None when it is unknown, ended or past its time."""
        token_hash = _hashed(token)
        rows = self._store.rows(
            "SELECT a.id, a.email, a.name, a.role, a.locale, a.created_at, a.last_seen_at, s.expires_at, s.seen_at "
            "FROM session s JOIN account a ON a.id = s.user_id WHERE s.token_hash = ? AND s.expires_at > ?",
            (token_hash, _ms(now)),
        )
        if not rows:
            return None
        user_id, email, name, role, locale, created, last_seen, expires, seen = rows[0]
        if _ms(now) - seen >= _SEEN_EVERY_MS:
            self._note_seen(token_hash, user_id, _ms(now))
        person = Person(
            user_id, email, name, Role(role), locale, _utc(created), _utc(last_seen) if last_seen else None
        )
        return SignedIn(person, token, _utc(expires))

    def end(self, token: str) -> None:
        """End one session."""
        token_hash = _hashed(token)
        self._store.writer.call(
            lambda tx: tx.change("DELETE FROM session WHERE token_hash = ?", (token_hash,))
        ).result()

    def _note_seen(self, token_hash: str, user_id: int, now_ms: int) -> None:
        # Nobody waits for it: a page must not cost a sync to disk.
        self._store.writer.call(
            lambda tx: (
                tx.change("UPDATE session SET seen_at = ? WHERE token_hash = ?", (now_ms, token_hash)),
                tx.change("UPDATE account SET last_seen_at = ? WHERE id = ?", (now_ms, user_id)),
            )
        )


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
