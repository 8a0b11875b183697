"""Stored mail taken apart for people to look at: texts, parts, attachments (RFC 2045, RFC 2046, RFC 2183).

Pure. Promise: `read` and `part_content` never raise, whatever the octets; depth, number of parts and size of
texts are limited, and time grows with the size of the mail and no faster. What is shown has no NUL and no
half surrogate. The tree is found by boundaries in the octets, so an attachment is decoded only when it is
asked for.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from sendry.mail.address_list import HeaderAddress
from sendry.mail.charsets import decode
from sendry.mail.excerpts import codes, links, preview
from sendry.mail.headers import addresses, decode_header_text, extent, fields, find
from sendry.mail.newlines import has_only_crlf, to_crlf
from sendry.mail.parameters import parse_parameters

__all__ = ["Limits", "Mail", "Part", "codes", "links", "part_content", "preview", "read"]

LONGEST_HEAD: Final = 262_144  # octets of the head of an entity

_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_LAST_FIELD: Final = re.compile(rb"[!-9;-~]+:[^\r\n]*")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]")
_END_OF_DELIMITER: Final = re.compile(rb"(--)?[ \t]*(?:\r\n|\Z)")
_META_CHARSET: Final = re.compile(rb"<meta[^<>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_NOT_IN_FILENAME: Final = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a mail is looked at; what is beyond is left off and `Mail.is_cut` says so."""

    parts: int = 500
    depth: int = 20
    fields: int = 1000
    text: int = 2_000_000  # octets of each of text and html


@dataclass(frozen=True, slots=True)
class Part:
    """One entity of the tree. `index` is its place in `Mail.parts`, `path` its number as IMAP counts ("" the
    whole).

    `size` is in octets, decoded, and for base64 counted without decoding. `is_attachment`: neither shown as
    text, nor a multipart, nor a picture of the HTML.
    """

    index: int
    path: str
    content_type: str
    charset: str
    filename: str
    content_id: str  # without angle brackets
    disposition: str
    encoding: str
    size: int
    is_attachment: bool


@dataclass(frozen=True, slots=True)
class Mail:
    """What a page shows of a mail. `text` and `html` are None where there is no such part; `date` is aware,
    or None.
    """

    head: bytes
    headers: tuple[tuple[str, str], ...]
    subject: str
    from_: tuple[HeaderAddress, ...]
    to: tuple[HeaderAddress, ...]
    cc: tuple[HeaderAddress, ...]
    reply_to: tuple[HeaderAddress, ...]
    message_id: str
    date: datetime | None
    text: str | None
    html: str | None
    parts: tuple[Part, ...]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class _Node:
    """A part with the place of its body in the octets."""

    part: Part
    start: int
    end: int
    is_body: bool


def read(raw: bytes, limits: Limits = Limits()) -> Mail:
    """The mail in `raw`; never raises."""
    octets = _crlf(raw)
    start = _after_mbox_line(octets)
    head, _ = _head_of(octets, start, len(octets))
    nodes, is_cut = _tree(octets, limits)
    listed = fields(head)
    text, is_text_cut = _shown(octets, nodes, "text/plain", limits.text)
    html, is_html_cut = _shown(octets, nodes, "text/html", limits.text)
    subject = find(head, "Subject")
    message_id = find(head, "Message-ID")
    return Mail(
        head=head,
        headers=tuple((name.decode("ascii"), decode_header_text(value)) for name, value in listed[: limits.fields]),
        subject=decode_header_text(subject) if subject else "",
        from_=addresses(head, "From"),
        to=addresses(head, "To"),
        cc=addresses(head, "Cc"),
        reply_to=addresses(head, "Reply-To"),
        message_id=decode_header_text(message_id) if message_id else "",
        date=_date(find(head, "Date")),
        text=text,
        html=html,
        parts=tuple(node.part for node in nodes),
        is_cut=is_cut or is_text_cut or is_html_cut or len(listed) > limits.fields,
    )


def part_content(raw: bytes, index: int, limits: Limits = Limits()) -> bytes:
    """The decoded octets of `Mail.parts[index]`; b"" for a number that is not there."""
    octets = _crlf(raw)
    nodes, _ = _tree(octets, limits)
    if not 0 <= index < len(nodes):
        return b""
    node = nodes[index]
    return _decoded(octets[node.start : node.end], node.part.encoding)


def _crlf(raw: bytes) -> bytes:
    return raw if has_only_crlf(raw) else to_crlf(raw)


def _after_mbox_line(octets: bytes) -> int:
    return octets.find(b"\r\n") + 2 if octets.startswith((b"From ", b">From ")) and b"\r\n" in octets else 0


def _head_of(octets: bytes, start: int, end: int) -> tuple[bytes, int]:
    """The fields of the entity in octets[start:end], and where its body begins."""
    stop = min(end, start + LONGEST_HEAD)
    fields_end, body = extent(octets, start, stop)
    if _LAST_FIELD.fullmatch(octets, fields_end, stop):  # the delimiter took the CRLF of the last field
        return octets[start:stop] + b"\r\n", stop
    return octets[start:fields_end], body


def _tree(octets: bytes, limits: Limits) -> tuple[list[_Node], bool]:
    """All entities, parents before children in the order of the octets; True when a limit left some off."""
    nodes: list[_Node] = []
    # (start, end, path, depth, default type, parent is multipart/related); a stack, so depth costs no
    # recursion.
    waiting = [(_after_mbox_line(octets), len(octets), "", 0, "text/plain", False)]
    is_cut = False
    while waiting:
        if len(nodes) == limits.parts:
            return nodes, True
        start, end, path, depth, default, in_related = waiting.pop()
        head, body = _head_of(octets, start, end)
        kind, parameters = _content_type(head, default)
        boundary = parameters.get("boundary", "").rstrip().encode("utf-8", "replace")[:200]
        is_multipart = kind.startswith("multipart/") and bool(boundary)
        if is_multipart and depth >= limits.depth:
            is_multipart, is_cut = False, True
        nodes.append(_node(octets, head, body, end, (len(nodes), path), kind, parameters, is_multipart, in_related))
        if is_multipart:
            room = limits.parts - len(nodes)
            children = []
            for number, (child_start, child_end) in enumerate(_sections(octets, boundary, body, end), 1):
                if number > room:
                    is_cut = True
                    break
                below = "message/rfc822" if kind == "multipart/digest" else "text/plain"
                child_path = f"{path}.{number}" if path else str(number)
                children.append((child_start, child_end, child_path, depth + 1, below, kind == "multipart/related"))
            waiting += reversed(children)
    return nodes, is_cut


def _sections(octets: bytes, boundary: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The places of the entities of a multipart; the last one ends with it when its closing delimiter is
    missing.
    """
    delimiter = b"\r\n--" + boundary
    opened = -1
    # The first one may stand at the very start: the line end before it is then that of the empty line.
    at = octets.find(delimiter, max(start - 2, 0), end)
    while at >= 0:
        mark = _END_OF_DELIMITER.match(octets, at + len(delimiter), end)
        if mark:
            if opened >= 0:
                yield opened, max(at, opened)
            opened = mark.end()
            if mark[1]:
                return
            at = opened - 2 if octets.startswith(b"\r\n", opened - 2) else opened
        else:
            at += 2
        at = octets.find(delimiter, at, end)
    if opened >= 0:
        yield opened, end


def _node(
    octets: bytes,
    head: bytes,
    start: int,
    end: int,
    place: tuple[int, str],
    kind: str,
    parameters: dict[str, str],
    is_multipart: bool,
    in_related: bool,
) -> _Node:
    disposition, named = parse_parameters(find(head, "Content-Disposition") or b"")
    encoding = (find(head, "Content-Transfer-Encoding") or b"7bit").strip().lower()[:40].decode("ascii", "replace")
    content_id = decode_header_text(find(head, "Content-ID") or b"", 500).strip("<>")
    filename = _NOT_IN_FILENAME.sub("_", named.get("filename") or parameters.get("name") or "")[:255]
    is_text = kind in ("text/plain", "text/html") or (kind.startswith("multipart/") and not is_multipart)
    is_body = is_text and disposition != "attachment" and not filename
    is_picture = bool(content_id) and disposition != "attachment" and (in_related or disposition == "inline")
    part = Part(
        index=place[0],
        path=place[1],
        content_type=kind,
        charset=parameters.get("charset", "")[:40].lower(),
        filename=filename,
        content_id=content_id,
        disposition=disposition[:40],
        encoding="" if is_multipart else encoding,
        size=end - start if is_multipart else _size(octets, start, end, encoding),
        is_attachment=not (is_multipart or is_body or is_picture),
    )
    return _Node(part, start, end, is_body and not is_multipart)


def _content_type(head: bytes, default: str) -> tuple[str, dict[str, str]]:
    value = find(head, "Content-Type")
    if value is None:
        return default, {}
    kind, parameters = parse_parameters(value)
    return (kind if _TYPE.fullmatch(kind) and len(kind) <= 128 else "text/plain"), parameters


def _size(octets: bytes, start: int, end: int, encoding: str) -> int:
    if encoding == "base64":
        characters = end - start - 2 * octets.count(b"\r\n", start, end)
        padding = octets[max(end - 6, start) : end].count(b"=")
        return max(characters // 4 * 3 - padding, 0)
    if encoding == "quoted-printable":
        return len(_decoded(octets[start:end], encoding))
    return end - start


def _decoded(octets: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return binascii.a2b_qp(octets)
    if encoding != "base64":
        return octets
    try:
        return binascii.a2b_base64(octets)
    except binascii.Error:  # cut short or damaged: as much as can be had
        clean = _NOT_BASE64.sub(b"", octets)
        clean = clean[:-1] if len(clean) % 4 == 1 else clean
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def _shown(octets: bytes, nodes: list[_Node], kind: str, limit: int) -> tuple[str | None, bool]:
    """The texts of one kind in one piece (some programs put several around attachments); True when it was
    cut.
    """
    texts: list[str] = []
    left = limit
    for node in nodes:
        shown_as = "text/html" if node.part.content_type == "text/html" else "text/plain"
        if not node.is_body or shown_as != kind:
            continue
        if left <= 0:
            return "\n".join(texts), True
        # Encoded text takes at most three times its octets, plus line ends.
        content = _decoded(octets[node.start : min(node.end, node.start + 4 * left + 4096)], node.part.encoding)
        texts.append(_text(content[:left], node.part.charset, kind))
        left -= len(content)
    return ("\n".join(texts) if texts else None), left < 0


def _text(content: bytes, charset: str, kind: str) -> str:
    if not charset and kind == "text/html":
        declared = _META_CHARSET.search(content[:2048])
        charset = declared[1].decode("ascii") if declared else ""
    return decode(content, charset).replace("\r\n", "\n").replace("\0", "").removeprefix("\ufeff")


def _date(value: bytes | None) -> datetime | None:
    if value is None:
        return None
    try:
        date = parsedate_to_datetime(decode_header_text(value, 200))
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None
