"""Acts on several messages at once: what is ticked in a list is retried or cancelled."""

from __future__ import annotations

from typing import Final

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue

from sendry.panel import session, words
from sendry.panel.htmx import Question, ask, go, is_own_path
from sendry.panel.language import gettext, ngettext
from sendry.panel.messages import PAGE
from sendry.panel.pages import panel
from sendry.store.ids import from_text

_MOST: Final = PAGE * 2


@panel.post("/messages/retry")
@session.acting
def retry_many() -> ResponseReturnValue:
    """Deferred recipients of the ticked messages are due now, failed ones get all their tries again."""
    now, queue = words.now(), session.rooms().queue
    changes = [queue.retry(number, now) for number in _numbers()]
    number = sum(change.result() for change in changes)
    if number:
        flash(
            ngettext("%(num)d recipient will be tried now.", "%(num)d recipients will be tried now.", number),
            "delivered",
        )
    else:
        flash(gettext("Nothing to retry: none of them is deferred or failed."), "deferred")
    return go(_back())


@panel.get("/messages/cancel")
@session.acting
def cancel_many_ask() -> ResponseReturnValue:
    """Asks before what still waits of the ticked messages is cancelled."""
    ids = [text for text in request.args.getlist("id")[:_MOST] if from_text(text) is not None]
    if not ids:
        return go(_back())
    return ask(
        Question(
            title=ngettext("Cancel %(num)d message?", "Cancel %(num)d messages?", len(ids)),
            text=gettext("Who still waits does not get it. What is delivered stays delivered."),
            keep=gettext("Keep trying"),
            act=gettext("Cancel delivery"),
            url=url_for("panel.cancel_many"),
            back=_back(),
            fields=(("back", _back()), *(("id", text) for text in ids)),
        )
    )


@panel.post("/messages/cancel")
@session.acting
def cancel_many() -> ResponseReturnValue:
    """Recipients of the ticked messages who still wait get nothing."""
    now, queue = words.now(), session.rooms().queue
    changes = [queue.cancel(number, now) for number in _numbers()]
    number = sum(change.result() for change in changes)
    if number:
        flash(ngettext("%(num)d recipient was cancelled.", "%(num)d recipients were cancelled.", number), "delivered")
    else:
        flash(gettext("Nothing to cancel: none of them waits any more."), "deferred")
    return go(_back())


def _numbers() -> list[int]:
    found = (from_text(text) for text in request.form.getlist("id")[:_MOST])
    return [number for number in found if number is not None]


def _back() -> str:
    back = request.values.get("back", "")
    return back if is_own_path(back) else url_for("panel.messages")
