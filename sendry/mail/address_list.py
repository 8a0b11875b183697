"""The address lists of From, To, Cc and the like (RFC 5322 section 3.4 with its obsolete forms), as they
arrive.

For reading only: what we write ourselves goes through `sendry.mail.address`. Promise: never raises, time
grows with the length of the value and no faster; names are decoded only after the list is taken apart, so a
name cannot add an address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sendry.mail.words import decode_words

MOST_ADDRESSES: Final = 1000

_PIECE: Final = re.compile(
    r'"(?P<quoted>(?:[^"\\]|\\.)*)"?'
    r"|(?P<comment>\()"
    r'|<(?P<angle>(?:"(?:[^"\\]|\\.)*"|[^">])*)>?'
    r"|(?P<end>[,;])"
    r"|(?P<group>:)"
    r"|(?P<words>\[[^\]]*\]?|\\.?|[^\"(<,;:\[\\]+)",
    re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"[()]|\\.", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_BLANKS: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class HeaderAddress:
    """One entry of a list: name for display (may be ""), address as written (may be "" where there is only a
    name).
    """

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name and self.address else self.name or self.address


def parse_address_list(value: str, limit: int = MOST_ADDRESSES) -> tuple[HeaderAddress, ...]:
    """The entries of an unfolded, still encoded value; groups are flattened; at most `limit` entries."""
    found: list[HeaderAddress] = []
    entry = _Entry()
    at = 0
    while at < len(value) and len(found) < limit:
        piece = _PIECE.match(value, at)
        if piece is None:  # cannot be: every character begins a piece; for the type checker
            break
        at = piece.end()
        kind = piece.lastgroup
        if kind == "comment":
            start, at = at, _end_of_comment(value, at)
            entry.comment = value[start : at - 1]
        elif kind == "end":
            entry.close(found)
            entry = _Entry()
        elif kind == "group":
            entry = _Entry()
        elif kind == "angle":
            if entry.angle is not None:  # "<a@x> <b@y>": both count, whichever another reader would take
                entry.close(found)
                entry = _Entry()
            entry.angle = piece["angle"]
        elif kind == "quoted":
            entry.shown.append(_ESCAPED.sub(r"\1", piece["quoted"]))
            entry.written.append(piece[0])
        else:
            entry.shown.append(piece["words"])
            entry.written.append(_BLANKS.sub("", piece["words"]))
    if len(found) < limit:
        entry.close(found)
    return tuple(found)


class _Entry:
    """What has been read of one entry so far."""

    __slots__ = ("angle", "comment", "shown", "written")

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.written: list[str] = []
        self.angle: str | None = None
        self.comment = ""

    def close(self, found: list[HeaderAddress]) -> None:
        name = "".join(self.shown)
        if self.angle is not None:
            address = self.angle.strip()
            if address.startswith("@"):  # a source route: only its last part counts (RFC 5321 appendix C)
                address = address.rpartition(":")[2]
            found.append(HeaderAddress(_shown(name or self.comment), address))
        elif "@" in name:
            found.append(HeaderAddress(_shown(self.comment), "".join(self.written)))
        elif name.strip():
            found.append(HeaderAddress(_shown(name), ""))


def _shown(name: str) -> str:
    return _BLANKS.sub(" ", decode_words(name)).strip()


def _end_of_comment(value: str, at: int) -> int:
    """Index behind the closing bracket; comments nest (RFC 5322 section 3.2.2)."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(value, at):
        depth += {"(": 1, ")": -1}.get(edge[0], 0)
        if depth == 0:
            return edge.end()
    return len(value) + 1
