"""SMTP replies: the value, its form on the wire, and the reading of what a remote host says (RFC 5321 4.2,
RFC 2034).

Pure: touches nothing but its arguments. Promise: whatever text a Reply carries, `wire()` gives ASCII lines of
at most 512 octets that no peer can mistake for a second reply; whatever bytes a remote sends, `Reply.parse`
answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_LINE = 512
"""Octets of one reply line, CRLF included (RFC 5321 4.5.3.1.5)."""

MAX_TEXT = 4096
"""Characters kept of a remote's reply; what is beyond is cut."""

_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_LEADING_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?=[\s:,;-]|\Z)[\s:,;-]*")
_INNER_ENHANCED = re.compile(r"#([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])")
_REPLY_LINE = re.compile(r"([0-9]{3})(?![0-9])([ \t-]?)(.*)", re.DOTALL)
_CONTINUES = re.compile(rb"[0-9]{3}-")
_CODED = re.compile(rb"[0-9]{3}(?![0-9])")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, ours or a remote's.

    code: 200-599; 0 when the remote's lines were not a reply at all.
    enhanced: "5.1.1", or "" where there is none (RFC 3463).
    text: the words without codes, lines separated by "\\n".
    """

    code: int
    enhanced: str
    text: str

    def __post_init__(self) -> None:
        if not (self.code == 0 or 100 <= self.code <= 999):
            raise ValueError(f"reply code {self.code!r} is not a number of three digits")
        if self.enhanced and not _ENHANCED.fullmatch(self.enhanced):
            raise ValueError(f"enhanced status code {self.enhanced!r} is not of the form 5.1.1")

    @property
    def is_positive(self) -> bool:
        """2yz or 3yz: the command was taken."""
        return 200 <= self.code < 400

    @property
    def is_temporary(self) -> bool:
        """4yz."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz."""
        return 500 <= self.code < 600

    def wire(self) -> bytes:
        """The reply as sent: code and enhanced code on each line, ASCII, CRLF, lines of at most 512 octets.

        What is not printable ASCII becomes "?".
        """
        text, enhanced = self.text, self.enhanced
        room = MAX_LINE - 6 - (len(enhanced) + 1 if enhanced else 0)
        if len(text) <= room and text.isascii() and text.isprintable():
            shown = f"{enhanced} {text}" if enhanced and text else enhanced or text
            return f"{self.code:03d} {shown}\r\n".encode("ascii")
        lines = [piece for line in text.splitlines() for piece in _wrap(_printable_ascii(line), room)] or [""]
        tail = f"{enhanced} " if enhanced else ""
        last = len(lines) - 1
        return "".join(
            f"{self.code:03d}{' ' if at == last else '-'}{tail}{line}\r\n" for at, line in enumerate(lines)
        ).encode("ascii")

    def __str__(self) -> str:
        """One line for people and logs: "550 5.1.1 No such user"."""
        words = " ".join(self.text.split())
        return " ".join(part for part in (f"{self.code:03d}", self.enhanced, words) if part)

    @classmethod
    def parse(cls, lines: Iterable[bytes | str]) -> Reply:
        """Read the lines of one reply of a remote host; never raises on what the remote wrote.

        Lines may lack text, codes or line ends, and may be 8-bit (UTF-8, else Latin-1). Where the codes of a
        multi-line reply differ within one class the last one counts; where even the class differs, or no line
        has a code, the code is 0 and the text holds the lines as they came. The enhanced code is the one that
        opens a line, else one written as "#5.7.1" inside it.
        """
        raw = [_readable(line) for line in lines]
        found = [_REPLY_LINE.fullmatch(line) for line in raw]
        codes = [int(match[1]) for match in found if match]
        if not codes or len({code // 100 for code in codes}) > 1 or not 100 <= codes[-1] <= 599:
            return cls(0, "", _cut("\n".join(raw)))
        enhanced = inner = ""
        words: list[str] = []
        for line, match in zip(raw, found, strict=True):
            text = match[3].strip() if match else line.strip()
            if leading := _LEADING_ENHANCED.match(text):
                enhanced = enhanced or leading[1]
                text = text[leading.end() :]
            elif not inner and (noted := _INNER_ENHANCED.search(text)):
                inner = noted[1]
            words.append(text)
        return cls(codes[-1], enhanced or inner, _cut("\n".join(words).strip("\n")))


def ends_reply(line: bytes, *, inside: bool) -> bool:
    """Whether a reply is complete with this line; `inside` = lines of the same reply came before.

    A line without a code does not end a reply that has begun (else the next reply would be taken for the
    answer to another command), but stands as a reply of its own when it comes first. The reader bounds the
    number of lines.
    """
    if _CONTINUES.match(line):
        return False
    return not inside or _CODED.match(line) is not None


class Refused(Exception):
    """What the other side asked for is refused with `reply`; `reason` is for our log only, never for the
    peer.
    """

    def __init__(self, reply: Reply, reason: str = "") -> None:
        super().__init__(reason or str(reply))
        self.reply = reply
        self.reason = reason


def _readable(line: bytes | str) -> str:
    if isinstance(line, str):
        text = line
    else:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
    text = text.rstrip("\r\n")
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else " " if ch == "\t" else "?" for ch in text)


def _printable_ascii(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    return "".join(ch if " " <= ch <= "~" else " " if ch == "\t" else "?" for ch in line)


def _wrap(line: str, room: int) -> Iterable[str]:
    while len(line) > room:
        at = line.rfind(" ", room // 2, room + 1)
        cut, skip = (at, 1) if at > 0 else (room, 0)
        yield line[:cut]
        line = line[cut + skip :]
    yield line


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


OK = Reply(250, "2.0.0", "OK")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
START_MAIL_INPUT = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
BYE = Reply(221, "2.0.0", "Bye")

UNKNOWN_COMMAND = Reply(500, "5.5.2", "Command not recognised")
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")
BAD_ARGUMENT = Reply(501, "5.5.4", "Syntax error in parameters")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Parameter not recognised")
AUTH_REQUIRED = Reply(530, "5.7.0", "Authentication required")
TLS_REQUIRED = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
BAD_CREDENTIALS = Reply(535, "5.7.8", "Authentication credentials invalid")
RELAY_DENIED = Reply(550, "5.7.1", "Relaying denied")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
MESSAGE_TOO_BIG = Reply(552, "5.3.4", "Message exceeds the size limit")
RATE_LIMITED = Reply(452, "4.7.1", "Rate limit reached, try again later")
BAD_LINE_ENDING = Reply(554, "5.6.0", "Lines must end with CRLF")
MAIL_LOOP = Reply(554, "5.4.6", "Too many hops, this message is looping")
STORAGE_FULL = Reply(452, "4.3.1", "Insufficient system storage")
LOCAL_ERROR = Reply(451, "4.3.0", "Temporary server error, try again later")
SHUTTING_DOWN = Reply(421, "4.3.2", "Service shutting down")
TOO_MANY_CONNECTIONS = Reply(421, "4.3.2", "Too many connections, try again later")
IDLE_TIMEOUT = Reply(421, "4.4.2", "Timeout, closing connection")
