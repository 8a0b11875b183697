"""Mail content shown in a frame of its own: foreign HTML that can run nothing, load nothing and say nothing to us.

The answer carries its own policy: a sandbox without scripts, forms or our origin, and no loading from anywhere
but the mail itself, until the reader asks for remote content. Links open in a new window that knows nothing of the
panel. Pure but for the Flask response it makes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from flask import Response
from markupsafe import Markup

_BLOCKED: Final = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:;"
    " style-src 'unsafe-inline'; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
_REMOTE: Final = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data: http: https:;"
    " style-src 'unsafe-inline' http: https:; font-src data: http: https:; media-src http: https:;"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
_SHOWN_TYPES: Final = re.compile(r"image/[a-z0-9.+-]{1,40}\Z")
_MOST_INLINED: Final = 16 * 1024 * 1024

# Every pattern takes time linear in the mail: no run of characters can be read in two ways, and gaps are bounded.
_CID: Final = re.compile(r"""\bcid:([^"'<>\s)]{1,250})""", re.IGNORECASE)
_STYLE: Final = re.compile(r"<style\b[^<>]*>.*?(?:</style\s{0,9}>|\Z)", re.IGNORECASE | re.DOTALL)
_MEDIA: Final = re.compile(r"""\bmedia\s{0,9}=\s{0,9}(?:"[^"]*"|'[^']*')""", re.IGNORECASE)
_SCHEME: Final = re.compile(r"\(\s{0,9}prefers-color-scheme\s{0,9}:\s{0,9}(dark|light)\s{0,9}\)", re.IGNORECASE)
_DECLARES_DARK: Final = re.compile(
    r"prefers-color-scheme\s{0,9}:\s{0,9}dark|light-dark\(|color-scheme[^>;{}]{0,80}\bdark\b", re.IGNORECASE
)
_LOADING_TAG: Final = re.compile(
    r"<(?:img|image|input|source|video|table|td|th|tr|body|link)\b([^<>]*)", re.IGNORECASE
)
_ELSEWHERE: Final = re.compile(
    r"""\b(?:src|srcset|background|poster|href)\s{0,9}=\s{0,9}["']?\s{0,9}(?:https?:)?//""", re.IGNORECASE
)
_CSS_ELSEWHERE: Final = re.compile(r"""\burl\(\s{0,9}["']?\s{0,9}(?:https?:)?//|@import\b""", re.IGNORECASE)
_LOOKED_AT: Final = 2 * 1024 * 1024


def remote_images(html: str) -> int:
    """How many images the mail would load from elsewhere; stylesheets and fonts count as one each."""
    html = html[:_LOOKED_AT]
    tags = sum(1 for found in _LOADING_TAG.finditer(html) if _ELSEWHERE.search(found[1]))
    return tags + len(_CSS_ELSEWHERE.findall(html))


def has_dark(html: str) -> bool:
    """Whether the mail brings colours for a dark window."""
    return _DECLARES_DARK.search(html[:_LOOKED_AT]) is not None


def content_ids(html: str) -> set[str]:
    """The Content-IDs that the HTML names as `cid:`, without brackets."""
    return {unquote(found[1]) for found in _CID.finditer(html)}


def page(html: str, inline: Mapping[str, tuple[str, bytes]], *, is_dark: bool, is_remote: bool) -> Response:
    """The mail as a document for the frame.

    `inline` holds (content type, octets) by Content-ID without brackets. `is_dark` answers what the mail asks about
    the reader's colour scheme, since browsers differ in what a frame is told.
    """
    scheme = "dark" if is_dark and has_dark(html) else "light"
    html = _with_scheme(_with_inline(html, inline), is_dark=is_dark)
    # Before everything else: the first <base> wins, and a mail's own rules may still set colours of its own.
    lead = (
        '<!doctype html><meta charset="utf-8"><base target="_blank">'
        f'<meta name="viewport" content="width=device-width"><style>:root{{color-scheme:{scheme} !important}}'
        "body{overflow-wrap:anywhere}</style>"
    )
    return _answer(lead + html, _REMOTE if is_remote else _BLOCKED)


def part(octets: bytes, content_type: str, filename: str) -> Response:
    """A part of a mail as a download: never shown on our origin, whatever it says it is."""
    is_plain = re.fullmatch(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,80}", content_type, re.IGNORECASE) is not None
    response = _answer(octets, "sandbox; default-src 'none'")
    response.headers["Content-Type"] = content_type.lower() if is_plain else "application/octet-stream"
    name = re.sub(r"[^A-Za-z0-9 ._()+,=-]", "_", filename)[:100].strip(". ") or "part"
    full = quote(filename[:200] or "part", safe="")
    response.headers["Content-Disposition"] = f"attachment; filename=\"{name}\"; filename*=UTF-8''{full}"
    return response


def _answer(content: str | bytes, policy: str) -> Response:
    response = Response(content, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Cache-Control"] = "no-store"
    return response


def _with_inline(html: str, inline: Mapping[str, tuple[str, bytes]]) -> str:
    """Images the mail carries, put where it names them. They are data: a frame without our origin has no cookies."""
    left = _MOST_INLINED
    made: dict[str, str] = {}

    def put(found: re.Match[str]) -> str:
        nonlocal left
        name = unquote(found[1])
        if name not in made:
            content_type, octets = inline.get(name, ("", b""))
            if not _SHOWN_TYPES.match(content_type.lower()) or len(octets) > left:
                return found[0]
            left -= len(octets)
            made[name] = f"data:{content_type.lower()};base64,{base64.b64encode(octets).decode('ascii')}"
        return made[name]

    return _CID.sub(put, html)


def _with_scheme(html: str, *, is_dark: bool) -> str:
    """Media queries about the colour scheme answered: true ones always hold, the others never."""
    wanted = "dark" if is_dark else "light"

    def answered(found: re.Match[str]) -> str:
        return _SCHEME.sub(
            lambda query: "(min-width: 0)" if query[1].lower() == wanted else "(max-width: 0)", found[0]
        )

    return _MEDIA.sub(answered, _STYLE.sub(answered, html))


def text_page(text: str) -> Markup:
    """Plain text for the panel's own page, addresses of the web made into links that open apart."""
    shown: list[Markup] = []
    at = 0
    for found in _URL.finditer(text):
        url = found[0].rstrip(".,;:!?)>]'\"»")
        shown.append(Markup.escape(text[at : found.start()]))
        shown.append(Markup('<a href="{0}" target="_blank" rel="noopener noreferrer">{0}</a>').format(url))
        at = found.start() + len(url)
    shown.append(Markup.escape(text[at:]))
    return Markup().join(shown)


_URL: Final = re.compile(r"https?://[^\s<>\"]{1,2000}", re.IGNORECASE)
