"""The statements of the hot path and the arithmetic of the counters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from sendry.queue.states import Status
from sendry.store.writer import Transaction

HOUR_MS: Final = 3_600_000

INSERT_MESSAGE: Final = (
    "INSERT INTO message (id, sender, header_from, subject, header_id, domain, mode, status, origin, origin_name,"
    " client_ip, size, recipient_count, priority, smtputf8, eight_bit, ret, envid, spool, spool_offset, metadata,"
    " tags, created_at, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_CONTENT: Final = "INSERT INTO content (message_id, part, octets) VALUES (?, ?, ?)"
INSERT_RECIPIENT: Final = (
    "INSERT INTO recipient (id, message_id, address, destination, original, route, status, next_attempt_at,"
    " lease_until, lease_node, priority, attempts, is_possible_duplicate, crashes, last_code, last_enhanced,"
    " last_response, bounce_class, notify, orcpt, is_delay_told, created_at, updated_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_EVENT: Final = "INSERT INTO event (id, message_id, recipient_id, kind, at, detail) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_ATTEMPT: Final = (
    "INSERT INTO attempt (id, message_id, recipient_id, started_at, duration_ms, host, ip, source_ip, tls,"
    " tls_verified, code, enhanced, response, outcome, bounce_class)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_TAG: Final = "INSERT INTO message_tag (tag, message_id) VALUES (?, ?)"
INSERT_CAPTURE: Final = (
    "INSERT INTO capture (message_id, mailbox, recipients, original_to, is_described, preview, code, link_count,"
    " attachment_count, is_read, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# A claim does not touch the message row; a message with a claimed recipient is shown as sending when it is read.
_DERIVE_STATUS: Final = (
    "UPDATE message SET updated_at = ?, status = (SELECT CASE MIN(CASE status WHEN 'sending' THEN 0"
    " WHEN 'pending' THEN 0 WHEN 'deferred' THEN 1 WHEN 'failed' THEN 2 WHEN 'cancelled' THEN 3"
    " WHEN 'suppressed' THEN 4 ELSE 5 END) WHEN 0 THEN 'pending' WHEN 1 THEN 'deferred' WHEN 2 THEN 'failed'"
    " WHEN 3 THEN 'cancelled' WHEN 4 THEN 'suppressed' ELSE 'delivered' END"
    " FROM recipient WHERE recipient.message_id = message.id) WHERE id = ?"
)


def to_ms(moment: datetime) -> int:
    """Milliseconds of Unix time."""
    return int(moment.timestamp() * 1000)


def to_moment(milliseconds: int) -> datetime:
    """The aware UTC time of a stored value."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def clean(text: str, limit: int) -> str:
    """Text that every database keeps: no NUL, no lone surrogates, at most `limit` characters."""
    if "\0" in text:
        text = text.replace("\0", "")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text[:limit]


def derive_status(tx: Transaction, message_id: int, moment: int) -> None:
    """Set the status of a message from those of its recipients."""
    if tx.dialect != "sqlite":
        # Two nodes that end recipients of one message at once would each see the other's as still being sent.
        # Behind the lock of the message row the next statement sees what the other one has committed.
        tx.execute("SELECT 1 FROM message WHERE id = ? FOR UPDATE", (message_id,))
    tx.change(_DERIVE_STATUS, (moment, message_id))


def locking(tx: Transaction) -> str:
    """The end of a SELECT whose rows are changed next: rows that another node is changing are left to it."""
    return "" if tx.dialect == "sqlite" else " FOR UPDATE SKIP LOCKED"


def moved(tx: Transaction, old: str | None, new: str | None, number: int = 1) -> None:
    """Keep the counters in step with `number` recipients that went from one status to another."""
    if old is not None:
        tx.count(f"queue.{old}", -number)
    if new is not None:
        tx.count(f"queue.{new}", number)


def waiting_status(attempts: int) -> Status:
    """What a recipient that waits is called: deferred once an attempt was made."""
    return Status.DEFERRED if attempts else Status.PENDING
