"""The command palette's answers: pages whose name fits, and messages by id, address or subject."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from sendry.panel import session
from sendry.panel.pages import navigation, panel
from sendry.panel.rows import line
from sendry.queue.views import MessageFilter

_FOUND = 6


@panel.get("/jump")
def jump() -> ResponseReturnValue:
    """What to jump to for what was typed."""
    query = request.args.get("q", "").strip()
    pages = [entry for _, entries in navigation() for entry in entries]
    fitting = [entry for entry in pages if query.casefold() in entry.text.casefold()]
    rows = []
    if query:
        lookup = session.rooms().lookup
        if (one := lookup.message(query)) is not None:
            rows = [one.message]
        else:
            rows = list(lookup.messages(MessageFilter(text=query), limit=_FOUND).items)
    return render_template(
        "_jumps.html", jump_query=query, jump_found=[line(row) for row in rows], jump_places=fitting
    )
