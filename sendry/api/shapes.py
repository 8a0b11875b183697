"""How things look in JSON: the one place where values of the rooms become dictionaries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sendry.mail.mime import Mail, Part
from sendry.queue.states import Status
from sendry.queue.views import AttemptRow, Counts, EventRow, MessageRow, MessageView, RecipientRow
from sendry.sandbox.inbox import CapturedMail, CapturedRow, InboxStats

Json = dict[str, Any]

_TROUBLED = (Status.DEFERRED, Status.FAILED)


def time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def queue_stats(counts: Counts) -> Json:
    """Recipient deliveries by status."""
    return {
        "pending": counts.pending,
        "sending": counts.sending,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "deferred": counts.deferred,
        "total": counts.total,
    }


def message_row(row: MessageRow) -> Json:
    """A message in a list."""
    return {
        "id": row.id,
        "status": row.status.value,
        "from": row.sender,
        "header_from": row.header_from,
        "to": [row.first_recipient] if row.first_recipient else [],
        "subject": row.subject,
        "message_id": row.header_id,
        "domain": row.domain,
        "mode": row.mode,
        "origin": row.origin,
        "size": row.size,
        "recipient_count": row.recipient_count,
        "tags": list(row.tags),
        "metadata": row.metadata,
        "attempts": row.attempts,
        "last_error": _error_of(row.last_code, "", row.last_response) if row.status in _TROUBLED else None,
        "next_attempt_at": time(row.next_attempt_at),
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }


def message(view: MessageView) -> Json:
    """One message with its recipients."""
    return {
        **message_row(view.message),
        **_progress(view),
        "client_ip": view.message.client_ip,
        "origin_name": view.message.origin_name,
        "is_dead": view.is_dead,
        "is_captured": view.is_captured,
    }


def status(view: MessageView) -> Json:
    """How far a message has come."""
    row = view.message
    return {
        "id": row.id,
        "status": row.status.value,
        "from": row.sender,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        **_progress(view),
    }


def _progress(view: MessageView) -> Json:
    tries = max((recipient.attempts for recipient in view.recipients), default=0)
    troubled = [r for r in view.recipients if r.status in _TROUBLED]
    last = max(troubled, key=lambda r: r.updated_at, default=None)
    return {
        "to": list(dict.fromkeys(to for r in view.recipients for to in (r.original or r.address).split(", "))),
        "retry_count": max(0, tries - 1),
        "last_error": _error_of(last.last_code, last.last_enhanced, last.last_response) if last else None,
        "recipients": [recipient_row(recipient) for recipient in view.recipients],
    }


def _error_of(code: int, enhanced: str, response: str) -> str:
    return " ".join(part for part in (str(code or ""), enhanced, response) if part)


def recipient_row(row: RecipientRow) -> Json:
    """One recipient delivery. `last_code` is null where no reply came."""
    return {
        "address": row.address,
        "original_to": row.original or None,
        "route": row.route,
        "status": row.status.value,
        "attempts": row.attempts,
        "last_code": row.last_code or None,
        "last_enhanced": row.last_enhanced or None,
        "last_response": row.last_response or None,
        "bounce_class": row.bounce_class or None,
        "is_possible_duplicate": row.is_possible_duplicate,
        "next_attempt_at": time(row.next_attempt_at),
        "updated_at": time(row.updated_at),
    }


def event(row: EventRow, address: str | None) -> Json:
    """One line of a message's history; `recipient` is null where it is about the whole message."""
    return {
        "id": row.id,
        "type": row.kind.value,
        "at": time(row.at),
        "recipient": address,
        "detail": _detail(row.detail),
        "attempt": attempt(row.attempt) if row.attempt else None,
    }


def _detail(detail: Json) -> Json:
    return {
        name: time(datetime.fromtimestamp(value / 1000, UTC)) if name.endswith("_at") else value
        for name, value in detail.items()
    }


def attempt(row: AttemptRow) -> Json:
    """One try at one host."""
    return {
        "started_at": time(row.started_at),
        "duration_ms": row.duration_ms,
        "host": row.host,
        "ip": row.ip,
        "source_ip": row.source_ip,
        "tls": row.tls or None,
        "tls_verified": row.tls_verified or None,
        "code": row.code or None,
        "enhanced": row.enhanced or None,
        "response": row.response,
        "outcome": row.outcome,
        "bounce_class": row.bounce_class or None,
    }


def captured_row(row: CapturedRow) -> Json:
    """A captured mail in a list."""
    return {
        "id": row.id,
        "from": row.sender,
        "header_from": row.header_from,
        "to": list(row.recipients),
        "original_to": list(row.original_to),
        "subject": row.subject,
        "preview": row.preview,
        "size": row.size,
        "is_read": row.is_read,
        "code": row.code or None,
        "link_count": row.link_count,
        "attachment_count": row.attachment_count,
        "domain": row.domain,
        "mode": row.mode,
        "client_ip": row.client_ip,
        "captured_at": time(row.created_at),
    }


def captured(mail: CapturedMail, base: str) -> Json:
    """One captured mail with its contents; `base` is its own address, below which its files are."""
    contents = mail.contents
    files = list(enumerate(contents.attachments))
    leaves = [(part.index, part) for part in contents.mail.parts if not part.content_type.startswith("multipart/")]
    return {
        **captured_row(mail.row),
        "message_id": contents.mail.message_id.strip("<>"),
        "date": time(contents.mail.date),
        "headers": _headers(contents.mail),
        "header_fields": [{"name": name, "value": value} for name, value in contents.mail.headers],
        "body": contents.mail.text,
        "html": contents.mail.html,
        "attachments": [_part(place, part, f"{base}/attachments") for place, part in files],
        "parts": [_part(place, part, f"{base}/parts") for place, part in leaves],
        "codes": list(contents.codes),
        "links": list(contents.links),
        "is_cut": contents.mail.is_cut,
        "raw": f"{base}/raw",
    }


def _headers(mail: Mail) -> dict[str, str]:
    """Decoded values by name as written; of a name that is repeated the first, as readers show it."""
    first: dict[str, tuple[str, str]] = {}
    for name, value in mail.headers:
        first.setdefault(name.lower(), (name, value))
    return dict(first.values())


def _part(place: int, part: Part, base: str) -> Json:
    return {
        "n": place,
        "filename": part.filename,
        "content_type": part.content_type,
        "charset": part.charset or None,
        "content_id": part.content_id or None,
        "disposition": part.disposition or None,
        "size": part.size,
        "url": f"{base}/{place}",
    }


def inbox_stats(stats: InboxStats) -> Json:
    """The sandbox inbox in figures."""
    return {
        "total": stats.total,
        "unread": stats.unread,
        "total_size": stats.total_size,
        "oldest_at": time(stats.oldest_at),
        "newest_at": time(stats.newest_at),
        "by_domain": stats.by_domain,
        "by_mode": stats.by_mode,
    }
