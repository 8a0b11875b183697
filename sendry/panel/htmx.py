"""Answers for a browser with htmx and without: one address, a page or the fragment of it that changed.

A view reads, makes one call into a room, and answers through here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, make_response, redirect, render_template, request

_SEEN: Final = "not-seen-yet"


def is_htmx() -> bool:
    """Whether htmx asks for a fragment. A restored history entry wants the page."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and headers.get("HX-History-Restore-Request") != "true"


def answer(page: str, fragment: str, **values: Any) -> Response:
    """The page, or, for htmx, the one fragment of it."""
    return answer_with(render_template(fragment if is_htmx() else page, **values))


def live(page: str, fragment: str, **values: Any) -> Response:
    """The same for a fragment that polls itself: 204 while it would look as it did.

    The fragment sends back what `seen` says of it, so nothing on the page is touched without need.
    """
    if not is_htmx():
        return answer(page, fragment, seen=_SEEN, **values)
    text = render_template(fragment, seen=_SEEN, is_swapped=True, **values)
    seen = hashlib.sha256(text.encode()).hexdigest()[:16]
    if request.args.get("seen") == seen:
        return nothing_new()
    return answer_with(text.replace(_SEEN, seen))


def answer_with(text: str, status: int = 200) -> Response:
    """A fragment that is made already."""
    response = make_response(text, status)
    response.headers["Vary"] = "HX-Request, Cookie"
    return response


def nothing_new() -> Response:
    """204: htmx leaves everything as it is."""
    return Response(status=204)


def go(url: str) -> Response:
    """Send the browser to another page: 303, or, for htmx, a header that makes it load the page."""
    if is_htmx():
        response = Response(status=204)
        response.headers["HX-Redirect"] = url
        return response
    moved = redirect(url, 303)
    assert isinstance(moved, Response)
    return moved


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before an act that cannot be undone. `target`: what the answer's fragment replaces."""

    title: str
    text: str
    keep: str
    act: str
    url: str
    back: str
    target: str = ""
    fields: tuple[tuple[str, str], ...] = ()  # sent along when the answer is yes


def ask(question: Question) -> Response:
    """A dialog for htmx, a page of its own without."""
    return answer("confirm.html", "_confirm.html", question=question)


def is_own_path(url: str) -> bool:
    """Whether a «where to go next» stays on this site: a path, nothing that a browser takes for a host."""
    return url.startswith("/") and not url.startswith(("//", "/\\")) and all(32 < ord(char) < 127 for char in url)
