"""The MIME entities of a message that we write: texts, attachments, multiparts (RFC 2045, RFC 2046, RFC 2231).

Pure. Promise: every line is CRLF-ended and within 998 octets, all is 7bit on the wire, so no hop has to re-encode
(which would break a signature), and no boundary occurs inside what it bounds.
"""

from __future__ import annotations

import binascii
import mimetypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Final
from urllib.parse import quote

from sendry.mail.headers import LONGEST_LINE, HeaderError, check_block
from sendry.mail.newlines import to_crlf
from sendry.mail.words import first_control

LONGEST_FILENAME: Final = 255  # characters

_NOT_7BIT_TEXT: Final = bytes({*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D})
_NOT_ASCII: Final = bytes(range(0x80, 0x100))
_BASE64_LINE: Final = 76
_BLOCK: Final = 57 * 1024  # octets that give whole lines of base64
_WORD: Final = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"
_PARAMETER: Final = rf'; *({_WORD})=({_WORD}|"[ !#-\[\]-~]*")'
_CONTENT_TYPE: Final = re.compile(f"({_WORD})/({_WORD})((?:{_PARAMETER})*)")
_EACH_PARAMETER: Final = re.compile(_PARAMETER)
_CONTENT_ID: Final = re.compile(r"<?([!-;=?-~]{1,200})>?")
_PLAIN_FILENAME: Final = re.compile(r"[A-Za-z0-9 !#$&+,.;=@^_`{}~()\[\]-]{1,120}")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9.-]+")
_SEGMENT: Final = re.compile(r"(?:%[0-9A-F]{2}|[^%]){1,60}")


class DraftError(ValueError):
    """A part of a draft cannot be sent as it is: `field` names it, `reason` says what is wrong and allowed."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message. `content_type` "" is found by the name; an inline one is shown by its
    `content_id` (`<img src="cid:…">`) inside the HTML.
    """

    filename: str
    content_type: str
    content: bytes
    content_id: str = ""
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """Header fields (name, finished field) and the body in blocks, each line with its CRLF."""

    fields: tuple[tuple[str, bytes], ...]
    blocks: tuple[bytes, ...]


def text_entity(text: str, subtype: str, field: str) -> Entity:
    """A text body: as it is when it is clean ASCII, else quoted-printable or base64, whichever reads better."""
    try:
        octets = to_crlf(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise DraftError(field, "it has half of a surrogate pair, which is no character") from None
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    encoding, octets = _encoded_text(octets)
    return Entity(
        (
            ("Content-Type", f"Content-Type: text/{subtype}; charset=utf-8\r\n".encode("ascii")),
            ("Content-Transfer-Encoding", f"Content-Transfer-Encoding: {encoding}\r\n".encode("ascii")),
        ),
        (octets,),
    )


def attachment_entity(attachment: Attachment, place: str) -> Entity:
    """A file in base64 with its name; `place` is how errors call it."""
    filename = _filename(attachment.filename, f"{place}.filename")
    kind, parameters = _content_type(attachment.content_type, filename, f"{place}.content_type")
    disposition = "inline" if attachment.inline else "attachment"
    if _PLAIN_FILENAME.fullmatch(filename):
        named, fallback = f'\r\n filename="{filename}"', filename
    else:
        named, fallback = _extended("filename", filename), _fallback(filename)
    fields = [
        ("Content-Type", f'Content-Type: {kind}{parameters};\r\n name="{fallback}"\r\n'),
        ("Content-Disposition", f"Content-Disposition: {disposition};{named}\r\n"),
        ("Content-Transfer-Encoding", "Content-Transfer-Encoding: base64\r\n"),
    ]
    if attachment.content_id:
        content_id = _CONTENT_ID.fullmatch(attachment.content_id)
        if content_id is None:
            raise DraftError(f"{place}.content_id", "it may have up to 200 ASCII characters without blanks, < and >")
        fields.append(("Content-ID", f"Content-ID: <{content_id[1]}>\r\n"))
    return Entity(
        tuple((name, field.encode("ascii")) for name, field in fields),
        tuple(_base64_lines(attachment.content)),
    )


def multipart(subtype: str, parts: Sequence[Entity], seed: str, parameter: str = "") -> Entity:
    """The parts in one multipart; its boundary comes from `seed` and their content alone."""
    boundary = _boundary(subtype, parts, seed)
    delimiter = b"--" + boundary + b"\r\n"
    blocks: list[bytes] = []
    for part in parts:
        head = b"".join(field for _, field in part.fields)
        try:
            names = check_block(head)
        except HeaderError as fault:
            raise DraftError("attachments", str(fault)) from None
        if names != [name.lower() for name, _ in part.fields]:
            raise DraftError("attachments", "a part would have other header fields than it should")
        # The CRLF before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1), the one before that to us.
        blocks += (delimiter, head, b"\r\n", *part.blocks, b"\r\n")
    blocks.append(b"--" + boundary + b"--\r\n")
    extra = f" {parameter};" if parameter else ""
    field = f'Content-Type: multipart/{subtype};{extra}\r\n boundary="{boundary.decode("ascii")}"\r\n'
    return Entity((("Content-Type", field.encode("ascii")),), tuple(blocks))


def _encoded_text(octets: bytes) -> tuple[str, bytes]:
    if octets.isascii():
        is_plain = len(octets.translate(None, _NOT_7BIT_TEXT)) == len(octets)
        # Some programs write ">From" for a line that begins so, which would break the signature.
        mangles = octets.startswith(b"From ") or b"\nFrom " in octets
        if is_plain and not mangles and not _has_long_line(octets):
            return "7bit", octets
    strange = len(octets) - len(octets.translate(None, _NOT_ASCII))
    if 6 * strange > len(octets):
        return "base64", b"".join(_base64_lines(octets))
    encoded = binascii.b2a_qp(octets, istext=True)
    if encoded.startswith(b"From "):
        encoded = b"F=\r\n" + encoded[1:]
    return "quoted-printable", encoded.replace(b"\nFrom ", b"\nF=\r\nrom ")


def _has_long_line(octets: bytes) -> bool:
    at = 0
    while len(octets) - at > LONGEST_LINE + 2:
        newline = octets.rfind(b"\n", at, at + LONGEST_LINE + 2)
        if newline < 0:
            return True
        at = newline + 1
    return False


def _base64_lines(octets: bytes) -> Iterator[bytes]:
    """Blocks of whole lines, so that large content is never in memory twice as text."""
    view = memoryview(octets)
    for at in range(0, len(octets), _BLOCK):
        encoded = binascii.b2a_base64(view[at : at + _BLOCK], newline=False)
        yield b"".join(
            [encoded[line : line + _BASE64_LINE] + b"\r\n" for line in range(0, len(encoded), _BASE64_LINE)]
        )


def _boundary(subtype: str, parts: Sequence[Entity], seed: str) -> bytes:
    digest = blake2b(f"{subtype} {seed}".encode(), digest_size=12).hexdigest()
    for number in count():
        # "=_" is in neither base64 nor quoted-printable (RFC 2045 section 6.7), so mostly the first will do.
        boundary = f"=_{digest}{number or ''}".encode("ascii")
        if not any(boundary in block for part in parts for block in part.blocks):
            break
    return boundary


def _content_type(content_type: str, filename: str, field: str) -> tuple[str, str]:
    """(type/subtype, its parameters as "; a=b")."""
    written = content_type.strip(" ") or mimetypes.types_map.get(_extension(filename), "application/octet-stream")
    found = _CONTENT_TYPE.fullmatch(written)
    if found is None or len(written) > LONGEST_LINE // 2:
        raise DraftError(field, "a content type is written as type/subtype, as in application/pdf")
    major = found[1].lower()
    if major in ("multipart", "message"):  # may not be in base64 (RFC 2046 section 5.2.1)
        return "application/octet-stream", ""
    parameters = "".join(
        f";\r\n {name}={value}" for name, value in _EACH_PARAMETER.findall(found[3]) if name.lower() != "name"
    )
    return f"{major}/{found[2].lower()}", parameters


def _filename(filename: str, field: str) -> str:
    """The last part of a path; "attachment" where nothing is left."""
    control = first_control(filename)
    if control is not None:
        raise DraftError(field, f"the character U+{ord(control):04X} is not allowed in a file name; take it out")
    name = re.split(r"[/\\]", filename)[-1].strip()
    if len(name) > LONGEST_FILENAME:
        raise DraftError(field, f"a file name may have {LONGEST_FILENAME} characters")
    return name if name.strip(".") else "attachment"


def _extension(filename: str) -> str:
    dot = filename.rfind(".")
    return filename[dot:].lower() if dot > 0 else ""


def _fallback(filename: str) -> str:
    """A plain ASCII name for programs that do not know RFC 2231."""
    return _NOT_PLAIN.sub("_", filename)[-60:].lstrip(".") or "attachment"


def _extended(parameter: str, value: str) -> str:
    """The parameter in the form of RFC 2231, in numbered pieces where it is long."""
    encoded = quote(value, safe="", encoding="utf-8")
    if len(encoded) <= 60:
        return f"\r\n {parameter}*=utf-8''{encoded}"
    pieces = _SEGMENT.findall(encoded)
    first = f"\r\n {parameter}*0*=utf-8''{pieces[0]}"
    return first + "".join(f";\r\n {parameter}*{number}*={piece}" for number, piece in enumerate(pieces[1:], 1))
