"""The sandbox inbox: captured mail as lists and one by one.

Reads the tables; every change goes through `sendry.queue.captures`. Promise: a list costs the same however large the
mails in it are. What it shows of their contents (preview, code, counts) is read once per mail, when it is first
listed, and within a budget per list; what is left out is shown without and read next time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sendry.queue import captures
from sendry.queue.captures import Description
from sendry.queue.line import Queue, StoredContent
from sendry.queue.rows import to_moment
from sendry.sandbox.content import Contents, File, describe, file_at, look_into
from sendry.store.database import Store
from sendry.store.ids import from_text, to_text

EXACT_UP_TO: Final = 10_000  # mails that a search counts; beyond it the total is unknown
DESCRIBED_AT_ONCE: Final = 100
OCTETS_AT_ONCE: Final = 24 * 1024 * 1024
MOST_WORDS: Final = 20
_DELETED_AT_ONCE: Final = 200
_Params = tuple[Any, ...]

_COLUMNS: Final = (
    "c.message_id, m.sender, m.header_from, c.recipients, m.subject, c.is_described, c.preview, m.size, c.created_at,"
    " c.is_read, c.code, c.link_count, c.attachment_count, c.original_to, m.domain, m.mode, m.client_ip"
)
_FROM: Final = "FROM capture c JOIN message m ON m.id = c.message_id"
_HAS_WORD: Final = (
    "(FOLD(m.subject) LIKE ? ESCAPE '\\' OR FOLD(m.header_from) LIKE ? ESCAPE '\\'"
    " OR FOLD(m.sender) LIKE ? ESCAPE '\\' OR EXISTS (SELECT 1 FROM recipient r WHERE r.message_id = c.message_id"
    " AND (FOLD(r.address) LIKE ? ESCAPE '\\' OR FOLD(r.original) LIKE ? ESCAPE '\\')))"
)
_ESCAPE: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


@dataclass(frozen=True, slots=True)
class CapturedRow:
    """One captured mail as lists show it. `header_from` and `subject` are decoded."""

    id: str
    number: int
    sender: str
    header_from: str
    recipients: tuple[str, ...]
    original_to: tuple[str, ...]
    subject: str
    preview: str
    size: int
    created_at: datetime
    is_read: bool
    code: str
    link_count: int
    attachment_count: int
    domain: str
    mode: str
    client_ip: str


@dataclass(frozen=True, slots=True)
class CapturedPage:
    """A part of the inbox, newest first. `total` is None when a search finds more than 10,000."""

    items: tuple[CapturedRow, ...]
    next_cursor: str
    total: int | None


@dataclass(frozen=True, slots=True)
class CapturedMail:
    """One captured mail with what is in it."""

    row: CapturedRow
    contents: Contents


@dataclass(frozen=True, slots=True)
class InboxStats:
    """The inbox in figures."""

    total: int
    unread: int
    total_size: int
    oldest_at: datetime | None
    newest_at: datetime | None
    by_domain: dict[str, int]
    by_mode: dict[str, int]


class Inbox:
    """The captured mail of one installation. Thread-safe; what changes something returns after it is on disk."""

    def __init__(self, store: Store, queue: Queue) -> None:
        self._store = store
        self._queue = queue
        # SQLite folds ASCII only; the store gives it a function that folds Cyrillic too.
        self._has_word = _HAS_WORD.replace("FOLD", "fold" if store.dialect == "sqlite" else "LOWER")

    def list(self, query: str = "", *, cursor: str = "", limit: int = 50, mailbox: str = "") -> CapturedPage:
        """Mail newest first, older than the cursor.

        Every word of `query` must occur in the subject, the sender or a recipient, upper or lower case.
        """
        where, params = self._where(query, mailbox)
        total = self._total(where, params)
        edge = from_text(cursor) if cursor else None
        if edge is not None:
            where, params = f"{where} AND c.message_id < ?", (*params, edge)
        found = self._select(_COLUMNS, where, (*params, limit + 1), "ORDER BY c.message_id DESC LIMIT ?")
        items = self._described(found[:limit])
        return CapturedPage(items, items[-1].id if len(found) > limit else "", total)

    def newer_than(
        self, message_id: str, limit: int = 50, *, query: str = "", mailbox: str = ""
    ) -> tuple[CapturedRow, ...]:
        """The newest mails that came after this one ("": at all), newest first."""
        where, params = self._where(query, mailbox)
        edge = from_text(message_id) or 0
        tail = "AND c.message_id > ? ORDER BY c.message_id DESC LIMIT ?"
        return self._described(self._select(_COLUMNS, where, (*params, edge, limit), tail))

    def find(self, message_id: str) -> CapturedRow | None:
        """One mail as lists show it, or None when it is not (or no longer) captured."""
        number = from_text(message_id)
        if number is None:
            return None
        found = self._select(_COLUMNS, "c.message_id = ?", (number,))
        return self._described(found)[0] if found else None

    def get(self, message_id: str) -> CapturedMail | None:
        """One mail with what is in it, or None. Its read mark stays as it is."""
        row = self.find(message_id)
        stored = self.raw(message_id) if row else None
        return CapturedMail(row, look_into(stored.read())) if row and stored else None

    def raw(self, message_id: str) -> StoredContent | None:
        """The octets of one mail as they were taken in, or None."""
        number = from_text(message_id)
        if number is None or not self._store.rows("SELECT 1 FROM capture WHERE message_id = ?", (number,)):
            return None
        return self._queue.open_content(number)

    def part(self, message_id: str, index: int) -> File | None:
        """The part with this index in `mail.parts`, or None."""
        stored = self.raw(message_id)
        return file_at(stored.read(), index) if stored else None

    def attachment(self, message_id: str, place: int) -> File | None:
        """The attachment with this place in `Contents.attachments`, or None."""
        stored = self.raw(message_id)
        if stored is None:
            return None
        octets = stored.read()
        attachments = look_into(octets).attachments
        return file_at(octets, attachments[place].index) if 0 <= place < len(attachments) else None

    def mark_read(self, message_ids: Sequence[str], *, is_read: bool = True) -> int:
        """Set the read mark; gives how many changed."""
        return captures.mark_read(self._store, _numbers(message_ids), is_read=is_read).result()

    def delete(self, message_ids: Sequence[str]) -> int:
        """Take mail out of the inbox; gives how many were in it."""
        return captures.delete(self._store, _numbers(message_ids)).result()

    def delete_all(self, query: str = "", *, mailbox: str = "") -> int:
        """Take out what the query finds ("": all) of what is there now; gives how many."""
        where, params = self._where(query, mailbox)
        newest = self._select("MAX(c.message_id)", where, params)[0][0]
        deleted = 0
        while newest is not None:  # in pieces, so that mail which comes in meanwhile need not wait for all of it
            tail = "AND c.message_id <= ? ORDER BY c.message_id LIMIT ?"
            found = self._select("c.message_id", where, (*params, newest, _DELETED_AT_ONCE), tail)
            if not found:
                break
            deleted += captures.delete(self._store, [number for (number,) in found]).result()
        return deleted

    def counts(self) -> tuple[int, int]:
        """How many mails there are, and how many of them are unread; from counters."""
        names = ("capture.total", "capture.unread")
        found = self._store.rows("SELECT name, value FROM counter WHERE name IN (?, ?)", names)
        values: dict[str, int] = dict(found)
        return max(0, values.get(names[0], 0)), max(0, values.get(names[1], 0))

    def stats(self) -> InboxStats:
        """Figures of the whole inbox. Walks all captured mail: for a page, not for a request path."""
        sums = "m.domain, m.mode, COUNT(*), SUM(m.size), MIN(c.created_at), MAX(c.created_at)"
        found = self._select(sums, "1 = 1", (), "GROUP BY m.domain, m.mode")
        by_domain: dict[str, int] = {}
        by_mode: dict[str, int] = {}
        for domain, mode, number, *_ in found:
            by_domain[domain] = by_domain.get(domain, 0) + number
            by_mode[mode] = by_mode.get(mode, 0) + number
        total, unread = self.counts()
        return InboxStats(
            total=total,
            unread=unread,
            total_size=sum(int(row[3]) for row in found),
            oldest_at=to_moment(min(row[4] for row in found)) if found else None,
            newest_at=to_moment(max(row[5] for row in found)) if found else None,
            by_domain=by_domain,
            by_mode=by_mode,
        )

    def _select(self, what: str, where: str, params: _Params, tail: str = "") -> Sequence[tuple[Any, ...]]:
        return self._store.rows(f"SELECT {what} {_FROM} WHERE {where} {tail}", params)

    def _where(self, query: str, mailbox: str) -> tuple[str, _Params]:
        words = query.split()[:MOST_WORDS]
        where = " AND ".join(("c.mailbox = ?", *[self._has_word] * len(words)))
        likes = (f"%{word.casefold().translate(_ESCAPE)}%" for word in words)
        return where, (mailbox, *(like for like in likes for _ in range(_HAS_WORD.count("?"))))

    def _total(self, where: str, params: _Params) -> int | None:
        few = f"SELECT COUNT(*) FROM (SELECT 1 {_FROM} WHERE {where} LIMIT ?) AS few"  # noqa: S608 - fixed parts only
        found = self._store.rows(few, (*params, EXACT_UP_TO + 1))[0][0]
        return None if found > EXACT_UP_TO else int(found)

    def _described(self, found: Sequence[tuple[Any, ...]]) -> tuple[CapturedRow, ...]:
        """The rows, the contents of new ones looked into."""
        items: list[CapturedRow] = []
        described: list[Description] = []
        octets = 0
        for columns in found:
            row = _row(columns)
            if not columns[5] and len(described) < DESCRIBED_AT_ONCE and octets < OCTETS_AT_ONCE:
                stored = self._queue.open_content(row.number)
                if stored is not None:
                    octets += row.size
                    new = describe(row.number, stored.read())
                    described.append(new)
                    row = _with(row, new)
            items.append(row)
        if described:
            captures.describe(self._store, described)  # not waited for: it is only remembered
        return tuple(items)


def _row(columns: tuple[Any, ...]) -> CapturedRow:
    return CapturedRow(
        id=to_text(columns[0]), number=columns[0], sender=columns[1], header_from=columns[2],
        recipients=tuple(json.loads(columns[3])), subject=columns[4], preview=columns[6], size=columns[7],
        created_at=to_moment(columns[8]), is_read=bool(columns[9]), code=columns[10], link_count=columns[11],
        attachment_count=columns[12], original_to=tuple(json.loads(columns[13])) if columns[13] else (),
        domain=columns[14], mode=columns[15], client_ip=columns[16],
    )  # fmt: skip


def _with(row: CapturedRow, new: Description) -> CapturedRow:
    return replace(
        row,
        preview=new.preview,
        code=new.code,
        link_count=new.link_count,
        attachment_count=new.attachment_count,
    )


def _numbers(message_ids: Sequence[str]) -> list[int]:
    return [number for number in map(from_text, message_ids) if number is not None]
