"""A stored mail made ready for a page: its HTML with the pictures it carries, its parts, its octets as text.

Pure but for reading the octets it is given. Whatever a stranger wrote, a page of bounded size comes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import Response
from markupsafe import Markup

from sendry.mail import mime
from sendry.mail.charsets import decode
from sendry.panel import frame
from sendry.queue.line import StoredContent
from sendry.sandbox.content import Contents, file_at, look_into

_SOURCE_SHOWN: Final = 512 * 1024
_MOST_PICTURES: Final = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tabs of a mail show."""

    contents: Contents
    text: Markup | None
    has_html: bool
    remote_images: int
    has_dark: bool
    depth: dict[int, int]

    @property
    def mail(self) -> mime.Mail:
        """The mail taken apart."""
        return self.contents.mail


@dataclass(frozen=True, slots=True)
class Source:
    """The octets as text; `is_cut`: there is more in the file."""

    text: str
    is_cut: bool


def read(octets: bytes) -> Reading:
    """Take a mail apart for its page."""
    contents = look_into(octets)
    mail = contents.mail
    html = mail.html
    return Reading(
        contents=contents,
        text=None if mail.text is None else frame.text_page(mail.text),
        has_html=html is not None,
        remote_images=frame.remote_images(html) if html else 0,
        has_dark=frame.has_dark(html) if html else False,
        depth={part.index: part.path.count(".") + bool(part.path) for part in mail.parts},
    )


def html_page(octets: bytes, *, is_dark: bool, is_remote: bool) -> Response:
    """The HTML of a mail as the document of its frame."""
    mail = mime.read(octets)
    html = mail.html or ""
    named = frame.content_ids(html)
    inline: dict[str, tuple[str, bytes]] = {}
    for part in mail.parts:
        if part.content_id in named and len(inline) < _MOST_PICTURES:
            inline.setdefault(part.content_id, (part.content_type, mime.part_content(octets, part.index)))
    return frame.page(html, inline, is_dark=is_dark, is_remote=is_remote)


def part(octets: bytes, index: int) -> Response | None:
    """One part as a download, or None when there is no such part."""
    found = file_at(octets, index)
    if found is None:
        return None
    return frame.part(found.octets, found.part.content_type, found.part.filename or f"part-{found.part.path or 0}")


def source(stored: StoredContent) -> Source:
    """The first half megabyte of the octets, as text."""
    shown: list[bytes] = []
    left = _SOURCE_SHOWN
    for chunk in stored.chunks():
        shown.append(chunk[:left])
        left -= len(chunk)
        if left <= 0:
            break
    return Source(decode(b"".join(shown)).replace("\r\n", "\n").replace("\0", "\ufffd"), stored.size > _SOURCE_SHOWN)


def eml(stored: StoredContent, name: str) -> Response:
    """The octets as they were accepted, as a file."""
    response = Response(stored.chunks(), content_type="message/rfc822")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.eml"'
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Content-Length"] = str(stored.size)
    return response
