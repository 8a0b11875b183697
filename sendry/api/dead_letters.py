"""The dead-letter queue: messages with recipients that were given up; send them again, or let them go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, Response

from sendry.api import shapes
from sendry.api.errors import not_found
from sendry.api.listing import Query, answer, no_body_expected, number_of, page
from sendry.api.messages import message_or_404
from sendry.api.rooms import rooms
from sendry.queue.views import DeadStats, MessageFilter, MessageView

bp = Blueprint("dead_letters", __name__)

_AT_ONCE: Final = 500


@bp.get("/dlq")
def index() -> Response:
    """Dead letters, newest first."""
    query = Query()
    cursor, limit = query.cursor(), query.limit()
    query.done()
    lookup = rooms().lookup
    found = lookup.messages(MessageFilter(is_dead=True), cursor, limit)
    items = [shapes.message_row(row) for row in found.items]
    return page(items, found.next_cursor, found.total, name="messages", stats=_stats(lookup.dead_stats()))


@bp.get("/dlq/<identity>")
def show(identity: str) -> Response:
    """One dead letter with its recipients."""
    return answer(shapes.message(_dead_or_404(identity)))


@bp.post("/dlq/<identity>/retry")
def retry(identity: str) -> Response:
    """Send to the failed recipients again."""
    no_body_expected()
    view = _dead_or_404(identity)
    retried = rooms().queue.retry_dead(view.message.number, datetime.now(UTC)).result()
    if not retried:  # somebody was quicker
        raise not_found("dead letter")
    return answer({**shapes.status(message_or_404(identity)), "retried": retried})


@bp.post("/dlq/retry")
def retry_all() -> Response:
    """Send to the failed recipients of all dead letters again."""
    no_body_expected()
    here, now = rooms(), datetime.now(UTC)
    messages = recipients = last = 0
    while numbers := here.lookup.dead_numbers(_AT_ONCE, last):
        # Handed in together, they share a transaction.
        done = [here.queue.retry_dead(number, now) for number in numbers]
        counts = [future.result() for future in done]
        messages += sum(count > 0 for count in counts)
        recipients += sum(counts)
        last = numbers[-1]
    return answer({"retried": messages, "recipients": recipients})


@bp.delete("/dlq/<identity>")
def delete(identity: str) -> Response:
    """Take one out of the dead-letter queue; the message stays in the history."""
    if not rooms().queue.forget_dead([number_of(identity, "dead letter")]).result():
        raise not_found("dead letter")
    return Response(status=204)


@bp.delete("/dlq")
def delete_all() -> Response:
    """Empty the dead-letter queue; the messages stay in the history."""
    return answer({"deleted": rooms().queue.forget_dead(None).result()})


def _dead_or_404(identity: str) -> MessageView:
    view = message_or_404(identity)
    if not view.is_dead:
        raise not_found("dead letter")
    return view


def _stats(stats: DeadStats) -> shapes.Json:
    return {
        "count": stats.count,
        "oldest_at": shapes.time(stats.oldest_at),
        "newest_at": shapes.time(stats.newest_at),
    }
