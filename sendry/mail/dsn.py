"""Delivery status notifications: what became of a message, told to its sender (RFC 3464, 6522, 6533).

Pure: touches nothing but its arguments; the caller sends the octets with a null return path. Promise: three parts,
always; no line over 998 octets; 7-bit unless the sender's own address is not ASCII; nothing that a client, a remote
host or the original message said can add a header field, a status field or a part; nobody is named but the
recipients given.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import count
from typing import Final

from sendry.mail.esmtp import MAX_ENVID, encode_orcpt
from sendry.mail.headers import LONGEST_LINE, decode_header_text, find, format_date
from sendry.mail.newlines import has_only_crlf, to_crlf

MAX_RETURNED: Final = 1_048_576
"""Octets of an original message that are sent back whole; of a longer one only the header block is."""

MAX_HEADERS: Final = 65_536
"""Octets of the original header block that are sent back."""

MAX_DIAGNOSTIC: Final = 1000
"""Characters of what a remote host said."""

MAX_ADDRESS_FIELD: Final = 900
"""Octets of an address in a status field; only an ORCPT of a client can be longer, and is cut."""

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_REPLY = re.compile(r"[2-5][0-9]{2}(?![0-9])")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


class Action(StrEnum):
    """What became of the message for one recipient (RFC 3464 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """One recipient of a notification.

    orcpt: as in RcptParams, "" = none. enhanced: "" = the general status of the action. diagnostic: what the remote
    said, with its codes, lines separated by "\\n"; or our own sentence; "" = none. remote_mta: the host that said
    it, "" where no host did. will_retry_until: for Action.DELAYED. Times are aware.
    """

    address: str
    action: Action
    enhanced: str = ""
    diagnostic: str = ""
    remote_mta: str = ""
    orcpt: str = ""
    last_attempt_at: datetime | None = None
    will_retry_until: datetime | None = None


_GENERAL_STATUS = {
    Action.FAILED: "5.0.0",
    Action.DELAYED: "4.0.0",
    Action.DELIVERED: "2.0.0",
    Action.RELAYED: "2.0.0",
}
_SUBJECT = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.DELIVERED: "Your message was delivered",
    Action.RELAYED: "Your message was passed on",
}
_OPENING = {
    Action.FAILED: "Your message could not be delivered to:",
    Action.DELAYED: "Your message has not been delivered yet to:",
    Action.DELIVERED: "Your message was delivered to:",
    Action.RELAYED: "Your message was passed on to a host that sends no delivery reports, for:",
}
_ADVICE = {
    Action.FAILED: "We have given up. Check the address, or reach the recipient another way.",
    Action.DELAYED: "You need not send it again: delivery is still being tried.",
    Action.DELIVERED: "",
    Action.RELAYED: "You will hear no more about it from us.",
}


def compose_dsn(
    *,
    reporting_mta: str,
    original_sender: str,
    original_headers: bytes,
    recipients: Sequence[ReportedRecipient],
    arrived_at: datetime,
    message_id: str,
    now: datetime,
    original_full: bytes | None = None,
    envid: str = "",
) -> bytes:
    """The finished notification, header block and body, with CRLF line ends.

    original_full: the whole original where RET=FULL asks for it; sent back if it is 7-bit, has proper lines and at
    most MAX_RETURNED octets, else its header block alone. envid: decoded. message_id: with or without brackets.
    Raises ValueError without recipients or for the null sender, who must never get one.
    """
    if not recipients:
        raise ValueError("a delivery status notification needs at least one recipient")
    if not original_sender:
        raise ValueError("a message from the null sender is never answered by a notification (RFC 5321 6.1)")
    is_utf8 = not original_sender.isascii()
    host = _word(reporting_mta)
    parts = [
        _human_part(host, recipients),
        _status_part(host, envid, arrived_at, recipients, is_utf8),
        _original_part(original_headers, original_full, is_utf8),
    ]
    boundary = _boundary(message_id, parts)
    headers = [
        f"From: Mail Delivery System <mailer-daemon@{host}>",
        f"To: <{_without_controls(original_sender)}>",
        f"Subject: {_SUBJECT[_chief_action(recipients)]}",
        f"Date: {format_date(now)}",
        f"Message-ID: <{_word(message_id).strip('<>')}>",
        *_references(original_headers),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',
        *(["Content-Transfer-Encoding: 8bit"] if is_utf8 else []),
    ]
    head = "".join(f"{header}\r\n" for header in headers).encode()
    delimiter = f"\r\n--{boundary}".encode("ascii")
    return head + b"".join(delimiter + b"\r\n" + part for part in parts) + delimiter + b"--\r\n"


def _human_part(host: str, recipients: Sequence[ReportedRecipient]) -> bytes:
    paragraphs = [f"This is the mail system at {host}."]
    for action in Action:
        concerned = [recipient for recipient in recipients if recipient.action is action]
        if not concerned:
            continue
        paragraphs.append(_OPENING[action])
        paragraphs += [_human_recipient(recipient) for recipient in concerned]
        if _ADVICE[action]:
            paragraphs.append(_ADVICE[action])
    text = "\n\n".join(paragraphs) + "\n"
    head = "Content-Description: Notification\r\n"
    if text.isascii():
        body = text.replace("\n", "\r\n").encode("ascii")
        return f"{head}Content-Type: text/plain; charset=us-ascii\r\n\r\n".encode("ascii") + body
    head += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head.encode("ascii") + _quoted_printable(text.replace("\n", "\r\n").encode())


def _human_recipient(recipient: ReportedRecipient) -> str:
    lines = [f"  {_cut(_without_controls(recipient.address))}"]
    said = _line(recipient.diagnostic)[:MAX_DIAGNOSTIC]
    if said:
        origin = f"{_word(recipient.remote_mta)} said: " if recipient.remote_mta else ""
        lines += textwrap.wrap(
            origin + said, 72, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
        )
    if recipient.action is Action.DELAYED and recipient.will_retry_until is not None:
        lines.append(f"    We keep trying until {format_date(recipient.will_retry_until)}.")
    return "\n".join(lines)


def _status_part(
    host: str, envid: str, arrived_at: datetime, recipients: Sequence[ReportedRecipient], is_utf8: bool
) -> bytes:
    """message/delivery-status: one group of fields for the message, one for each recipient (RFC 3464 2.1)."""
    general = [f"Reporting-MTA: dns; {host}"]
    if envid:
        general.append(f"Original-Envelope-Id: {_line(envid)[:MAX_ENVID]}")
    general.append(f"Arrival-Date: {format_date(arrived_at)}")
    groups = [general] + [_status_fields(recipient, is_utf8) for recipient in recipients]
    text = "\r\n".join("".join(f"{field}\r\n" for field in group) for group in groups)
    kind = "message/global-delivery-status" if is_utf8 else "message/delivery-status"
    encoding = "Content-Transfer-Encoding: 8bit\r\n" if is_utf8 else ""
    body = text.encode() if is_utf8 else text.encode("ascii", "replace")
    return f"Content-Description: Delivery report\r\nContent-Type: {kind}\r\n{encoding}\r\n".encode("ascii") + body


def _status_fields(recipient: ReportedRecipient, is_utf8: bool) -> list[str]:
    fields = []
    if recipient.orcpt:
        fields.append(f"Original-Recipient: {_typed_address(recipient.orcpt, is_utf8)}")
    kind = "rfc822" if recipient.address.isascii() else "utf-8"
    fields.append(f"Final-Recipient: {_typed_address(f'{kind};{recipient.address}', is_utf8)}")
    fields.append(f"Action: {recipient.action}")
    is_status = _STATUS.fullmatch(recipient.enhanced)
    fields.append(f"Status: {recipient.enhanced if is_status else _GENERAL_STATUS[recipient.action]}")
    if recipient.remote_mta:
        fields.append(f"Remote-MTA: dns; {_word(recipient.remote_mta)}")
    said = _line(recipient.diagnostic)[:MAX_DIAGNOSTIC]
    if said:
        is_reply = recipient.remote_mta and _REPLY.match(said)
        fields.append(_folded(f"Diagnostic-Code: {'smtp' if is_reply else 'x-sendry'}; {said}"))
    if recipient.last_attempt_at is not None:
        fields.append(f"Last-Attempt-Date: {format_date(recipient.last_attempt_at)}")
    if recipient.action is Action.DELAYED and recipient.will_retry_until is not None:
        fields.append(f"Will-Retry-Until: {format_date(recipient.will_retry_until)}")
    return fields


def _typed_address(typed: str, is_utf8: bool) -> str:
    """ "rfc822; a@example.com": in a 7-bit report an address of type utf-8 is written with escapes (RFC 6533 3)."""
    kind, _, address = _without_controls(typed).partition(";")
    if kind == "utf-8" and not is_utf8:
        address = encode_orcpt(f"utf-8;{address}").partition(";")[2]
    return f"{kind[:64]}; {_cut(address)}"


def _original_part(headers: bytes, full: bytes | None, is_utf8: bool) -> bytes:
    if full is not None and len(full) <= MAX_RETURNED:
        head = b"Content-Description: Returned message\r\n"
        if _is_clean_7bit(full):
            return head + b"Content-Type: message/rfc822\r\n\r\n" + full
        if is_utf8 and _is_clean_utf8(full):
            return head + b"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + full
    head = b"Content-Description: Returned message headers\r\n"
    block = (to_crlf(headers) + b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n"
    if len(block) > MAX_HEADERS:
        block = block[: block.rfind(b"\r\n", 0, MAX_HEADERS) + 2]
    if _is_clean_7bit(block):
        return head + b"Content-Type: text/rfc822-headers\r\n\r\n" + block
    if is_utf8 and _is_clean_utf8(block):
        return head + b"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + block
    head += b"Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + _quoted_printable(block)


def _chief_action(recipients: Sequence[ReportedRecipient]) -> Action:
    present = {recipient.action for recipient in recipients}
    return next(action for action in Action if action in present)


def _references(original_headers: bytes) -> list[str]:
    """The Message-ID of the original, so that readers show the two together."""
    value = find(to_crlf(original_headers), "Message-ID")
    found = _MESSAGE_ID.search(decode_header_text(value)) if value else None
    return [f"References: {found[0]}"] if found else []


def _boundary(message_id: str, parts: Sequence[bytes]) -> str:
    """A delimiter that occurs in no part; the same for the same report."""
    for number in count():
        digest = hashlib.sha256(f"{number} {message_id}".encode("utf-8", "replace")).hexdigest()[:32]
        boundary = f"=_{digest}"
        if not any(boundary.encode("ascii") in part for part in parts):
            return boundary
    raise AssertionError  # pragma: no cover


def _line(text: str) -> str:
    """The text on one line without control characters, words one blank apart."""
    return " ".join(_without_controls(text).split())


def _without_controls(text: str) -> str:
    return text if text.isprintable() else "".join(ch if ch.isprintable() else " " for ch in text)


def _cut(address: str) -> str:
    return address.encode()[:MAX_ADDRESS_FIELD].decode("utf-8", "ignore")


def _word(text: str) -> str:
    """A host name or an id: one word of ASCII, without what has a meaning in header fields."""
    return "".join(ch if "!" <= ch <= "~" and ch not in '<>(),;\\"' else "" for ch in text)[:255] or "unknown"


def _folded(field: str) -> str:
    return "\r\n".join(textwrap.wrap(field, 76, subsequent_indent="  ", break_on_hyphens=False))


def _is_clean_7bit(octets: bytes) -> bool:
    return octets.isascii() and _has_proper_lines(octets)


def _is_clean_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _has_proper_lines(octets)


def _has_proper_lines(octets: bytes) -> bool:
    if b"\0" in octets or not has_only_crlf(octets):
        return False
    return max(map(len, octets.split(b"\r\n"))) <= LONGEST_LINE


def _quoted_printable(octets: bytes) -> bytes:
    lines = octets.split(b"\r\n")
    return b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in lines)
