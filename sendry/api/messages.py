"""Messages: the list, one of them, its history, its octets; and stopping what still waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice

from flask import Blueprint, Response

from sendry.api import shapes
from sendry.api.errors import ApiError, not_found
from sendry.api.listing import Query, answer, no_body_expected, number_of, page
from sendry.api.rooms import rooms
from sendry.queue.line import StoredContent
from sendry.queue.states import Status
from sendry.queue.views import MessageFilter, MessageView

bp = Blueprint("messages", __name__)


@bp.get("/status/<identity>")
def status(identity: str) -> Response:
    """How far a message has come."""
    return answer(shapes.status(message_or_404(identity)))


@bp.get("/messages")
def index() -> Response:
    """Messages, newest first."""
    query = Query()
    chosen = query.choice("status", [status.value for status in Status])
    wanted = MessageFilter(
        status=Status(chosen) if chosen else None,
        address=query.text("address"),
        subject=query.text("subject"),
        tag=query.text("tag"),
        domain=query.text("domain").lower(),
        since=query.moment("since"),
        until=query.moment("until"),
    )
    cursor, limit = query.cursor(), query.limit()
    query.done()
    found = rooms().lookup.messages(wanted, cursor, limit)
    return page([shapes.message_row(row) for row in found.items], found.next_cursor, found.total)


@bp.get("/messages/<identity>")
def show(identity: str) -> Response:
    """One message with its recipients."""
    return answer(shapes.message(message_or_404(identity)))


@bp.get("/messages/<identity>/events")
def events(identity: str) -> Response:
    """The history of a message, oldest first."""
    view = message_or_404(identity)
    addresses = {recipient.number: recipient.address for recipient in view.recipients}
    items = [shapes.event(event, addresses.get(event.recipient_number or 0)) for event in view.events]
    return page(items, "", len(items))


@bp.get("/messages/<identity>/raw")
def raw(identity: str) -> Response:
    """The message as it was taken in, or as its fields were added to."""
    stored = rooms().queue.open_content(number_of(identity, "message"))
    if stored is None:
        raise not_found("message")
    return raw_mail(stored, identity)


@bp.post("/messages/<identity>/cancel")
def cancel(identity: str) -> Response:
    """Stop every recipient that still waits."""
    no_body_expected()
    view = message_or_404(identity)
    cancelled = rooms().queue.cancel(view.message.number, datetime.now(UTC)).result()
    if not cancelled:
        raise ApiError(409, "nothing_waits", "No recipient of this message waits any more, so nothing was cancelled.")
    return answer({**shapes.status(message_or_404(identity)), "cancelled": cancelled})


def message_or_404(identity: str) -> MessageView:
    """One message with everything about it."""
    view = rooms().lookup.message(identity)
    if view is None:
        raise not_found("message")
    return view


def raw_mail(stored: StoredContent, identity: str) -> Response:
    """The octets of a message as a download, piece by piece."""
    chunks = stored.chunks()
    # Head and beginning of the rest before the status line, so that a missing file is still an error answer.
    body: Iterator[bytes] = chain(list(islice(chunks, 2)), chunks)
    headers = {
        "Content-Length": str(stored.size),
        "Content-Disposition": f'attachment; filename="{identity.lower()}.eml"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(body, 200, headers, content_type="message/rfc822", direct_passthrough=True)
