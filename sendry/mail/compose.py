"""A message out of its parts (RFC 5322, RFC 2045-2047, RFC 2231): what the API and campaigns hand in, as octets.

Pure. Promise: whatever strings a Draft has, `compose` either raises DraftError naming the field, or gives a message
whose header block has exactly the fields we meant, whose every line fits RFC 5322, and which reads back the same.
A Draft knows no Bcc, so none can be written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sendry.mail.address import BadAddress, Mailbox, normalise, parse_mailbox_list
from sendry.mail.entities import Attachment, DraftError, Entity, attachment_entity, multipart, text_entity
from sendry.mail.headers import HeaderError, build_field, check_block, format_date
from sendry.mail.words import LINE, encode_phrase, first_control

__all__ = ["Attachment", "Composed", "Draft", "DraftError", "compose"]

# Written by us alone; what begins with one of the prefixes too.
RESERVED: Final = frozenset({
    "from", "sender", "to", "cc", "bcc", "subject", "date", "message-id", "received", "return-path", "mime-version",
    "dkim-signature", "domainkey-signature", "authentication-results", "received-spf", "delivered-to",
})  # fmt: skip
RESERVED_PREFIXES: Final = ("content-", "resent-", "arc-")
AT_MOST_ONCE: Final = frozenset({
    "reply-to", "in-reply-to", "references", "list-id", "list-unsubscribe", "list-unsubscribe-post",
})  # fmt: skip

_PLAIN_ADDRESS: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*@[a-z0-9.-]+", re.ASCII)
_MESSAGE_ID: Final = re.compile(r"<?([!-;=?A-~]{1,200}@[!-;=?A-~]{1,255})>?")


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be written. `text` and `html` are None where there is no such body; `date` is aware."""

    from_: Mailbox
    to: tuple[Mailbox, ...]
    message_id: str  # with or without its angle brackets
    date: datetime
    cc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Composed:
    """A finished message. `head` ends with its empty line; `needs_smtputf8`: an address in it is not ASCII."""

    head: bytes
    body: bytes
    needs_smtputf8: bool

    @property
    def raw(self) -> bytes:
        """The whole message."""
        return self.head + self.body


def compose(draft: Draft) -> Composed:
    """The message of a draft; raises DraftError (a ValueError) naming the first field at fault."""
    head = _Head()
    head.add_mailboxes("From", "from", (draft.from_,))
    if draft.reply_to:
        head.add_mailboxes("Reply-To", "reply_to", draft.reply_to)
    if draft.to:
        head.add_mailboxes("To", "to", draft.to)
    elif not draft.cc:
        head.add("To", b"To: undisclosed-recipients:;\r\n")
    if draft.cc:
        head.add_mailboxes("Cc", "cc", draft.cc)
    head.add_text("Subject", "subject", draft.subject)
    head.add("Date", f"Date: {format_date(draft.date)}\r\n".encode("ascii"))
    message_id = _MESSAGE_ID.fullmatch(draft.message_id)
    if message_id is None:
        raise DraftError("message_id", "a Message-ID is written as id@example.com, in ASCII")
    head.add("Message-ID", f"Message-ID: <{message_id[1]}>\r\n".encode("ascii"))
    for name, value in draft.headers:
        _add_custom(head, name, value, has_reply_to=bool(draft.reply_to))
    body = _body(draft, message_id[1])
    head.add("MIME-Version", b"MIME-Version: 1.0\r\n")
    for name, field in body.fields:
        head.add(name, field)
    return Composed(head.finish(), b"".join(body.blocks), head.needs_smtputf8)


class _Head:
    """The header block as it grows, with the names it must have in the end."""

    __slots__ = ("_fields", "_names", "needs_smtputf8")

    def __init__(self) -> None:
        self._names: list[str] = []
        self._fields: list[bytes] = []
        self.needs_smtputf8 = False

    def add(self, name: str, field: bytes) -> None:
        self._names.append(name.lower())
        self._fields.append(field)

    def add_text(self, name: str, field: str, value: str) -> None:
        try:
            self.add(name, build_field(name, value))
        except HeaderError as fault:
            raise DraftError(field, fault.reason) from None

    def add_mailboxes(self, name: str, field: str, mailboxes: tuple[Mailbox, ...]) -> None:
        written = [f"{name}:"]
        column = len(name) + 1
        for number, mailbox in enumerate(mailboxes):
            address = mailbox.address
            if not _PLAIN_ADDRESS.fullmatch(address):
                address = _checked_address(address, field)
                self.needs_smtputf8 = self.needs_smtputf8 or not address.isascii()
            if number:
                written.append(",")
            entry = _entry(mailbox.name.strip(), address, 1 if number else column + 1, field)
            begin, _, _ = entry.partition("\r\n")
            if number and column + len(begin) + 3 > LINE:
                written.append("\r\n")
                column = 0
            written += (" ", entry)
            column = column + 2 + len(entry) if begin == entry else len(entry) - entry.rindex("\n")
        self.add(name, ("".join(written) + "\r\n").encode("utf-8"))

    def has(self, name: str) -> bool:
        return name in self._names

    def finish(self) -> bytes:
        """The block with its empty line, after it was read as a stranger would read it."""
        head = b"".join(self._fields)
        try:
            names = check_block(head)
        except HeaderError as fault:
            raise DraftError(fault.field, fault.reason) from None
        if names != self._names:
            raise DraftError("headers", "the header block would have other fields than were given")
        return head + b"\r\n"


def _entry(name: str, address: str, used: int, field: str) -> str:
    if not name:
        return address
    control = first_control(name)
    if control is not None:
        raise DraftError(field, f"the character U+{ord(control):04X} is not allowed in a name; take it out")
    phrase = encode_phrase(name, used)
    used = used + len(phrase) if "\r\n" not in phrase else len(phrase.rpartition("\r\n")[2])
    separator = " " if used + 3 + len(address) <= LINE else "\r\n "
    return f"{phrase}{separator}<{address}>"


def _checked_address(address: str, field: str) -> str:
    try:
        canonical = normalise(address)
    except BadAddress as fault:
        raise DraftError(field, f"{address[:80]!r} is no address: {fault.why}") from None
    if not canonical:
        raise DraftError(field, "an address is missing")
    return canonical


def _add_custom(head: _Head, name: str, value: str, *, has_reply_to: bool) -> None:
    lower = name.lower()
    field = f"headers.{name[:80]}"
    if lower in RESERVED or lower.startswith(RESERVED_PREFIXES):
        raise DraftError(field, "this header is written by Sendry; use the field of the request for it")
    if lower in AT_MOST_ONCE and (head.has(lower) or (lower == "reply-to" and has_reply_to)):
        raise DraftError(field, "this header may be given only once")
    if lower != "reply-to":
        head.add_text(name, field, value)
        return
    try:
        head.add_mailboxes("Reply-To", field, parse_mailbox_list(value))
    except BadAddress as fault:
        raise DraftError(field, fault.why) from None


def _body(draft: Draft, message_id: str) -> Entity:
    """text and html alternative, html with its inline parts related, attachments mixed (RFC 2046 section 5.1)."""
    inline: list[Entity] = []
    mixed: list[Entity] = []
    seen: set[str] = set()
    for number, attachment in enumerate(draft.attachments):
        place = f"attachments[{number}]"
        if attachment.content_id:
            if attachment.content_id in seen:
                raise DraftError(f"{place}.content_id", "another attachment has the same content_id")
            seen.add(attachment.content_id)
        entity = attachment_entity(attachment, place)
        (inline if attachment.inline and draft.html is not None else mixed).append(entity)
    bodies: list[Entity] = []
    if draft.text is not None or draft.html is None:
        bodies.append(text_entity(draft.text or "", "plain", "text"))
    if draft.html is not None:
        html = text_entity(draft.html, "html", "html")
        bodies.append(multipart("related", [html, *inline], message_id, 'type="text/html"') if inline else html)
    body = bodies[0] if len(bodies) == 1 else multipart("alternative", bodies, message_id)
    return multipart("mixed", [body, *mixed], message_id) if mixed else body
