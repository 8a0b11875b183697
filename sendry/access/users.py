"""The people who sign in to the panel: accounts, roles, passwords, the first admin.

Writer of the table `account`; `sessions` notes there when a person was last seen. Hashing a password takes
about 35 ms and 19 MiB, so everything here that takes a password belongs into a thread that may block, never on
an event loop. Whether an address is known cannot be told from how long a refusal takes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sendry.store.database import Store
from sendry.store.writer import Transaction

SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 1024
_LONGEST_EMAIL: Final = 254
_SELECT: Final = "SELECT id, email, name, role, locale, created_at, last_seen_at, password_hash FROM account "
# Same cost as a real one, of a password nobody knows.
_NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$5YfJOCaQXHyCBcSUsZLVeA$uxL6NoNQGYWq76AjVofdo6BZWPwKY6LjBOommIE0Zhc"


class Role(StrEnum):
    """What a person may do: viewer reads, editor also acts on mail, admin does everything."""

    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Person:
    """One account, without its password."""

    id: int
    email: str
    name: str
    role: Role
    locale: str
    created_at: datetime
    last_seen_at: datetime | None

    @property
    def may_act(self) -> bool:
        """Whether retry, cancel, delete and the like are open to this person."""
        return self.role in (Role.ADMIN, Role.EDITOR)

    @property
    def initials(self) -> str:
        """One or two letters that stand for the person in the top bar."""
        words = (self.name or self.email.split("@")[0]).replace(".", " ").split()
        return "".join(word[0] for word in words[:2]).upper() or "?"


class UserFault(ValueError):
    """A value that an account cannot have. `code` names the fault for whoever words it in another language."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


def checked_email(text: str) -> str:
    """The sign-in address in lower case; raises UserFault."""
    email = text.strip().lower()
    local, at, domain = email.rpartition("@")
    is_plain = not any(char.isspace() or ord(char) < 32 for char in email)
    if not (local and at and domain and is_plain) or len(email) > _LONGEST_EMAIL:
        raise UserFault("email", "email", f"«{text.strip()}» is not an address. Write it like name@example.com.")
    return email


def checked_password(text: str) -> str:
    """The password itself when it is long enough; raises UserFault."""
    if len(text) < SHORTEST_PASSWORD:
        raise UserFault("password", "short", f"A password has at least {SHORTEST_PASSWORD} characters.")
    if len(text) > LONGEST_PASSWORD:
        raise UserFault("password", "long", f"A password has at most {LONGEST_PASSWORD} characters.")
    return text


class Users:
    """The accounts of one installation. `secret` is the web secret that the first-admin link hangs on."""

    def __init__(self, store: Store, secret: str) -> None:
        self._store = store
        self._secret = secret.encode()
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._at_once = threading.BoundedSemaphore(2)  # bounds the memory of a flood of sign-ins

    # -- reading

    def has_any(self) -> bool:
        """Whether anybody can sign in."""
        return bool(self._store.rows("SELECT 1 FROM account LIMIT 1"))

    def all(self) -> list[Person]:
        """Every account, oldest first."""
        return [_person(row) for row in self._store.rows(_SELECT + "ORDER BY created_at, id")]

    def get(self, user_id: int) -> Person | None:
        """The account with this id."""
        rows = self._store.rows(_SELECT + "WHERE id = ?", (user_id,))
        return _person(rows[0]) if rows else None

    def find(self, email: str) -> Person | None:
        """The account with this address, in any case."""
        rows = self._store.rows(_SELECT + "WHERE email = ?", (email.strip().lower(),))
        return _person(rows[0]) if rows else None

    def authenticate(self, email: str, password: str) -> Person | None:
        """The person whose address and password these are, or None. Takes as long either way."""
        rows = self._store.rows(_SELECT + "WHERE email = ?", (email.strip().lower(),))
        kept = str(rows[0][7]) if rows else _NOBODY
        password = password[:LONGEST_PASSWORD]
        with self._at_once:
            try:
                is_right = bool(self._hasher.verify(kept, password))
            except (VerificationError, InvalidHashError):
                is_right = False
        if not rows or not is_right:
            return None
        person = _person(rows[0])
        if self._hasher.check_needs_rehash(kept):
            self._write_password(person.id, self._hash(password), keeps_sessions=True)
        return person

    # -- changing

    def create(self, email: str, name: str, password: str, role: Role, now: datetime) -> Person:
        """Add an account; raises UserFault when the address is taken or a value cannot be."""
        return self._create(email, name, password, role, now, only_first=False)

    def delete(self, email: str) -> bool:
        """Remove an account and end its sessions; False when there is none. The last admin stays: UserFault."""
        address = email.strip().lower()

        def change(tx: Transaction) -> bool:
            rows = tx.execute("SELECT id, role FROM account WHERE email = ?", (address,))
            if not rows:
                return False
            user_id, role = rows[0]
            if role == Role.ADMIN and not _has_other_admin(tx, user_id):
                raise UserFault("email", "last_admin", f"{address} is the last admin. Add another one first.")
            tx.change("DELETE FROM session WHERE user_id = ?", (user_id,))
            return tx.change("DELETE FROM account WHERE id = ?", (user_id,)) == 1

        return self._store.writer.call(change).result()

    def set_password(self, email: str, password: str) -> bool:
        """Give an account a new password and end all its sessions; False when there is no such account."""
        checked_password(password)
        person = self.find(email)
        if person is None:
            return False
        return self._write_password(person.id, self._hash(password), keeps_sessions=False)

    def set_locale(self, user_id: int, locale: str) -> None:
        """Remember the language a person reads."""
        self._store.writer.call(
            lambda tx: tx.change("UPDATE account SET locale = ? WHERE id = ?", (locale, user_id))
        ).result()

    # -- the first admin

    def first_admin_token(self) -> str | None:
        """The secret part of the link that makes the first admin; None once anybody can sign in.

        It is derived from the web secret, so every process of an installation prints and takes the same one.
        """
        return None if self.has_any() else self._first_token()

    def is_first_admin_token(self, token: str) -> bool:
        """Whether this is the token of the link, and the link still counts."""
        is_same = hmac.compare_digest(token.encode(), self._first_token().encode())
        return is_same and not self.has_any()

    def create_first_admin(self, token: str, email: str, name: str, password: str, now: datetime) -> Person | None:
        """Make the first admin; None when the link does not count any more. Of two at once, one wins."""
        if not self.is_first_admin_token(token):
            return None
        try:
            return self._create(email, name, password, Role.ADMIN, now, only_first=True)
        except _NotFirstError:
            return None

    # -- within

    def _first_token(self) -> str:
        return hmac.new(self._secret, b"sendry first admin", hashlib.sha256).hexdigest()[:40]

    def _hash(self, password: str) -> str:
        with self._at_once:
            return self._hasher.hash(password)

    def _write_password(self, user_id: int, password_hash: str, *, keeps_sessions: bool) -> bool:
        def change(tx: Transaction) -> bool:
            if not keeps_sessions:
                tx.change("DELETE FROM session WHERE user_id = ?", (user_id,))
            return tx.change("UPDATE account SET password_hash = ? WHERE id = ?", (password_hash, user_id)) == 1

        return self._store.writer.call(change).result()

    def _create(self, email: str, name: str, password: str, role: Role, now: datetime, *, only_first: bool) -> Person:
        address = checked_email(email)
        password_hash = self._hash(checked_password(password))
        person = Person(secrets.randbelow(2**53), address, name.strip()[:100], role, "", now.astimezone(UTC), None)

        def change(tx: Transaction) -> None:
            if only_first and tx.execute("SELECT 1 FROM account LIMIT 1"):
                raise _NotFirstError
            added = tx.change(
                "INSERT INTO account (id, email, name, password_hash, role, locale, created_at, last_seen_at) "
                "VALUES (?, ?, ?, ?, ?, '', ?, 0) ON CONFLICT (email) DO NOTHING",
                (person.id, address, person.name, password_hash, str(role), _ms(now)),
            )
            if not added:
                raise UserFault("email", "taken", f"{address} has an account already.")

        self._store.writer.call(change).result()
        return person


class _NotFirstError(Exception):
    """Somebody else became the first admin meanwhile."""


def _has_other_admin(tx: Transaction, user_id: int) -> bool:
    return bool(tx.execute("SELECT 1 FROM account WHERE role = ? AND id <> ? LIMIT 1", (str(Role.ADMIN), user_id)))


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _person(row: tuple[Any, ...]) -> Person:
    user_id, email, name, role, locale, created, seen = row[:7]
    return Person(
        user_id,
        email,
        name,
        Role(role),
        locale,
        datetime.fromtimestamp(created / 1000, UTC),
        datetime.fromtimestamp(seen / 1000, UTC) if seen else None,
    )
