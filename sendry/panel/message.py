"""One message: what happened to every recipient, what is in it, and the acts that retry or cancel it.

An act names the state it was offered in: when somebody was quicker, nothing changes and the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import abort, flash, render_template, request, url_for
from flask.typing import ResponseReturnValue

from sendry.panel import reading, session, trail, words
from sendry.panel.htmx import Question, answer_with, ask, go, is_htmx, live
from sendry.panel.language import gettext, later, ngettext
from sendry.panel.pages import panel
from sendry.panel.rows import origin_words
from sendry.queue.line import StoredContent
from sendry.queue.views import MessageView

TABS: Final = {
    "delivery": later("Delivery"),
    "content": later("Content"),
    "headers": later("Headers"),
    "raw": later("Raw"),
    "events": later("Events"),
}


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab: its address and how many things are behind it."""

    name: str
    text: str
    url: str
    number: int | None = None


@panel.get("/messages/<message_id>")
def message(message_id: str) -> ResponseReturnValue:
    """The deliveries of one message."""
    return _shown(_view(message_id), "delivery")


@panel.get("/messages/<message_id>/<any(content, headers, raw, events):tab>")
def message_tab(message_id: str, tab: str) -> ResponseReturnValue:
    """What is in it, and its whole history."""
    return _shown(_view(message_id), tab)


@panel.get("/messages/<message_id>/frame")
def message_frame(message_id: str) -> ResponseReturnValue:
    """Its HTML as a document for the frame."""
    return reading.html_page(
        _stored(_view(message_id)).read(),
        is_dark=request.args.get("dark") == "1",
        is_remote=request.args.get("remote") == "1",
    )


@panel.get("/messages/<message_id>/mail.eml")
def message_file(message_id: str) -> ResponseReturnValue:
    """The octets as they were accepted."""
    view = _view(message_id)
    return reading.eml(_stored(view), view.message.id)


@panel.get("/messages/<message_id>/parts/<int:index>")
def message_part(message_id: str, index: int) -> ResponseReturnValue:
    """One part as a download."""
    return reading.part(_stored(_view(message_id)).read(), index) or abort(404)


@panel.post("/messages/<message_id>/retry")
@session.acting
def message_retry(message_id: str) -> ResponseReturnValue:
    """Deferred recipients are due now, failed ones get all their tries again."""
    view = _view(message_id)
    number = session.rooms().queue.retry(view.message.number, words.now()).result()
    return _acted(
        message_id,
        number,
        ngettext("%(num)d recipient will be tried now.", "%(num)d recipients will be tried now.", number),
    )


@panel.get("/messages/<message_id>/cancel")
@session.acting
def message_cancel_ask(message_id: str) -> ResponseReturnValue:
    """Asks before who still waits is cancelled."""
    view = _view(message_id)
    waiting, delivered = trail.can_cancel(view.recipients), _delivered(view)
    text = gettext("Nobody gets this message. What was accepted stays here to read.")
    if delivered:
        text = ngettext(
            "Who still waits does not get it. The one already delivered stays delivered.",
            "Who still waits does not get it. The %(num)d already delivered stay delivered.",
            delivered,
        )
    subject = view.message.subject or gettext("(no subject)")
    return ask(
        Question(
            title=ngettext(
                "Cancel «%(subject)s» for %(num)d recipient?",
                "Cancel «%(subject)s» for %(num)d recipients?",
                waiting,
                subject=subject,
            ),
            text=text,
            keep=gettext("Keep trying"),
            act=gettext("Cancel delivery"),
            url=url_for("panel.message_cancel", message_id=message_id),
            back=url_for("panel.message", message_id=message_id),
            target="#message",
        )
    )


@panel.post("/messages/<message_id>/cancel")
@session.acting
def message_cancel(message_id: str) -> ResponseReturnValue:
    """Recipients who still wait get nothing."""
    view = _view(message_id)
    number = session.rooms().queue.cancel(view.message.number, words.now()).result()
    return _acted(
        message_id, number, ngettext("%(num)d recipient was cancelled.", "%(num)d recipients were cancelled.", number)
    )


def _view(message_id: str) -> MessageView:
    view = session.rooms().lookup.message(message_id)
    if view is None:
        abort(404)
    return view


def _stored(view: MessageView) -> StoredContent:
    stored = session.rooms().queue.open_content(view.message.number)
    if stored is None:
        abort(404)
    return stored


def _acted(message_id: str, number: int, done: str) -> ResponseReturnValue:
    if not is_htmx():
        flash(done if number else _quicker(), "delivered" if number else "deferred")
        return go(url_for("panel.message", message_id=message_id))
    if number:
        flash(done, "delivered")
    values = _values(_view(message_id), "delivery")
    if not number:
        values["note"] = _quicker()
    text = render_template("message/_message.html", seen="", is_swapped=True, **values)
    return answer_with(text, 200 if number else 409)


def _delivered(view: MessageView) -> int:
    return sum(1 for recipient in view.recipients if recipient.status == "delivered")


def _quicker() -> str:
    return gettext("Nothing was changed: somebody was quicker. This is how it stands now.")


def _shown(view: MessageView, tab: str) -> ResponseReturnValue:
    return live("message/show.html", "message/_message.html", **_values(view, tab))


def _values(view: MessageView, tab: str) -> dict[str, Any]:
    """What the template needs for one tab."""
    row, rooms = view.message, session.rooms()
    address: dict[str, Any] = {"message_id": row.id}
    state, word = trail.headline(view)
    values: dict[str, Any] = {
        "message": row,
        "kind": "message",
        "id": row.id,
        "tab": tab,
        "tabs": [
            Tab(
                name,
                gettext(text),
                url_for("panel.message_tab", tab=name, **address)
                if name != "delivery"
                else url_for("panel.message", **address),
                len(view.events) if name == "events" else None,
            )
            for name, text in TABS.items()
        ],
        "state": state,
        "state_text": word,
        "origin": origin_words(row),
        "is_captured": view.is_captured,
        "is_live": tab == "delivery" and any(r.next_attempt_at or r.status == "sending" for r in view.recipients),
        "can_retry": trail.can_retry(view.recipients),
        "can_cancel": trail.can_cancel(view.recipients),
        "delivered": _delivered(view),
        "note": "",
    }
    if tab == "delivery":
        values["legs"] = trail.legs(view, rooms.config.queue.max_retries)
    elif tab == "events":
        values["history"] = trail.history(view)
    elif tab == "raw":
        values["source"] = reading.source(_stored(view))
    else:
        values["reading"] = reading.read(_stored(view).read())
    return values
