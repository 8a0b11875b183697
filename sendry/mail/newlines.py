"""Line ends of mail: CRLF and nothing else, and the dots of DATA (RFC 5321 sections 2.3.8 and 4.5.2).

Works on octets only. Promise: whatever goes in, what a stuffer lets out has no bare CR, no bare LF, no NUL,
and the sequence CRLF "." CRLF stands in it once, at the very end, however the input was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def has_only_crlf(octets: bytes) -> bool:
    """Is every CR followed by LF and every LF preceded by CR?"""
    pairs = octets.count(b"\r\n")
    return pairs == octets.count(b"\n") == octets.count(b"\r")


def to_crlf(octets: bytes) -> bytes:
    """The same text with CRLF for every line end: CRLF stays, bare LF and bare CR each become one CRLF."""
    if b"\r" in octets:
        if has_only_crlf(octets):
            return octets
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return octets.replace(b"\n", b"\r\n")


class DotStuffer:
    """Makes the octets of one DATA command out of a message that comes in blocks.

    Bare line ends become CRLF and NULs are dropped: a peer that reads them otherwise must not see an end of
    data in them. Mail that went through our intake has none, so its octets (and its signature) are not
    changed.
    """

    __slots__ = ("_at_line_start", "_held_cr")

    def __init__(self) -> None:
        self._at_line_start = True
        self._held_cr = False

    def feed(self, block: bytes) -> bytes:
        """Octets to send for this block; may be empty when all that came has to wait for the next one."""
        if b"\0" in block:
            block = block.replace(b"\0", b"")
        if not block:
            return b""
        if self._held_cr:
            block = b"\r" + block
        # A CR at the end may be the first half of a CRLF that was cut in two.
        self._held_cr = block.endswith(b"\r")
        if self._held_cr:
            block = block[:-1]
            if not block:
                return b""
        block = to_crlf(block)
        begins_with_dot = self._at_line_start and block.startswith(b".")
        self._at_line_start = block.endswith(b"\r\n")
        block = block.replace(b"\r\n.", b"\r\n..")
        return b"." + block if begins_with_dot else block

    def finish(self) -> bytes:
        """The end: CRLF if the last line lacks it, then the final dot. No use of the stuffer afterwards."""
        if self._held_cr or not self._at_line_start:
            return b"\r\n.\r\n"
        return b".\r\n"


def dot_stuff(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The octets of DATA for the blocks of a message, with the final dot; never yields an empty block."""
    stuffer = DotStuffer()
    for block in blocks:
        octets = stuffer.feed(block)
        if octets:
            yield octets
    yield stuffer.finish()
