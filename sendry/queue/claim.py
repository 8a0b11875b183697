"""Handing out due recipients under a lease, taking back what is not done, and recovering after a crash."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sendry.queue import rows
from sendry.queue.inflight import Notes
from sendry.queue.states import WAITING, EventKind, Route, Status
from sendry.queue.work import Work
from sendry.store.database import Store
from sendry.store.ids import IdSource
from sendry.store.writer import Row, Transaction

Ask = Callable[[str, Sequence[Any]], list[Row]]
"""Something that reads rows: the store, or a transaction."""

LEASE: Final = timedelta(minutes=20)  # longer than the longest attempt: connect, commands, 10 minutes for the dot
SMALL: Final = 32 * 1024  # content up to this comes along with the claim
PRIORITIES: Final = (0, 1)

_DUE: Final = (
    "SELECT r.id, r.message_id, r.address, r.destination, r.route, r.original, r.attempts,"
    " r.is_possible_duplicate, r.notify, r.orcpt, r.is_delay_told, r.created_at, m.sender, m.domain,"
    " m.header_from, m.origin, m.priority, m.size, m.smtputf8, m.eight_bit, m.ret, m.envid, m.recipient_count,"
    " r.status, m.spool"
    " FROM recipient r JOIN message m ON m.id = r.message_id"
    " WHERE r.priority = ? AND r.next_attempt_at <= ? ORDER BY r.next_attempt_at LIMIT ?"
)
_TAKE: Final = (
    "UPDATE recipient SET status = 'sending', next_attempt_at = NULL, lease_until = ?, lease_node = ?"
    " WHERE id = ? AND next_attempt_at IS NOT NULL"
)
_GIVE_BACK: Final = (
    "UPDATE recipient SET status = ?, next_attempt_at = ?, lease_until = NULL, lease_node = NULL"
    " WHERE id = ? AND status = 'sending' AND lease_node = ? AND lease_until = ?"
)
_HELD: Final = "SELECT id, message_id, attempts, lease_node, lease_until FROM recipient WHERE lease_until IS NOT NULL"


def lease_of(now: datetime) -> int:
    """The end of a lease that begins now, in ms; it also tells one lease from an earlier one of the same node."""
    return rows.to_ms(now + LEASE)


def due_change(node: int, now: datetime, limit: int) -> Callable[[Transaction], list[Row]]:
    """The change that takes up to `limit` due recipients, transactional mail first."""
    moment, lease = rows.to_ms(now), lease_of(now)

    def change(tx: Transaction) -> list[Row]:
        lock = "" if tx.dialect == "sqlite" else " FOR UPDATE OF r SKIP LOCKED"
        found: list[Row] = []
        for priority in PRIORITIES:
            if len(found) < limit:
                found += tx.execute(_DUE + lock, (priority, moment, limit - len(found)))
        if not found:
            return found
        taken = tx.change_many(_TAKE, [(lease, node, row[0]) for row in found])
        if taken != len(found):  # rows are locked here, so this cannot be a race
            raise RuntimeError(f"claimed {taken} of {len(found)} recipients")
        for status in WAITING:
            number = sum(row[23] == status for row in found)
            rows.moved(tx, status, Status.SENDING, number)
        return found

    return change


def _contents(ask: Ask, claimed: Sequence[Row]) -> dict[int, bytes]:
    wanted = list({row[1] for row in claimed if row[17] <= SMALL and not row[24]})
    found: dict[int, bytes] = {}
    for start in range(0, len(wanted), 500):
        some = wanted[start : start + 500]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT message_id, octets FROM content WHERE part = 0 AND message_id IN ({marks})"
        found.update((message_id, bytes(octets)) for message_id, octets in ask(sql, some))
    return found


def next_due(ask: Ask) -> datetime | None:
    """When the next recipient is due, or None when nothing waits."""
    first: int | None = None
    for priority in PRIORITIES:
        found = ask(
            "SELECT next_attempt_at FROM recipient WHERE priority = ? AND next_attempt_at IS NOT NULL"
            " ORDER BY next_attempt_at LIMIT 1",
            (priority,),
        )
        if found and (first is None or found[0][0] < first):
            first = found[0][0]
    return None if first is None else rows.to_moment(first)


def to_work(ask: Ask, claimed: Sequence[Row], lease: int) -> list[Work]:
    """Claimed rows as values, small contents read along; `lease` is `lease_of` the time of the claim."""
    contents = _contents(ask, claimed)
    return [
        Work(
            recipient_id=row[0],
            message_id=row[1],
            address=row[2],
            destination=row[3],
            route=Route(row[4]),
            original=row[5],
            attempts=row[6],
            is_possible_duplicate=bool(row[7]),
            notify=row[8],
            orcpt=row[9],
            is_delay_told=bool(row[10]),
            created_at=rows.to_moment(row[11]),
            sender=row[12],
            domain=row[13],
            header_from=row[14],
            origin_kind=row[15],
            priority=row[16],
            size=row[17],
            smtputf8=bool(row[18]),
            eight_bit=bool(row[19]),
            ret=row[20],
            envid=row[21],
            recipient_count=row[22],
            small=contents.get(row[1]),
            lease=lease,
        )
        for row in claimed
    ]


def _derive_untried(tx: Transaction, attempts: int, message_id: int, moment: int) -> None:
    # A recipient that was put off without a try was deferred and is pending again; with tries it stays deferred.
    if not attempts:
        rows.derive_status(tx, message_id, moment)


def release_change(node: int, work: Sequence[Work], until: datetime, now: datetime) -> Callable[[Transaction], int]:
    """The change that gives claimed recipients back untouched, due again at `until`."""
    due, moment = rows.to_ms(until), rows.to_ms(now)

    def change(tx: Transaction) -> int:
        given = 0
        for item in work:
            status = rows.waiting_status(item.attempts)
            if tx.change(_GIVE_BACK, (status.value, due, item.recipient_id, node, item.lease)):
                rows.moved(tx, Status.SENDING, status)
                _derive_untried(tx, item.attempts, item.message_id, moment)
                given += 1
        return given

    return change


def needs_recovery(store: Store, now: datetime, dead_nodes: Collection[int]) -> bool:
    """Whether there is anything for `recover_change` to do; most of the time there is not."""
    held = store.rows(
        "SELECT lease_node, MIN(lease_until) FROM recipient WHERE lease_until IS NOT NULL GROUP BY lease_node"
    )
    return any(node in dead_nodes or until < rows.to_ms(now) for node, until in held)


def recover_change(
    ids: IdSource, now: datetime, dead_nodes: Collection[int], notes: Notes
) -> Callable[[Transaction], int]:
    """The change that returns recipients whose holder died: leases run out, or held by a node known dead.

    Those noted as delivered are. Those noted as sent may have arrived: they get an attempt with outcome unknown
    and are marked.
    """
    moment = rows.to_ms(now)

    def change(tx: Transaction) -> int:
        found = tx.execute(f"{_HELD} AND lease_until < ?", (moment,))
        for node in dead_nodes:
            found += tx.execute(f"{_HELD} AND lease_until >= ? AND lease_node = ?", (moment, node))
        recovered = 0
        for recipient_id, message_id, attempts, node, lease in found:
            if recipient_id in notes.delivered:
                recovered += _note_delivered(tx, ids.next(), message_id, recipient_id, node, lease, moment)
                continue
            is_unknown = recipient_id in notes.sent
            status = Status.DEFERRED if is_unknown else rows.waiting_status(attempts)
            if not tx.change(_GIVE_BACK, (status.value, moment, recipient_id, node, lease)):
                continue  # another node was quicker
            rows.moved(tx, Status.SENDING, status)
            if is_unknown:
                _note_unknown(tx, ids.next(), message_id, recipient_id, moment)
            else:
                _derive_untried(tx, attempts, message_id, moment)
            recovered += 1
        return recovered

    return change


_STOPPED: Final = "Sendry stopped before the reply to the message came"
_LOST_WORDS: Final = "Delivered; Sendry stopped before it had written down the words of the reply"


def _note_delivered(
    tx: Transaction, number: int, message_id: int, recipient_id: int, node: int, lease: int, moment: int
) -> int:
    ended = tx.change(
        "UPDATE recipient SET status = 'delivered', next_attempt_at = NULL, lease_until = NULL, lease_node = NULL,"
        " attempts = attempts + 1, last_code = 250, last_enhanced = '', last_response = ?, updated_at = ?"
        " WHERE id = ? AND status = 'sending' AND lease_node = ? AND lease_until = ?",
        (_LOST_WORDS, moment, recipient_id, node, lease),
    )
    if ended:
        rows.moved(tx, Status.SENDING, Status.DELIVERED)
        _note_ended(tx, number, message_id, recipient_id, Status.DELIVERED, moment)
    return ended


def _note_unknown(tx: Transaction, number: int, message_id: int, recipient_id: int, moment: int) -> None:
    tx.change(
        "UPDATE recipient SET attempts = attempts + 1, is_possible_duplicate = ?, last_code = 0,"
        " last_enhanced = '', last_response = ?, updated_at = ? WHERE id = ?",
        (True, _STOPPED, moment, recipient_id),
    )
    _note_ended(tx, number, message_id, recipient_id, Status.DEFERRED, moment)


def _note_ended(
    tx: Transaction, number: int, message_id: int, recipient_id: int, status: Status, moment: int
) -> None:
    """The attempt, the event and the sums of what a dead process had begun."""
    is_delivered = status is Status.DELIVERED
    attempt: tuple[Any, ...] = (
        number, message_id, recipient_id, moment, 0, "", "", "", "", "", 250 if is_delivered else 0, "",
        _LOST_WORDS if is_delivered else _STOPPED, "delivered" if is_delivered else "unknown", "",
    )  # fmt: skip
    tx.add(rows.INSERT_ATTEMPT, [attempt])
    kind = EventKind.DELIVERED if is_delivered else EventKind.DEFERRED
    detail = "" if is_delivered else '{"outcome":"unknown"}'
    tx.add(rows.INSERT_EVENT, [(number, message_id, recipient_id, kind.value, moment, detail)])
    tx.count(f"total.{status.value}", 1)
    for (domain,) in tx.execute("SELECT domain FROM message WHERE id = ?", (message_id,)):
        tx.tally(moment - moment % rows.HOUR_MS, domain, status.value, 1)
    rows.derive_status(tx, message_id, moment)
