"""The queue: what waits or is being sent, and taking something out of it."""

from __future__ import annotations

from flask import Blueprint, Response

from sendry.api import shapes
from sendry.api.errors import ApiError, not_found
from sendry.api.listing import Query, page
from sendry.api.messages import message_or_404
from sendry.api.rooms import rooms
from sendry.queue.control import Deleted
from sendry.queue.states import Status
from sendry.queue.views import MessageFilter

bp = Blueprint("queue", __name__)

_IN_QUEUE = (Status.PENDING, Status.SENDING, Status.DEFERRED)


@bp.get("/queue")
def index() -> Response:
    """What waits or is being sent, newest first, with the sums of everything."""
    query = Query()
    cursor, limit = query.cursor(), query.limit()
    query.done()
    lookup = rooms().lookup
    found = lookup.messages(MessageFilter(is_waiting=True), cursor, limit)
    items = [shapes.message_row(row) for row in found.items]
    stats = shapes.queue_stats(lookup.counts())
    return page(items, found.next_cursor, found.total, name="messages", stats=stats)


@bp.delete("/queue/<identity>")
def delete(identity: str) -> Response:
    """Delete a message that waits, with its history."""
    view = message_or_404(identity)
    if view.message.status not in _IN_QUEUE:
        raise ApiError(404, "not_found", f"This message is not in the queue: it is {view.message.status}.")
    ended = rooms().queue.delete(view.message.number).result()
    if ended is Deleted.UNKNOWN:
        raise not_found("message")
    if ended is Deleted.IN_FLIGHT:
        raise ApiError(409, "in_flight", "This message is being sent right now; try again when the attempt is over.")
    return Response(status=204)
