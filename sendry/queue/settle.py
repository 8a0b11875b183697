"""Writing down how claimed work ended: attempt, event, state, next attempt, counters, dead letter, together."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sendry.queue import rows
from sendry.queue.states import EventKind, Status
from sendry.queue.work import Result, Tried, Work
from sendry.store.ids import IdSource
from sendry.store.writer import Row, Transaction

log = logging.getLogger(__name__)

MOST_CRASHES: Final = 3
_AFTER_CRASH: Final = timedelta(minutes=5)
_STATUS: Final = {
    "delivered": Status.DELIVERED,
    "failed": Status.FAILED,
    "deferred": Status.DEFERRED,
    "unknown": Status.DEFERRED,
}
_EVENT: Final = {
    Status.DELIVERED: EventKind.DELIVERED,
    Status.FAILED: EventKind.FAILED,
    Status.DEFERRED: EventKind.DEFERRED,
}
_END: Final = (
    "UPDATE recipient SET status = ?, next_attempt_at = ?, lease_until = NULL, lease_node = NULL,"
    " attempts = attempts + ?, last_code = ?, last_enhanced = ?, last_response = ?, bounce_class = ?,"
    " is_possible_duplicate = ?, is_delay_told = ?, updated_at = ?"
    " WHERE id = ? AND status = 'sending' AND lease_node = ? AND lease_until = ?"
)
# Put off without a try: the reply to the last real one stays.
_END_UNTRIED: Final = (
    "UPDATE recipient SET status = ?, next_attempt_at = ?, lease_until = NULL, lease_node = NULL,"
    " attempts = attempts + ?, is_possible_duplicate = ?, is_delay_told = ?, updated_at = ?"
    " WHERE id = ? AND status = 'sending' AND lease_node = ? AND lease_until = ?"
)


def _attempt_row(number: int, result: Result, tried: Tried, outcome: str) -> Row:
    work = result.work
    return (
        number, work.message_id, work.recipient_id, rows.to_ms(tried.started_at), tried.duration_ms, tried.host,
        tried.ip, tried.source_ip, tried.tls, tried.tls_verified, tried.code, tried.enhanced,
        rows.clean(tried.response, 1000), outcome, tried.bounce_class,
    )  # fmt: skip


def _detail(result: Result, status: Status) -> str:
    # The reply itself is in the attempt of the same id.
    facts: dict[str, object] = {}
    if result.next_attempt_at is not None:
        facts["next_attempt_at"] = rows.to_ms(result.next_attempt_at)
    if result.outcome == "unknown":
        facts["outcome"] = "unknown"
    if result.work.is_possible_duplicate and status is Status.DELIVERED:
        facts["possible_duplicate"] = True
    return json.dumps(facts) if facts else ""


def settle_change(
    ids: IdSource, node: int, results: Sequence[Result], now: datetime, *, keeps_dead_letters: bool
) -> Callable[[Transaction], list[int]]:
    """The change that writes these results; it returns the recipients that were no longer ours."""
    moment = rows.to_ms(now)
    hour = moment - moment % rows.HOUR_MS
    numbers = iter(ids.take(sum(max(1, len(result.tried)) for result in results)))
    plans = [(result, [next(numbers) for _ in range(max(1, len(result.tried)))]) for result in results]

    def change(tx: Transaction) -> list[int]:
        lost: list[int] = []
        attempts: list[Row] = []
        events: list[Row] = []
        single: list[Row] = []
        several: set[int] = set()
        for result, taken in plans:
            work, status = result.work, _STATUS[result.outcome]
            last = result.tried[-1] if result.tried else None
            code, enhanced = (last.code, last.enhanced) if last else (0, "")
            text = rows.clean(last.response, 1000) if last else ""
            bounce_class = last.bounce_class if last else ""
            due = None if result.next_attempt_at is None else rows.to_ms(result.next_attempt_at)
            said = (code, enhanced, text, bounce_class) if last else ()
            ended = tx.change(
                _END if last else _END_UNTRIED,
                (
                    status.value, due, 1 if result.counts else 0, *said,
                    work.is_possible_duplicate or result.outcome == "unknown",
                    work.is_delay_told or result.is_delay_told, moment, work.recipient_id, node, work.lease,
                ),
            )  # fmt: skip
            if not ended:
                lost.append(work.recipient_id)
                continue
            rows.moved(tx, Status.SENDING, status)
            kind = str(status)
            tx.count(f"total.{kind}", 1)
            if status is Status.FAILED and result.tried and result.tried[-1].code >= 500:
                tx.count("total.bounced", 1)  # the other side said no, as opposed to what we gave up ourselves
            tx.tally(hour, work.domain, kind, 1)
            for index, tried in enumerate(result.tried):
                is_last = index == len(result.tried) - 1
                attempts.append(_attempt_row(taken[index], result, tried, result.outcome if is_last else "deferred"))
            events.append(
                (
                    taken[-1],
                    work.message_id,
                    work.recipient_id,
                    _EVENT[status].value,
                    moment,
                    _detail(result, status),
                )
            )
            if work.recipient_count == 1:
                single.append((status.value, moment, work.message_id))
            else:
                several.add(work.message_id)
            if status is Status.FAILED and keeps_dead_letters:
                keep_dead_letter(tx, work.message_id, moment, code, text)
        tx.change_many("UPDATE message SET status = ?, updated_at = ? WHERE id = ?", single)
        for message_id in sorted(several):
            rows.derive_status(tx, message_id, moment)
        tx.add(rows.INSERT_ATTEMPT, attempts)
        tx.add(rows.INSERT_EVENT, events)
        return lost

    return change


def keep_dead_letter(tx: Transaction, message_id: int, moment: int, code: int, reason: str) -> None:
    """Put a message into the dead-letter queue, once."""
    tx.count(
        "dead.total",
        tx.change(
            "INSERT INTO dead_letter (message_id, failed_at, code, reason) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (message_id) DO NOTHING",
            (message_id, moment, code, reason),
        ),
    )


def crash_change(
    ids: IdSource,
    node: int,
    work: Work,
    reason: str,
    now: datetime,
    *,
    keeps_dead_letters: bool,
    may_have_arrived: bool,
) -> Callable[[Transaction], bool]:
    """The change that follows an unforeseen exception on a piece of work.

    It is deferred; the third crash quarantines it, so that one poisonous message cannot stop the line. Returns
    whether it was quarantined. `may_have_arrived`: the content was on its way when it happened.
    """
    moment, number = rows.to_ms(now), ids.next()

    def change(tx: Transaction) -> bool:
        found = tx.execute("SELECT crashes FROM recipient WHERE id = ?", (work.recipient_id,))
        crashes = (found[0][0] if found else 0) + 1
        is_quarantined = crashes >= MOST_CRASHES
        status = Status.FAILED if is_quarantined else Status.DEFERRED
        due = None if is_quarantined else rows.to_ms(now + _AFTER_CRASH)
        ended = tx.change(
            _END,
            (
                status.value, due, 1, 0, "", rows.clean(reason, 1000), "",
                work.is_possible_duplicate or may_have_arrived, work.is_delay_told, moment, work.recipient_id, node,
                work.lease,
            ),
        )  # fmt: skip
        if not ended:
            return False
        tx.change("UPDATE recipient SET crashes = ? WHERE id = ?", (crashes, work.recipient_id))
        rows.moved(tx, Status.SENDING, status)
        tx.count(f"total.{status}", 1)
        tx.tally(moment - moment % rows.HOUR_MS, work.domain, str(status), 1)
        kind = EventKind.QUARANTINED if is_quarantined else EventKind.DEFERRED
        detail = json.dumps({"reason": rows.clean(reason, 300)})
        tx.add(rows.INSERT_EVENT, [(number, work.message_id, work.recipient_id, kind.value, moment, detail)])
        rows.derive_status(tx, work.message_id, moment)
        if is_quarantined and keeps_dead_letters:
            keep_dead_letter(tx, work.message_id, moment, 0, rows.clean(reason, 1000))
        return is_quarantined

    return change
