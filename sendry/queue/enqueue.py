"""Writing new messages: all rows of a message in one transaction, shared with whoever comes at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from sendry.queue import handover, rows
from sendry.queue.states import EventKind, Route, Status
from sendry.queue.work import NewMessage
from sendry.store.ids import IdSource
from sendry.store.spool import Spool
from sendry.store.writer import Row, Transaction

Change = Callable[[Transaction], None]

_State = tuple[str, int | None, int | None, int | None]  # status, next_attempt_at, lease_until, lease_node
_PENDING: Final = Status.PENDING.value
_SENDING: Final = Status.SENDING.value
_CAPTURED: Final[_State] = (Status.DELIVERED.value, None, None, None)


class _Gathered:
    """The rows of some messages, made before the writer's turn so that its thread only hands them over."""

    def __init__(self) -> None:
        self.inserts: dict[str, list[Row]] = {
            rows.INSERT_MESSAGE: [],
            rows.INSERT_CONTENT: [],
            rows.INSERT_RECIPIENT: [],
            rows.INSERT_EVENT: [],
        }
        self.counts: dict[str, int] = {}
        self.tallies: dict[tuple[int, str, str], int] = {}
        self.spooled: list[tuple[int, str, int]] = []
        self.after: list[Callable[[], None]] = []
        self.has_work = False

    def insert(self, statement: str, row: Row) -> None:
        self.inserts.setdefault(statement, []).append(row)

    def count(self, name: str, delta: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + delta

    def tally(self, hour: int, domain: str, kind: str, delta: int) -> None:
        key = (hour, domain, kind)
        self.tallies[key] = self.tallies.get(key, 0) + delta


def _gather(gathered: _Gathered, ids: IdSource, node: int, message: NewMessage, taker: handover.Taker | None) -> None:
    now, due = rows.to_ms(message.now), rows.to_ms(message.due)
    hand = handover.of(taker, message)
    octets = message.content.head + message.content.body
    small = handover.small_of(message.content, octets)
    hour = now - now % rows.HOUR_MS
    taken = ids.take(1 + 2 * len(message.recipients))
    content, origin = message.content, message.origin
    captured = delivered = 0
    for index, recipient in enumerate(message.recipients):
        recipient_id = taken[2 * index + 1]
        is_captured = recipient.route == Route.CAPTURE
        state: _State
        if is_captured:
            state = _CAPTURED
        elif hand is not None:
            state = (_SENDING, None, hand.lease, node)
            hand.add(message, recipient, recipient_id, small)
        else:
            state = (_PENDING, due, None, None)
        gathered.inserts[rows.INSERT_RECIPIENT].append(
            (
                recipient_id, message.id, recipient.address, recipient.destination, recipient.original,
                recipient.route.value, *state, message.priority, 0, False, 0, 0, "", "", "", recipient.notify,
                recipient.orcpt, False, now, now,
            )
        )  # fmt: skip
        if is_captured:
            captured += 1
            gathered.inserts[rows.INSERT_EVENT].append(
                (taken[2 * index + 2], message.id, recipient_id, EventKind.CAPTURED.value, now, "")
            )
        else:
            delivered += 1
    status = Status.PENDING if delivered else Status.DELIVERED
    tags = list(dict.fromkeys(rows.clean(tag, 100) for tag in message.tags))
    gathered.inserts[rows.INSERT_MESSAGE].append(
        (
            message.id, message.sender, rows.clean(message.header_from, 500), rows.clean(message.subject, 255),
            rows.clean(message.header_id, 255), message.domain, message.mode, status.value, origin.kind.value,
            origin.name, origin.client_ip, content.size, len(message.recipients), message.priority,
            message.smtputf8, message.eight_bit, message.ret, message.envid, content.spool, content.spool_offset,
            json.dumps(dict(message.metadata)) if message.metadata else "",
            json.dumps(tags) if tags else "", now, now,
        )
    )  # fmt: skip
    gathered.inserts[rows.INSERT_CONTENT].append((message.id, 0, octets))
    gathered.inserts[rows.INSERT_EVENT].append((taken[0], message.id, None, EventKind.ACCEPTED.value, now, ""))
    for tag in tags:
        gathered.insert(rows.INSERT_TAG, (tag, message.id))
    if message.capture is not None:
        capture = message.capture
        gathered.insert(
            rows.INSERT_CAPTURE,
            (
                message.id, capture.mailbox, json.dumps(capture.recipients),
                json.dumps(capture.original_to) if capture.original_to else "", False, "", "", 0, 0, False, now,
            ),
        )  # fmt: skip
        gathered.count("capture.total", 1)
        gathered.count("capture.unread", 1)
    if content.spool:
        gathered.spooled.append((message.id, content.spool, content.spool_offset))
    gathered.count("queue.pending" if hand is None else "queue.sending", delivered)
    gathered.count("queue.delivered", captured)
    if hand is not None:
        gathered.after.append(hand.give)
    elif delivered:
        gathered.has_work = True
    gathered.count("total.accepted", len(message.recipients))
    gathered.count("total.captured", captured)
    gathered.tally(hour, message.domain, "accepted", len(message.recipients))
    gathered.tally(hour, message.domain, "captured", captured)


def _copy_spooled(tx: Transaction, spool: Spool, spooled: Sequence[tuple[int, str, int]]) -> None:
    # Other machines over the same PostgreSQL do not see our spool folder, so the octets move into the table.
    for message_id, name, offset in spooled:
        for part, octets in enumerate(spool.chunks(name, offset), start=1):
            tx.change(rows.INSERT_CONTENT, (message_id, part, octets))
        tx.change("UPDATE message SET spool = '', spool_offset = 0 WHERE id = ?", (message_id,))
        tx.after.append(lambda name=name: spool.remove(name))  # type: ignore[misc]  # mypy cannot type a default


def change_for(
    messages: Sequence[NewMessage],
    ids: IdSource,
    node: int,
    spool: Spool,
    wake: Callable[[], None],
    taker: handover.Taker | None = None,
) -> Change:
    """The change that writes these messages.

    After the commit `taker` gets what is due now and it has room for; for the rest that is due `wake` is called.
    """
    gathered = _Gathered()
    for message in messages:
        _gather(gathered, ids, node, message, taker)

    def change(tx: Transaction) -> None:
        for statement, lines in gathered.inserts.items():
            tx.add(statement, lines)
        for name, delta in gathered.counts.items():
            tx.count(name, delta)
        for (hour, domain, kind), delta in gathered.tallies.items():
            tx.tally(hour, domain, kind, delta)
        if gathered.spooled and tx.dialect != "sqlite":
            # The message rows must be there before their spool columns change.
            tx.flush()
            _copy_spooled(tx, spool, gathered.spooled)
        tx.after += gathered.after
        if gathered.has_work and wake not in tx.after:
            tx.after.append(wake)

    return change
