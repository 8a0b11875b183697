"""Content for hosts that take less than we do: no 8BITMIME, and lines of at most 998 octets for everybody.

Pure. Decision (RFC 6152 section 3, RFC 5321 section 4.5.3.1.6): text parts become quoted-printable and others base64
before we sign. What cannot be rewritten without harm (multipart/signed, 8-bit header fields, damaged MIME) goes out
as it is: hosts that do not announce 8BITMIME pass 8-bit octets on all the same, while a bounce helps nobody.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from sendry.mail import headers

LONGEST_LINE: Final = 998
"""Octets of a line without its CRLF."""

_DEEPEST: Final = 20
_BOUNDARY: Final = re.compile(
    rb';[ \t\r\n]*boundary[ \t]*=[ \t]*(?:"([^"\r\n]{1,200})"|([^\s";]{1,200}))', re.IGNORECASE
)
_TYPE: Final = re.compile(rb"[ \t\r\n]*([^\s;/]+/[^\s;]+)")
_ENCODING: Final = "Content-Transfer-Encoding"


class _CannotConvert(Exception):
    pass


def needs_encoding(content: bytes, *, seven_bit: bool, is_eight_bit: bool) -> bool:
    """Whether a message must be rewritten: 8-bit for a host that takes 7-bit only, or a line too long for all."""
    return (seven_bit and is_eight_bit) or has_long_line(content)


def has_long_line(octets: bytes) -> bool:
    """Whether a line has more than 998 octets."""
    start, size = 0, len(octets)
    while size - start > LONGEST_LINE:
        end = octets.rfind(b"\n", start, start + LONGEST_LINE + 2)
        if end < 0:
            return not (size - start <= LONGEST_LINE + 2 and octets.endswith(b"\r\n"))
        start = end + 1
    return False


def to_seven_bit(content: bytes) -> bytes:
    """The message with 7-bit bodies and short lines, or the message as it was where that cannot be done."""
    try:
        converted = _entity(content, "text/plain", 0)
    except _CannotConvert:
        return content
    if converted is content or headers.find(headers.split(content)[0], "MIME-Version") is not None:
        return converted
    return b"MIME-Version: 1.0\r\n" + converted


def _entity(entity: bytes, usual_type: str, depth: int) -> bytes:
    head, body = headers.split(entity)
    if _is_plain(body):
        return entity
    if depth > _DEEPEST or not headers.is_well_formed(head):
        raise _CannotConvert
    declared = headers.find(head, "Content-Type")
    named = _TYPE.match(declared) if declared is not None else None
    kind = named[1].decode("ascii", "replace").lower() if named else usual_type
    encoding = (headers.find(head, _ENCODING) or b"7bit").strip().lower()
    if kind == "multipart/signed":
        raise _CannotConvert
    if kind.startswith("multipart/"):
        inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        return _with_encoding(head, b"7bit") + _parts(body, declared or b"", inner, depth)
    if kind == "message/rfc822":
        return _with_encoding(head, b"7bit") + _entity(body, "text/plain", depth + 1)
    if kind.startswith("message/") or encoding not in (b"7bit", b"8bit", b"binary"):
        raise _CannotConvert
    if kind.startswith("text/"):
        return _with_encoding(head, b"quoted-printable") + _quoted_printable(body)
    return _with_encoding(head, b"base64") + _base64(body)


def _parts(body: bytes, declared: bytes, usual_type: str, depth: int) -> bytes:
    found = _BOUNDARY.search(declared)
    if found is None:
        raise _CannotConvert
    mark = b"--" + (found[1] or found[2])
    # A delimiter stands at the start of a line; blanks may follow it (RFC 2046 section 5.1.1).
    cut = re.compile(rb"(?:\A|\r\n)" + re.escape(mark) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    pieces: list[bytes] = []
    start = 0
    is_inside = False
    for delimiter in cut.finditer(body):
        piece = body[start : delimiter.start()]
        if is_inside:
            piece = b"\r\n" + _entity(piece[2:], usual_type, depth + 1)
        elif not _is_plain(piece):
            raise _CannotConvert
        pieces += (piece, delimiter[0])
        start = delimiter.end()
        is_inside = True
        if delimiter[1]:
            break
    rest = body[start:]
    if not is_inside or not _is_plain(rest):
        raise _CannotConvert
    return b"".join(pieces) + rest


def _is_plain(octets: bytes) -> bool:
    return octets.isascii() and not has_long_line(octets)


def _with_encoding(head: bytes, encoding: bytes) -> bytes:
    return headers.prepend(
        headers.remove_fields(head, (_ENCODING,)), f"{_ENCODING}: ".encode("ascii") + encoding + b"\r\n"
    )


def _quoted_printable(body: bytes) -> bytes:
    # binascii takes the line ends it finds first, so each line is given to it alone.
    return b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in body.split(b"\r\n"))


def _base64(body: bytes) -> bytes:
    lines = (binascii.b2a_base64(body[at : at + 57], newline=False) for at in range(0, len(body), 57))
    return b"\r\n".join(lines) + b"\r\n"
