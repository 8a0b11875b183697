"""Reading the line and its history for people: lists by cursor, one message with everything, sums from counters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sendry.mail.address import BadAddress, normalise
from sendry.queue import rows
from sendry.queue.states import WAITING, EventKind, Status, of_message
from sendry.queue.views import (
    AttemptRow,
    Counts,
    DeadStats,
    DestinationRow,
    EventRow,
    MessageFilter,
    MessageRow,
    MessageView,
    Page,
    RecipientRow,
)
from sendry.store.database import Store
from sendry.store.ids import floor_of, from_text, to_text

EXACT_UP_TO: Final = 10_000


@dataclass
class _Where:
    parts: list[str] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)

    def add(self, sql: str, *params: object) -> None:
        self.parts.append(sql)
        self.params.extend(params)

    def sql(self) -> str:
        return " AND ".join(self.parts) if self.parts else "1 = 1"


_COLUMNS: Final = (
    "m.id, m.status, m.sender, m.header_from, m.subject, m.header_id, m.domain, m.mode, m.origin, m.origin_name,"
    " m.client_ip, m.size, m.recipient_count, m.priority, m.tags, m.metadata, m.created_at, m.updated_at"
)
_LEASED: Final = "SELECT message_id FROM recipient WHERE lease_until IS NOT NULL"
_ESCAPE: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


def _asked(text: str) -> str:
    # What no stored text has (a NUL, half a surrogate pair, a novel) is an error of the driver when asked for.
    return rows.clean(text, 500)


class Lookup:
    """Questions to the tables of the line. Reads only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # SQLite folds ASCII only; the store gives it a function that folds Cyrillic too.
        self._fold = "fold" if store.dialect == "sqlite" else "LOWER"
        self._folded = str.casefold if store.dialect == "sqlite" else str.lower

    def _contains(self, text: str) -> str:
        return f"%{self._folded(text).translate(_ESCAPE)}%"

    def counts(self) -> Counts:
        """The sums as kept by every change; costs the same however long the history is."""
        values: dict[str, int] = dict(self._store.rows("SELECT name, value FROM counter"))
        by_status = {status.value: max(0, values.get(f"queue.{status}", 0)) for status in Status}
        return Counts(
            **by_status,
            captured=values.get("capture.total", 0),
            unread=values.get("capture.unread", 0),
            dead=values.get("dead.total", 0),
        )

    def totals(self) -> dict[str, int]:
        """Recipient deliveries since the installation was made: accepted, delivered, deferred, failed, captured."""
        found = self._store.rows("SELECT name, value FROM counter WHERE name >= 'total.' AND name < 'total/'")
        return {name.removeprefix("total."): value for name, value in found}

    def oldest_waiting(self) -> datetime | None:
        """When the longest waiting recipient was accepted, or None."""
        index = " INDEXED BY recipient_due" if self._store.dialect == "sqlite" else ""
        found = self._store.rows(f"SELECT MIN(created_at) FROM recipient{index} WHERE next_attempt_at IS NOT NULL")
        return None if found[0][0] is None else rows.to_moment(found[0][0])

    def tallies(self, since: datetime, until: datetime, domain: str = "") -> list[tuple[datetime, str, int]]:
        """Hourly sums (hour, kind, value) over all own domains or one."""
        where = _Where()
        where.add("hour >= ?", rows.to_ms(since) // rows.HOUR_MS * rows.HOUR_MS)
        where.add("hour < ?", rows.to_ms(until))
        if domain:
            where.add("domain = ?", domain)
        found = self._store.rows(
            f"SELECT hour, kind, SUM(value) FROM tally WHERE {where.sql()} GROUP BY hour, kind ORDER BY hour",
            where.params,
        )
        return [(rows.to_moment(hour), kind, int(value)) for hour, kind, value in found]

    def destinations(self, limit: int = 20) -> list[DestinationRow]:
        """What waits, by destination, most first. Walks the waiting rows: for a page, not for a request path."""
        found = self._store.rows(
            "SELECT destination, COUNT(*), MIN(next_attempt_at), MIN(created_at) FROM recipient"
            " WHERE next_attempt_at IS NOT NULL GROUP BY destination ORDER BY COUNT(*) DESC LIMIT ?",
            (limit,),
        )
        return [DestinationRow(d, n, rows.to_moment(due), rows.to_moment(old)) for d, n, due, old in found]

    def messages(self, wanted: MessageFilter, cursor: str = "", limit: int = 50, *, newer: bool = False) -> Page:
        """Messages newest first, from the cursor on; `newer` walks towards now instead."""
        where = self._where(wanted)
        total = self._total(where)
        edge = from_text(cursor) if cursor else None
        if edge is not None:
            where.add("m.id > ?" if newer else "m.id < ?", edge)
        order = "ASC" if newer and edge is not None else "DESC"
        found = self._store.rows(
            f"SELECT {_COLUMNS} FROM message m WHERE {where.sql()} ORDER BY m.id {order} LIMIT ?",
            [*where.params, limit + 1],
        )
        has_more = len(found) > limit
        found = found[:limit]
        if order == "ASC":
            found.reverse()
        items = self._with_recipients(found)
        has_older = has_more if order == "DESC" else bool(found)
        has_newer = has_more if order == "ASC" else edge is not None and bool(found)
        return Page(
            items=items,
            next_cursor=items[-1].id if items and has_older else "",
            total=total,
            previous_cursor=items[0].id if items and has_newer else "",
        )

    def _total(self, where: _Where) -> int | None:
        if not where.parts:
            # Without a filter the newest ids tell soon enough whether there are few.
            sql = "SELECT COUNT(*) FROM (SELECT 1 FROM message LIMIT ?) few"
        else:
            sql = f"SELECT COUNT(*) FROM (SELECT 1 FROM message m WHERE {where.sql()} LIMIT ?) few"
        found = self._store.rows(sql, [*where.params, EXACT_UP_TO + 1])[0][0]
        return None if found > EXACT_UP_TO else int(found)

    def _where(self, wanted: MessageFilter) -> _Where:
        where = _Where()
        if wanted.status is Status.SENDING:
            where.add(f"m.id IN ({_LEASED})")
        elif wanted.status is not None:
            where.add("m.status = ?", wanted.status.value)
            if wanted.status in WAITING:  # a claim does not touch the message row
                where.add(f"m.id NOT IN ({_LEASED})")
        if wanted.is_waiting:
            where.add(f"m.id IN (SELECT message_id FROM recipient WHERE next_attempt_at IS NOT NULL UNION {_LEASED})")
        if wanted.is_dead:
            where.add("m.id IN (SELECT message_id FROM dead_letter)")
        if wanted.domain:
            where.add("m.domain = ?", _asked(wanted.domain).lower())
        if wanted.origin:
            where.add("m.origin = ?", _asked(wanted.origin))
        if wanted.header_id:
            where.add("m.header_id = ?", _asked(wanted.header_id).strip("<>"))
        if wanted.tag:
            where.add("m.id IN (SELECT message_id FROM message_tag WHERE tag = ?)", _asked(wanted.tag))
        if wanted.since:
            where.add("m.id >= ?", floor_of(rows.to_ms(wanted.since)))
        if wanted.until:
            where.add("m.id < ?", floor_of(rows.to_ms(wanted.until)))
        if wanted.subject:
            where.add(f"{self._fold}(m.subject) LIKE ? ESCAPE '\\'", self._contains(_asked(wanted.subject)))
        if wanted.address:
            self._narrow_address(where, _asked(wanted.address))
        if wanted.text:
            self._narrow_text(where, _asked(wanted.text))
        return where

    @staticmethod
    def _narrow_address(where: _Where, address: str) -> None:
        with suppress(BadAddress):
            address = normalise(address)
        where.add("(m.sender = ? OR m.id IN (SELECT message_id FROM recipient WHERE address = ?))", address, address)

    def _narrow_text(self, where: _Where, text: str) -> None:
        like, fold = self._contains(text), self._fold
        where.add(
            f"({fold}(m.subject) LIKE ? ESCAPE '\\' OR {fold}(m.sender) LIKE ? ESCAPE '\\'"
            f" OR {fold}(m.header_from) LIKE ? ESCAPE '\\' OR m.header_id = ?"
            " OR EXISTS (SELECT 1 FROM recipient r WHERE r.message_id = m.id"
            f" AND ({fold}(r.address) LIKE ? ESCAPE '\\' OR {fold}(r.original) LIKE ? ESCAPE '\\')))",
            like, like, like, text.strip("<>"), like, like,
        )  # fmt: skip

    def _with_recipients(self, found: Sequence[tuple[Any, ...]]) -> tuple[MessageRow, ...]:
        """Message rows with what their recipients add, one query for the whole page."""
        if not found:
            return ()
        marks = ", ".join("?" * len(found))
        of: dict[int, list[tuple[Any, ...]]] = {}
        for row in self._store.rows(
            "SELECT message_id, address, status, attempts, last_code, last_response, next_attempt_at"
            f" FROM recipient WHERE message_id IN ({marks}) ORDER BY id",
            [row[0] for row in found],
        ):
            of.setdefault(row[0], []).append(row)
        return tuple(_message_row(row, of.get(row[0], [])) for row in found)

    def message(self, message_id: str) -> MessageView | None:
        """One message with recipients, attempts and events, or None."""
        number = from_text(message_id)
        if number is None:
            return None
        found = self._store.rows(f"SELECT {_COLUMNS} FROM message m WHERE m.id = ?", (number,))
        if not found:
            return None
        message = self._with_recipients(found)[0]
        recipients = tuple(
            RecipientRow(
                number=r[0], address=r[1], original=r[2], destination=r[3], route=r[4], status=Status(r[5]),
                attempts=r[6], next_attempt_at=None if r[7] is None else rows.to_moment(r[7]),
                is_possible_duplicate=bool(r[8]), last_code=r[9], last_enhanced=r[10], last_response=r[11],
                bounce_class=r[12], notify=r[13], updated_at=rows.to_moment(r[14]),
            )
            for r in self._store.rows(
                "SELECT id, address, original, destination, route, status, attempts, next_attempt_at,"
                " is_possible_duplicate, last_code, last_enhanced, last_response, bounce_class, notify, updated_at"
                " FROM recipient WHERE message_id = ? ORDER BY id",
                (number,),
            )
        )  # fmt: skip
        attempts = tuple(
            AttemptRow(a[0], a[1], rows.to_moment(a[2]), *a[3:])
            for a in self._store.rows(
                "SELECT id, recipient_id, started_at, duration_ms, host, ip, source_ip, tls, tls_verified, code,"
                " enhanced, response, outcome, bounce_class FROM attempt WHERE message_id = ? ORDER BY id",
                (number,),
            )
        )
        by_number = {attempt.number: attempt for attempt in attempts}
        events = tuple(
            EventRow(
                id=to_text(e[0]), number=e[0], recipient_number=e[1], kind=EventKind(e[2]), at=rows.to_moment(e[3]),
                detail=json.loads(e[4]) if e[4] else {}, attempt=by_number.get(e[0]),
            )
            for e in self._store.rows(
                "SELECT id, recipient_id, kind, at, detail FROM event WHERE message_id = ? ORDER BY at, id", (number,)
            )
        )  # fmt: skip
        return MessageView(
            message=message,
            recipients=recipients,
            attempts=attempts,
            events=events,
            is_dead=bool(self._store.rows("SELECT 1 FROM dead_letter WHERE message_id = ?", (number,))),
            is_captured=bool(self._store.rows("SELECT 1 FROM capture WHERE message_id = ?", (number,))),
        )

    def dead_stats(self) -> DeadStats:
        """How many dead letters there are, and of when."""
        oldest = self._store.rows("SELECT MIN(failed_at) FROM dead_letter")[0][0]
        newest = self._store.rows("SELECT MAX(failed_at) FROM dead_letter")[0][0]
        return DeadStats(
            count=self.counts().dead,
            oldest_at=None if oldest is None else rows.to_moment(oldest),
            newest_at=None if newest is None else rows.to_moment(newest),
        )

    def dead_numbers(self, limit: int, after: int = 0) -> list[int]:
        """Ids of dead letters in order, for acts on all of them in batches."""
        found = self._store.rows(
            "SELECT message_id FROM dead_letter WHERE message_id > ? ORDER BY message_id LIMIT ?", (after, limit)
        )
        return [number for (number,) in found]


def _message_row(row: tuple[Any, ...], recipients: Sequence[tuple[Any, ...]]) -> MessageRow:
    status = of_message(r[2] for r in recipients) if recipients else Status(row[1])
    due = [r[6] for r in recipients if r[6] is not None]
    # What went wrong tells more than what went well; of a message that went well, the reply that said so.
    replied = [r for r in recipients if r[5]]
    unfinished = [r for r in replied if r[2] != Status.DELIVERED]
    last = (unfinished or replied)[-1] if replied else None
    return MessageRow(
        id=to_text(row[0]), number=row[0], status=status, sender=row[2], header_from=row[3], subject=row[4],
        header_id=row[5], domain=row[6], mode=row[7], origin=row[8], origin_name=row[9], client_ip=row[10],
        size=row[11], recipient_count=row[12], priority=row[13], tags=tuple(json.loads(row[14])) if row[14] else (),
        metadata=json.loads(row[15]) if row[15] else {}, created_at=rows.to_moment(row[16]),
        updated_at=rows.to_moment(row[17]), first_recipient=recipients[0][1] if recipients else "",
        attempts=max((r[3] for r in recipients), default=0), last_code=last[4] if last else 0,
        last_response=last[5] if last else "", next_attempt_at=rows.to_moment(min(due)) if due else None,
    )  # fmt: skip
