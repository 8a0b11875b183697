"""The sandbox inbox: captured mail as a list beside the one that is read. New mail appears by itself.

The page asks every two seconds what came after the newest mail it knows and is told 204 when nothing did: a short
question, where a stream would hold a thread of the HTTP server for each open page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import abort, flash, render_template, request, url_for
from flask.typing import ResponseReturnValue

from sendry.config.values import DomainMode
from sendry.panel import reading, session, words
from sendry.panel.htmx import Question, answer_with, ask, go, is_htmx, nothing_new
from sendry.panel.language import gettext, later, ngettext
from sendry.panel.pages import counts, panel
from sendry.panel.sample import send_sample
from sendry.queue.line import StoredContent
from sendry.sandbox.inbox import CapturedRow

PAGE: Final = 50
_CODES: Final = 3
_LINKS: Final = 4
VIEWS: Final = {
    "html": later("HTML"),
    "text": later("Text"),
    "headers": later("Headers"),
    "source": later("Source"),
    "parts": later("Parts"),
    "files": later("Attachments"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One mail in the list."""

    id: str
    sender: str
    subject: str
    has_subject: bool
    snippet: str
    at: datetime
    is_unread: bool
    has_code: bool
    has_links: bool
    files: int


@dataclass(frozen=True, slots=True)
class Tab:
    """One view of a mail."""

    name: str
    text: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An address found in a mail, and how it is shown."""

    url: str
    text: str


@panel.get("/sandbox")
def inbox() -> ResponseReturnValue:
    """The list, with the newest mail beside it where there is room."""
    query, before = _query(), request.args.get("before", "")
    page = session.rooms().inbox.list(query, cursor=before, limit=PAGE)
    values = {
        "entries": [_entry(row) for row in page.items],
        "older": page.next_cursor,
        "query": query,
        "before": before,
        **_sums(),
    }
    if is_htmx():
        fragment = "inbox/_more.html" if before else "inbox/_mails.html"
        return answer_with(render_template(fragment, is_swapped=True, current="", **values))
    shown = page.items[0] if page.items else None
    values |= _reader(shown, request.args.get("view", "")) if shown else {"mail": None}
    return _page(is_open=False, current=shown.id if shown else "", **values)


@panel.get("/sandbox/first")
def inbox_first() -> ResponseReturnValue:
    """What the empty page asks: 204 until there is mail, then the inbox itself."""
    if not session.rooms().inbox.list(limit=1).items:
        return nothing_new()
    return go(url_for("panel.inbox"))


@panel.get("/sandbox/new")
def inbox_new() -> ResponseReturnValue:
    """Mail that came after the newest one the page knows."""
    after, query = request.args.get("after", ""), _query()
    rows = session.rooms().inbox.newer_than(after, PAGE, query=query)
    if not rows:
        return nothing_new()
    return answer_with(
        render_template("inbox/_new.html", entries=[_entry(row) for row in rows], query=query, current="", **_sums())
    )


@panel.get("/sandbox/<message_id>")
def mail(message_id: str) -> ResponseReturnValue:
    """One mail, read from now on."""
    return _opened(message_id, "")


@panel.get("/sandbox/<message_id>/<any(html, text, headers, source, parts, files):view>")
def mail_view(message_id: str, view: str) -> ResponseReturnValue:
    """One mail in another view."""
    return _opened(message_id, view)


@panel.get("/sandbox/<message_id>/frame")
def mail_frame(message_id: str) -> ResponseReturnValue:
    """Its HTML as a document for the frame."""
    return reading.html_page(
        _stored(message_id).read(),
        is_dark=request.args.get("dark") == "1",
        is_remote=request.args.get("remote") == "1",
    )


@panel.get("/sandbox/<message_id>/mail.eml")
def mail_file(message_id: str) -> ResponseReturnValue:
    """The octets as they were accepted."""
    stored = _stored(message_id)
    return reading.eml(stored, message_id)


@panel.get("/sandbox/<message_id>/part/<int:index>")
def mail_part(message_id: str, index: int) -> ResponseReturnValue:
    """One part as a download."""
    return reading.part(_stored(message_id).read(), index) or abort(404)


@panel.get("/sandbox/<message_id>/delete")
@session.acting
def mail_delete_ask(message_id: str) -> ResponseReturnValue:
    """Asks before one mail is deleted."""
    row = _row(message_id)
    return ask(
        Question(
            title=gettext("Delete «%(subject)s»?", subject=row.subject or gettext("(no subject)")),
            text=gettext("It is kept nowhere else. This cannot be undone."),
            keep=gettext("Keep"),
            act=gettext("Delete mail"),
            url=url_for("panel.mail_delete", message_id=message_id, q=_query() or None),
            back=url_for("panel.mail", message_id=message_id, q=_query() or None),
            target="#preview",
        )
    )


@panel.post("/sandbox/<message_id>/delete")
@session.acting
def mail_delete(message_id: str) -> ResponseReturnValue:
    """Delete one mail and show the next older one."""
    query, here = _query(), session.rooms().inbox
    number = here.delete([message_id])
    next_ones = here.list(query, cursor=message_id, limit=1).items or here.list(query, limit=1).items
    told = gettext("The mail was deleted.") if number else gettext("Somebody else had deleted this mail already.")
    if not next_ones or not is_htmx():
        flash(told, "delivered")
        return go(url_for("panel.inbox", q=query or None))
    values = _reader(next_ones[0], "")
    flash(told, "delivered")
    text = render_template("inbox/_deleted.html", deleted=message_id, query=query, **values, **_sums())
    response = answer_with(text)
    response.headers["HX-Push-Url"] = url_for("panel.mail", message_id=next_ones[0].id, q=query or None)
    return response


@panel.get("/sandbox/clear")
@session.acting
def inbox_clear_ask() -> ResponseReturnValue:
    """Asks before the inbox, or what a search found, is emptied."""
    query = _query()
    total = session.rooms().inbox.list(query, limit=1).total
    number = words.number(total) if total is not None else gettext("more than 10,000")
    title = ngettext("Delete %(n)s mail?", "Delete all %(n)s mails?", total or 2, n=number)
    text = gettext("Nothing of them is kept. This cannot be undone.")
    if query:
        title = ngettext(
            "Delete %(n)s mail that matches «%(text)s»?",
            "Delete %(n)s mails that match «%(text)s»?",
            total or 2,
            n=number,
            text=query,
        )
        text = gettext("The others stay. This cannot be undone.")
    return ask(
        Question(
            title=title,
            text=text,
            keep=gettext("Keep"),
            act=ngettext("Delete %(n)s mail", "Delete %(n)s mails", total or 2, n=number),
            url=url_for("panel.inbox_clear", q=query or None),
            back=url_for("panel.inbox", q=query or None),
        )
    )


@panel.post("/sandbox/clear")
@session.acting
def inbox_clear() -> ResponseReturnValue:
    """Empty the inbox, or what a search found."""
    number = session.rooms().inbox.delete_all(_query())
    flash(
        ngettext("%(n)s mail was deleted.", "%(n)s mails were deleted.", number, n=words.number(number)), "delivered"
    )
    return go(url_for("panel.inbox"))


@panel.post("/sandbox/sample")
@session.acting
def inbox_sample() -> ResponseReturnValue:
    """Send a test mail through the same door as any other."""
    domain = _sample_domain()
    if domain is None:
        abort(404)
    send_sample(session.rooms().intake, domain, session.caller_ip(), words.now())
    if is_htmx():
        return nothing_new()  # it appears by itself, like any other mail
    return go(url_for("panel.inbox"))


def _query() -> str:
    return request.values.get("q", "").strip()[:200]


def _row(message_id: str) -> CapturedRow:
    return session.rooms().inbox.find(message_id) or abort(404)


def _stored(message_id: str) -> StoredContent:
    return session.rooms().inbox.raw(message_id) or abort(404)


def _sums() -> dict[str, Any]:
    sums = counts()
    return {"total": sums.captured, "unread": sums.unread}


def _sample_domain() -> str | None:
    """A domain whose mail is captured and goes nowhere else."""
    rooms = session.rooms()
    own = next((domain.name for domain in rooms.directory.own() if domain.mode is DomainMode.SANDBOX), None)
    return own or ("example.com" if rooms.config.is_sandbox_profile else None)


def _ways() -> dict[str, Any]:
    """What the empty page tells: where to send mail."""
    config = session.rooms().config
    return {
        "smtp": config.smtp.submission_addr or config.smtp.listen_addr,
        "api": request.host_url.rstrip("/"),
        "has_key": not config.allows_anonymous_api,
        "can_sample": _sample_domain() is not None,
    }


def _entry(row: CapturedRow) -> Entry:
    name, address = _parted(row)
    return Entry(
        id=row.id,
        sender=name or address,
        subject=row.subject or gettext("(no subject)"),
        has_subject=bool(row.subject),
        snippet=row.preview,
        at=row.created_at,
        is_unread=not row.is_read,
        has_code=bool(row.code),
        has_links=row.link_count > 0,
        files=row.attachment_count,
    )


def _parted(row: CapturedRow) -> tuple[str, str]:
    """Display name and address of the author, as far as the mail names one."""
    name, has_name, address = row.header_from.rpartition("<")
    if not has_name:
        return "", row.header_from.strip() or row.sender or "<>"
    return name.strip().strip('"'), address.rstrip("> ") or "<>"


def _opened(message_id: str, view: str) -> ResponseReturnValue:
    """A mail somebody chose: it counts as read."""
    here, query = session.rooms().inbox, _query()
    row = _row(message_id)
    if not row.is_read:
        here.mark_read([message_id])
        row = _row(message_id)
    values = _reader(row, view)
    if is_htmx():
        text = render_template(
            "inbox/_opened.html", entry=_entry(row), query=query, current=row.id, **values, **_sums()
        )
        return answer_with(text)
    page = here.list(query, limit=PAGE)
    return _page(
        entries=_with_current(page.items, row),
        older=page.next_cursor,
        query=query,
        before="",
        is_open=True,
        current=row.id,
        **values,
        **_sums(),
    )


def _page(**values: Any) -> ResponseReturnValue:
    return answer_with(render_template("inbox/index.html", **values, **_ways()))


def _with_current(rows: Sequence[CapturedRow], row: CapturedRow) -> list[Entry]:
    return [_entry(row if other.id == row.id else other) for other in rows]


def _reader(row: CapturedRow, view: str) -> dict[str, Any]:
    """What the reading pane needs for one view of a mail."""
    stored = _stored(row.id)
    shown = reading.read(stored.read())
    if view not in VIEWS or (view == "html" and not shown.has_html):
        view = "html" if shown.has_html else "text"
    files = shown.contents.attachments
    numbers = {"headers": len(shown.mail.headers), "parts": len(shown.mail.parts), "files": len(files)}
    tabs = [
        Tab(name, gettext(text), numbers.get(name))
        for name, text in VIEWS.items()
        if not (name == "html" and not shown.has_html) and not (name == "files" and not files)
    ]
    name, address = _parted(row)
    return {
        "mail": row,
        "sender_name": name,
        "sender_address": address,
        "to": ", ".join(row.original_to or row.recipients),
        "kind": "mail",
        "id": row.id,
        "view": view,
        "tabs": tabs,
        "reading": shown,
        "source": reading.source(stored) if view == "source" else None,
        "codes": list(dict.fromkeys(map(_typed, shown.contents.codes)))[:_CODES],
        "links": [_link(url) for url in shown.contents.links[:_LINKS]],
        "more_links": max(0, len(shown.contents.links) - _LINKS),
    }


def _typed(code: str) -> str:
    """A code as it is typed into a field: «482 913» is written so to be read, not to be pasted."""
    together = re.sub(r"(?<=\d)[ \u00a0-](?=\d)", "", code)
    return together if together.isdigit() else code


def _link(url: str) -> Link:
    return Link(url, url.partition("://")[2].partition("?")[0].rstrip("/") or url)
