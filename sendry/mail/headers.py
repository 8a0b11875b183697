"""The header block of a message as octets: take apart, look up, add, remove, check. No e-mail package, no
parsing tree.

A *head* is the header block with the empty line that ends it (every function also takes it without); its line
ends are CRLF, as `sendry.mail.newlines` and the listener guarantee. Promise: reading never raises on hostile
octets, and a block that `check_block` lets pass has exactly the fields it names, whoever reads it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Final

import idna

from sendry.mail.address_list import HeaderAddress, parse_address_list
from sendry.mail.charsets import decode
from sendry.mail.words import LONGEST_TEXT, decode_header_text, encode_text, first_control, fold_plain

__all__ = [
    "LONGEST_LINE",
    "HeadFacts",
    "HeaderError",
    "addresses",
    "build_field",
    "check_block",
    "count",
    "decode_header_text",
    "extent",
    "fields",
    "find",
    "find_all",
    "format_date",
    "from_address",
    "is_well_formed",
    "join",
    "mend",
    "prepend",
    "received_field",
    "remove_fields",
    "scan",
    "split",
]

LONGEST_LINE: Final = 998  # octets without CRLF, RFC 5322 section 2.1.1

_FIELD: Final = re.compile(rb"^([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n", re.MULTILINE)
_WELL_FORMED: Final = re.compile(rb"(?:[!-9;-~]+[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*")
# What we let out ourselves: no blank before the colon, no control but tab, no line of blanks only (a reader
# that trims line ends would take it for the end of the head).
_STRICT_FIELD: Final = re.compile(
    rb"(([!-9;-~]+):[^\x00-\x08\x0a-\x1f\x7f]*\r\n(?:[ \t]+[^\x00-\x20\x7f][^\x00-\x08\x0a-\x1f\x7f]*\r\n)*)"
)
_ATEXT: Final = rb"[\w.!#$%&'*+/=?^`{|}~-]"
_PLAIN_FROM: Final = re.compile(
    rb'[ \t]*(?:(?:"[^"\\\r\n]*"[ \t]*|(?:' + _ATEXT + rb"+[ \t]+)*(?:" + _ATEXT + rb"+)?)<"
    rb"" + _ATEXT + rb"+@([A-Za-z0-9][A-Za-z0-9.-]*)>|" + _ATEXT + rb"+@([A-Za-z0-9][A-Za-z0-9.-]*))[ \t]*"
)
_LONGEST_AUTHOR: Final = 4096
_NAME: Final = re.compile(r"[!-9;-~]{1,64}")
# Fields with a grammar of their own: encoded words would mean nothing there.
_STRUCTURED: Final = frozenset({
    "in-reply-to", "references", "auto-submitted", "feedback-id", "precedence", "importance", "priority",
    "list-id", "list-help", "list-subscribe", "list-unsubscribe", "list-unsubscribe-post", "list-post",
    "list-owner", "list-archive",
})  # fmt: skip
_MESSAGE_ID: Final = re.compile(rb"<[^<>\s]{1,990}>")
_NOT_HOST: Final = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class HeaderError(ValueError):
    """A header field is not as it must be. `field` is its name, `reason` a sentence part: what is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """What intake needs to know of a head, found in one pass.

    `from_domain` is the lower-case A-label domain of the author, or None; then `from_fault` says why (""
    otherwise). `message_id` has its angle brackets. `is_well_formed` is False when a line is no field: see
    `mend`.
    """

    from_domain: str | None
    from_fault: str
    from_raw: str  # unfolded, encoded words left as they are; "" when there is none
    subject: str  # decoded for display
    message_id: str | None
    has_date: bool
    has_message_id: bool
    received_count: int
    header_size: int
    is_well_formed: bool


def split(message: bytes) -> tuple[bytes, bytes]:
    """Head (with its empty line) and body. A message without an empty line is all head; one that is missing
    is added.
    """
    if message.startswith(b"\r\n"):
        return b"\r\n", message[2:]
    end = message.find(b"\r\n\r\n")
    if end >= 0:
        return message[: end + 4], message[end + 4 :]
    if not message:
        return b"\r\n", b""
    return message + (b"\r\n" if message.endswith(b"\r\n") else b"\r\n\r\n"), b""


def join(head: bytes, body: bytes) -> bytes:
    """The message again, whether `head` has its empty line or not."""
    return _fields_of(head) + b"\r\n" + body


def extent(octets: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the fields of the entity in octets[start:end] end, and where its body begins.

    They are the same where no empty line parts them: then the body begins with the first line that is no field.
    """
    good = _WELL_FORMED.match(octets, start, end)
    fields_end = good.end() if good else start
    return fields_end, fields_end + 2 if octets.startswith(b"\r\n", fields_end, end) else fields_end


def mend(head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Head and body in which the head is fields only.

    A leading mbox line ("From ", ">From ") is dropped; from the first other line that is no field on, all is
    body.
    """
    block = _fields_of(head)
    while block.startswith((b"From ", b">From ")):
        block = block.partition(b"\r\n")[2]
    good = _WELL_FORMED.match(block)
    end = good.end() if good else 0
    if end == len(block):
        return block + b"\r\n", body
    return block[:end] + b"\r\n", block[end:] + b"\r\n" + body


def scan(head: bytes) -> HeadFacts:
    """The facts of a head; takes a few microseconds, so intake runs it on every message. Never raises."""
    found = _FIELD.findall(head)
    names = [name.lower() for name, _ in found]
    by_name = dict(zip(reversed(names), [value for _, value in reversed(found)], strict=True))
    author = by_name.get(b"from")
    domain, fault = _author_domain(author, names.count(b"from"))
    subject = by_name.get(b"subject")
    message_id = by_name.get(b"message-id")
    bracketed = _MESSAGE_ID.search(message_id) if message_id else None
    return HeadFacts(
        from_domain=domain,
        from_fault=fault,
        from_raw=_unfolded(author) if author else "",
        subject=decode_header_text(subject) if subject else "",
        message_id=decode(bracketed[0]) if bracketed else None,
        has_date=b"date" in by_name,
        has_message_id=bool(message_id and message_id.strip()),
        received_count=names.count(b"received"),
        header_size=len(head),
        is_well_formed=_is_all_fields(head, found),
    )


def is_well_formed(head: bytes) -> bool:
    """Is every line of the head a field or the continuation of one?"""
    good = _WELL_FORMED.match(head)
    return good is not None and good.end() == len(_fields_of(head))


def fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """(name, raw value) of each field in order; the value keeps its folds and its leading blank, not its last
    CRLF.
    """
    return _FIELD.findall(head)


def find(head: bytes, name: str) -> bytes | None:
    """Raw value of the first field of that name (any case), None when there is none."""
    field = _pattern(name).search(head)
    return field[1] if field else None


def find_all(head: bytes, name: str) -> list[bytes]:
    """Raw values of all fields of that name (any case), in order."""
    return _pattern(name).findall(head)


def count(head: bytes, name: str) -> int:
    """How many fields of that name (any case) there are."""
    return len(find_all(head, name))


def addresses(head: bytes, name: str) -> tuple[HeaderAddress, ...]:
    """The entries of all address fields of that name; empty when there is none."""
    return parse_address_list(", ".join(_unfolded(value) for value in find_all(head, name)))


def from_address(head: bytes) -> HeaderAddress:
    """The first mailbox of the author. Raises HeaderError for no From field, several, or one without an
    address.
    """
    values = find_all(head, "From")
    domain, fault = _author_domain(values[0] if values else None, len(values))
    if domain is None:
        raise HeaderError("From", fault)
    return parse_address_list(_unfolded(values[0]), limit=1)[0]


def prepend(head: bytes, *lines: bytes) -> bytes:
    """`head` with finished fields (each with its CRLF) on top, in the order given."""
    return b"".join((*lines, head))


def remove_fields(head: bytes, names: Iterable[str]) -> bytes:
    """`head` without the fields of these names (any case)."""
    for name in names:
        head = _pattern(name).sub(b"", head)
    return head


def check_block(block: bytes, allowed_names: Collection[str] | None = None) -> list[str]:
    """The lower-case names of the fields of a block we wrote, in order; raises HeaderError when it may not go
    out.

    Refused: a line that is no field, a control character, a bare CR or LF, a line over 998 octets, a line of
    blanks only, and a name that is not in `allowed_names` (lower case) where that is given.
    """
    end = len(block) - 2 if block.endswith(b"\r\n\r\n") else len(block)
    found = _STRICT_FIELD.findall(block)
    names = [name.lower().decode("ascii") for _, name in found]
    if sum([len(field) for field, _ in found]) != end:  # something stands between or behind the fields
        raise HeaderError(*_first_fault(block, end))
    for name, (field, _) in zip(names, found, strict=True):
        if allowed_names is not None and name not in allowed_names:
            raise HeaderError(name, "this header field is not expected here")
        if len(field) > LONGEST_LINE and max(map(len, field.split(b"\r\n"))) > LONGEST_LINE:
            raise HeaderError(name, f"a line of it is longer than {LONGEST_LINE} octets")
    return names


def build_field(name: str, value: str) -> bytes:
    """A finished field of our own, folded and encoded as RFC 5322 and RFC 2047 want it. Raises HeaderError.

    For unstructured fields and those with a grammar of their own (References, List-Unsubscribe ...), which take
    ASCII only; not for addresses. Blanks around the value are dropped.
    """
    if not _NAME.fullmatch(name):
        raise HeaderError(
            name, "a header name is 1 to 64 of the ASCII letters, digits and signs, without ':' or blanks"
        )
    control = first_control(value)
    if control is not None:
        raise HeaderError(name, f"the character U+{ord(control):04X} is not allowed in a header; take it out")
    value = value.strip(" ")
    if name.lower() not in _STRUCTURED:
        return f"{name}: {encode_text(value, len(name) + 2)}\r\n".encode("ascii")
    if not value.isascii():
        raise HeaderError(name, "this header may have ASCII characters only")
    folded = fold_plain(value, len(name) + 2)
    if folded is None:
        raise HeaderError(name, "a part of it without blanks is longer than a line may be")
    return f"{name}: {folded}\r\n".encode("ascii")


def received_field(
    *, helo: str, ip: str, by: str, protocol: str, message_id: str, date: datetime, recipient: str = ""
) -> bytes:
    """A finished Received field (RFC 5321 section 4.4).

    `protocol` is one of ESMTP, ESMTPS, ESMTPA, ESMTPSA, SMTP or a UTF8SMTP form; `message_id` is our own id.
    `recipient` is given only where there is just one: several would tell them of each other. `helo` is not
    trusted.
    """
    literal = f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
    greeting = _NOT_HOST.sub("", helo)[:255] or "unknown"
    written_for = f"\r\n\tfor <{recipient}>" if recipient and recipient.isascii() and recipient.isprintable() else ""
    text = (
        f"Received: from {greeting} ({literal})\r\n\tby {by} with {protocol} id {message_id}{written_for};"
        f"\r\n\t{format_date(date)}\r\n"
    )
    return text.encode("ascii")


def format_date(at: datetime) -> str:
    """`at` (aware) as a date-time of RFC 5322 section 3.3, in UTC."""
    utc = at.astimezone(UTC)
    return (
        f"{_DAYS[utc.weekday()]}, {utc.day:02d} {_MONTHS[utc.month - 1]} {utc.year:04d} "
        f"{utc.hour:02d}:{utc.minute:02d}:{utc.second:02d} +0000"
    )


def _first_fault(block: bytes, end: int) -> tuple[str, str]:
    """(where, what) of the first place that is no strict field."""
    at = 0
    while field := _STRICT_FIELD.match(block, at, end):
        at = field.end()
    name = decode(block[at : at + 80].partition(b":")[0].partition(b"\r")[0])
    return name if name and name.isprintable() else "header", "not a well-formed header field"


def _author_domain(value: bytes | None, senders: int) -> tuple[str | None, str]:
    """(domain, "") or (None, what is wrong)."""
    if value is None:
        return None, "there is no From field; add one"
    if senders > 1:
        return None, "there is more than one From field; leave one"
    if len(value) > _LONGEST_AUTHOR:
        return None, f"the From field is longer than {_LONGEST_AUTHOR} octets; shorten it"
    plain = _PLAIN_FROM.fullmatch(value)
    if plain:
        return (plain[1] or plain[2]).decode("ascii").lower().rstrip("."), ""
    domains = {_ascii_domain(author.address) for author in parse_address_list(_unfolded(value))}
    if len(domains) > 1:
        return None, "the addresses in From are of different domains; use one"
    domain = domains.pop() if domains else None
    if domain is None:
        return None, "there is no valid address in From; write it as name@example.com"
    return domain, ""


def _ascii_domain(address: str) -> str | None:
    local, at, domain = address.rpartition("@")
    domain = domain.rstrip(".").lower()
    if not (local and at and domain) or len(domain) > 253:
        return None
    if domain.isascii():
        return domain if re.fullmatch(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[a-z0-9.:]+\]", domain) else None
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None


def _unfolded(value: bytes) -> str:
    text = decode(value[:LONGEST_TEXT].replace(b"\r\n", b"")).strip()
    return text.replace("\0", "")


def _fields_of(head: bytes) -> bytes:
    if head == b"\r\n":
        return b""
    return head[:-2] if head.endswith(b"\r\n\r\n") else head


def _is_all_fields(head: bytes, found: list[tuple[bytes, bytes]]) -> bool:
    # Name, colon, value, CRLF of each field; only the obsolete blank before a colon makes the sum fall short.
    octets = sum(map(len, chain.from_iterable(found))) + 3 * len(found)
    if len(head) - octets == (2 if head.endswith(b"\r\n\r\n") or head == b"\r\n" else 0):
        return True
    return is_well_formed(head)


@lru_cache(maxsize=512)
def _pattern(name: str) -> re.Pattern[bytes]:
    return re.compile(
        rb"^%s[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n" % re.escape(name.encode("ascii")),
        re.MULTILINE | re.IGNORECASE,
    )
