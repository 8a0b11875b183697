"""The sandbox inbox: captured mail, its parts, its figures.

What a stranger sent is never shown as a page of ours: every file goes out as a download, under a policy that lets
nothing in it run.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from flask import Blueprint, Response, request

from sendry.api import shapes
from sendry.api.errors import not_found
from sendry.api.listing import Query, answer, page
from sendry.api.messages import raw_mail
from sendry.api.rooms import rooms
from sendry.sandbox.content import File

bp = Blueprint("sandbox", __name__)

_NOT_IN_FILES: Final = str.maketrans(dict.fromkeys('"\\/:*?<>|', "_"))
_NOTHING_RUNS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@bp.get("/sandbox/messages")
def index() -> Response:
    """Captured mail, newest first; `query` looks into subject, sender and recipients."""
    query = Query()
    text, cursor, limit = query.text("query"), query.cursor(), query.limit()
    query.done()
    found = rooms().inbox.list(text, cursor=cursor, limit=limit)
    return page([shapes.captured_row(row) for row in found.items], found.next_cursor, found.total)


@bp.delete("/sandbox/messages")
def delete_all() -> Response:
    """Delete all captured mail, or what `query` finds."""
    query = Query()
    text = query.text("query")
    query.done()
    return answer({"deleted": rooms().inbox.delete_all(text)})


@bp.get("/sandbox/stats")
def stats() -> Response:
    """The inbox in figures."""
    return answer(shapes.inbox_stats(rooms().inbox.stats()))


@bp.get("/sandbox/messages/<identity>")
def show(identity: str) -> Response:
    """One captured mail with its contents. Its read mark stays as it is."""
    mail = rooms().inbox.get(identity)
    if mail is None:
        raise not_found("captured mail")
    return answer(shapes.captured(mail, f"{request.path.rpartition('/')[0]}/{mail.row.id}"))


@bp.delete("/sandbox/messages/<identity>")
def delete(identity: str) -> Response:
    """Delete one captured mail."""
    if not rooms().inbox.delete([identity]):
        raise not_found("captured mail")
    return Response(status=204)


@bp.get("/sandbox/messages/<identity>/raw")
def raw(identity: str) -> Response:
    """The mail as it was taken in."""
    stored = rooms().inbox.raw(identity)
    if stored is None:
        raise not_found("captured mail")
    return raw_mail(stored, identity)


@bp.get("/sandbox/messages/<identity>/attachments/<int:place>")
def attachment(identity: str, place: int) -> Response:
    """The attachment with this `n`."""
    return _download(rooms().inbox.attachment(identity, place), "attachment")


@bp.get("/sandbox/messages/<identity>/parts/<int:place>")
def part(identity: str, place: int) -> Response:
    """The part with this `n`."""
    return _download(rooms().inbox.part(identity, place), "part")


def _download(file: File | None, noun: str) -> Response:
    if file is None:
        raise not_found(noun)
    name = file.part.filename.translate(_NOT_IN_FILES) or "part"
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._- ") else "_" for sign in name)
    named = f"filename=\"{plain[:100]}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    headers = {**_NOTHING_RUNS, "Content-Disposition": f"attachment; {named}"}
    return Response(file.octets, 200, headers, content_type=file.part.content_type)
