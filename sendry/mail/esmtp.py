"""Parameters of MAIL and RCPT (RFC 5321 4.1.2; SIZE 1870, 8BITMIME 6152, SMTPUTF8 6531, DSN 3461 and 6533,
AUTH 4954).

Pure: text in, values out. Promise: keywords are case-insensitive and values keep their case; nothing unknown,
doubled or malformed passes in silence; no accepted value contains a control character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sendry.mail.reply import Refused, Reply

MAX_ENVID = 100
"""Characters of ENVID as sent, in xtext (RFC 3461 4.4)."""

MAX_ORCPT = 500
"""Characters of ORCPT as sent (RFC 3461 4.2)."""

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_SIZE = re.compile(r"[0-9]{1,20}")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_XTEXT_HEX = re.compile(r"\+([0-9A-F]{2})")
_XTEXT_SPECIAL = re.compile(r"[^!-*,-<>-~]")
_UNICODE_ESCAPE = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?")
_NOTIFY_ORDER = ("SUCCESS", "FAILURE", "DELAY")


@dataclass(frozen=True, slots=True)
class MailParams:
    """What the parameters of MAIL say.

    size: octets announced, 0 = not announced. body: "7BIT" or "8BITMIME". ret: "FULL", "HDRS" or "" (RFC 3461
    4.3).
    envid: decoded, "" = none. auth: decoded mailbox of AUTH=, "" for none and for <>; nobody acts on it.
    """

    size: int = 0
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    auth: str = ""


@dataclass(frozen=True, slots=True)
class RcptParams:
    """What the parameters of RCPT say.

    notify: "" (not given), "NEVER", or a selection of "SUCCESS,FAILURE,DELAY" in this order.
    orcpt: "rfc822;user@example.com" with the address decoded and the type in lower case, "" = none.
    """

    notify: str = ""
    orcpt: str = ""


_NO_MAIL_PARAMS = MailParams()
_NO_RCPT_PARAMS = RcptParams()


def parse_mail_params(text: str, *, smtputf8_offered: bool = True) -> MailParams:
    """Read what follows the path in MAIL FROM:<path>.

    Raises Refused: 555 5.5.4 for unknown and doubled keywords (SMTPUTF8 counts as unknown unless offered),
    501 5.5.4 for a wrong value.
    """
    if not text:
        return _NO_MAIL_PARAMS
    size, body, smtputf8, ret, envid, auth = 0, "7BIT", False, "", "", ""
    for keyword, value in _parameters(text):
        match keyword:
            case "SIZE":
                if not value or not _SIZE.fullmatch(value):
                    raise _bad_value("SIZE must be a number of octets")
                size = int(value)
            case "BODY":
                body = (value or "").upper()
                if body not in ("7BIT", "8BITMIME"):
                    raise _bad_value("BODY must be 7BIT or 8BITMIME")
            case "SMTPUTF8" if smtputf8_offered:
                if value is not None:
                    raise _bad_value("SMTPUTF8 takes no value")
                smtputf8 = True
            case "RET":
                ret = (value or "").upper()
                if ret not in ("FULL", "HDRS"):
                    raise _bad_value("RET must be FULL or HDRS")
            case "ENVID":
                envid = _envid(value)
            case "AUTH":
                auth = _auth(value)
            case _:
                raise _unknown(f"Parameter {keyword[:32]} of MAIL is not supported")
    return MailParams(size, body, smtputf8, ret, envid, auth)


def parse_rcpt_params(text: str) -> RcptParams:
    """Read what follows the path in RCPT TO:<path>; raises Refused as parse_mail_params does."""
    if not text:
        return _NO_RCPT_PARAMS
    notify, orcpt = "", ""
    for keyword, value in _parameters(text):
        match keyword:
            case "NOTIFY":
                notify = _notify(value)
            case "ORCPT":
                orcpt = _orcpt(value)
            case _:
                raise _unknown(f"Parameter {keyword[:32]} of RCPT is not supported")
    return RcptParams(notify, orcpt)


def decode_xtext(text: str) -> str:
    """xtext as plain text (RFC 3461 4). Raises ValueError where it is no xtext or hides anything but
    printable ASCII.
    """
    if not _XTEXT.fullmatch(text):
        raise ValueError("not xtext: + must be followed by two upper-case hexadecimal digits")
    plain = _XTEXT_HEX.sub(lambda match: chr(int(match[1], 16)), text)
    if not (plain.isascii() and plain.isprintable()):
        raise ValueError("xtext may stand for printable ASCII only")
    return plain


def encode_xtext(text: str) -> str:
    """Printable ASCII text as xtext, for a parameter that we send. Raises ValueError for anything else."""
    if not (text.isascii() and text.isprintable()):
        raise ValueError("only printable ASCII can be written as xtext")
    return _XTEXT_SPECIAL.sub(lambda match: f"+{ord(match[0]):02X}", text)


def encode_orcpt(orcpt: str) -> str:
    """The value of ORCPT= for a next hop, in ASCII whatever the address (RFC 3461 4.2, RFC 6533 3).

    Takes RcptParams.orcpt; a non-ASCII address is written with \\x{HEX} escapes under the type utf-8.
    """
    kind, _, address = orcpt.partition(";")
    if kind != "utf-8":
        return f"{kind};{encode_xtext(address)}"
    return (
        kind
        + ";"
        + "".join(ch if "!" <= ch <= "~" and ch not in "\\+=" else f"\\x{{{ord(ch):02X}}}" for ch in address)
    )


def _parameters(text: str) -> Iterator[tuple[str, str | None]]:
    """Keyword in upper case and value, or None where there is no "="."""
    if not text.isprintable():
        raise _bad_value("Control characters in parameters")
    seen: set[str] = set()
    for word in text.split(" "):
        if not word:
            continue
        name, has_value, value = word.partition("=")
        if not _KEYWORD.fullmatch(name):
            raise _bad_value("Parameters must have the form KEYWORD=value")
        keyword = name.upper()
        if keyword != "ORCPT" and not value.isascii():
            raise _bad_value(f"Parameter {keyword[:32]} must be ASCII")
        if keyword in seen:
            raise _unknown(f"Parameter {keyword[:32]} is given twice")
        seen.add(keyword)
        yield keyword, value if has_value else None


def _envid(value: str | None) -> str:
    if not value or len(value) > MAX_ENVID:
        raise _bad_value(f"ENVID must be 1 to {MAX_ENVID} characters of xtext")
    try:
        return decode_xtext(value)
    except ValueError as error:
        raise _bad_value("ENVID must be xtext of printable ASCII", str(error)) from None


def _auth(value: str | None) -> str:
    if not value:
        raise _bad_value("AUTH must be <> or a mailbox in xtext")
    if value == "<>":
        return ""
    try:
        return decode_xtext(value)
    except ValueError as error:
        raise _bad_value("AUTH must be <> or a mailbox in xtext", str(error)) from None


def _notify(value: str | None) -> str:
    words = (value or "").upper().split(",")
    if words == ["NEVER"]:
        return "NEVER"
    if not set(words) <= set(_NOTIFY_ORDER):
        raise _bad_value("NOTIFY must be NEVER alone or a list of SUCCESS, FAILURE, DELAY")
    return ",".join(word for word in _NOTIFY_ORDER if word in words)


def _orcpt(value: str | None) -> str:
    kind, _, written = (value or "").partition(";")
    kind = kind.lower()
    if not written or len(value or "") > MAX_ORCPT or not _ADDRESS_TYPE.fullmatch(kind):
        raise _bad_value(f"ORCPT must be type;address of at most {MAX_ORCPT} characters")
    try:
        address = _utf8_address(written) if kind == "utf-8" else decode_xtext(written)
    except ValueError as error:
        raise _bad_value("ORCPT must hold an address in xtext", str(error)) from None
    return f"{kind};{address}"


def _utf8_address(written: str) -> str:
    """The address of an ORCPT of type utf-8: \\x{HEX} escapes, and UTF-8 as it stands (RFC 6533 3)."""
    address = _UNICODE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), written)
    if "\\" in _UNICODE_ESCAPE.sub("", written) or "=" in written or "+" in written:
        raise ValueError("a backslash, + and = must be written as \\x{HEX}")
    if not address.isprintable():
        raise ValueError("the address has control characters")
    return address


def _refusal(code: int, text: str, reason: str = "") -> Refused:
    return Refused(Reply(code, "5.5.4", text), reason)


_bad_value = partial(_refusal, 501)
_unknown = partial(_refusal, 555)
