"""What comes after DATA: the end of it found, its line ends checked, its dots taken away, its octets kept.

No socket, no loop: octets in blocks go in, octets out; only `Incoming.write` and `.close` touch the spool file
and belong off the loop. Promises: the end of data is CRLF "." CRLF and nothing else, wherever packets are cut;
a bare CR, a bare LF (unless normalized) or a NUL never gets past; a session holds at most SPOOL_FROM octets and
the block in hand, whatever the length of the lines. Lines are never broken, however long: a signature covers
them, and whether a next hop takes more than 998 octets is for the delivery to find out.
"""

from __future__ import annotations

from typing import Final

from sendry.mail.envelope import Content
from sendry.mail.headers import split
from sendry.mail.reply import BAD_LINE_ENDING, MESSAGE_TOO_BIG, Refused, Reply
from sendry.store.spool import SPOOL_FROM, Spool, SpoolFile

MAX_HEAD: Final = SPOOL_FROM
"""Octets of a header block; it is kept in a row and read by every later step."""

HEAD_TOO_BIG: Final = Reply(
    554, "5.6.0", f"The header block exceeds {MAX_HEAD // 1024} KiB, or no empty line ends it"
)

_END: Final = b"\r\n.\r\n"
# What the octets so far may end in when the end of data could still follow.
_BEGINNINGS_OF_END: Final = tuple(_END[:length] for length in range(len(_END) - 1, 0, -1))


def checked(octets: bytes, *, normalizes: bool) -> bytes:
    """The same octets when all their line ends are CRLF and there is no NUL, else Refused (554 5.6.0).

    With `normalizes` a bare LF becomes CRLF. The octets must not be cut within a CRLF.
    """
    pairs = octets.count(b"\r\n")
    if octets.count(b"\r") != pairs or b"\0" in octets:
        raise Refused(BAD_LINE_ENDING)
    if octets.count(b"\n") == pairs:
        return octets
    if not normalizes:
        raise Refused(BAD_LINE_ENDING)
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class BodyReader:
    """Finds the end of data in blocks of any size (RFC 5321 section 4.1.1.4) and undoes dot-stuffing (4.5.2)."""

    __slots__ = ("_after_bare_lf", "_held", "_is_begun", "_normalizes", "is_done", "rest")

    def __init__(self, *, normalizes: bool = False) -> None:
        self._normalizes = normalizes
        # The CRLF of the DATA command itself counts as the first half of an end of data.
        self._held = b"\r\n"
        self._is_begun = False
        self._after_bare_lf = False
        self.is_done = False
        self.rest = b""

    def feed(self, block: bytes) -> bytes:
        """Content octets that are certain now. Sets `is_done`, and `rest` to what follows the end of data.

        Raises Refused (554 5.6.0) for a line end that is none; the reader is of no use then.
        """
        octets = self._held + block if self._held else block
        end = octets.find(_END)
        if end >= 0:
            self.is_done, self.rest = True, octets[end + 5 :]
            octets = octets[: end + 2]
        else:
            self._held = b""
            for beginning in _BEGINNINGS_OF_END:
                if octets.endswith(beginning):
                    self._held, octets = beginning, octets[: -len(beginning)]
                    break
        return self._unstuffed(octets) if octets else b""

    def _unstuffed(self, octets: bytes) -> bytes:
        # No CRLF and no stuffed dot is ever cut between two of these pieces: their beginnings are held back.
        sound = checked(octets, normalizes=self._normalizes)
        text = sound.replace(b"\r\n.", b"\r\n")
        if self._after_bare_lf and text.startswith(b"."):
            text = text[1:]
        # Where a piece ends in a whole CRLF, what follows begins with another one (or nothing follows), so only
        # a bare line feed can stand before a dot that begins a piece.
        self._after_bare_lf = sound is not octets and octets.endswith(b"\n")
        if not self._is_begun:
            self._is_begun, text = True, text[2:]
        return text


class ChunkReader:
    """Checks the line ends of a message that comes by BDAT (RFC 3030), where no dot means anything."""

    __slots__ = ("_held", "_is_line_open", "_normalizes")

    def __init__(self, *, normalizes: bool = False) -> None:
        self._normalizes = normalizes
        self._held = b""
        self._is_line_open = False

    def feed(self, block: bytes) -> bytes:
        """Content octets that are certain now; raises Refused (554 5.6.0)."""
        octets = self._held + block
        self._held = b"\r" if octets.endswith(b"\r") else b""
        octets = checked(octets[: len(octets) - len(self._held)], normalizes=self._normalizes)
        if octets:
            self._is_line_open = not octets.endswith(b"\n")
        return octets

    def finish(self) -> bytes:
        """The end of the last line where it is missing; raises Refused for half of one."""
        if self._held:
            raise Refused(BAD_LINE_ENDING)
        return b"\r\n" if self._is_line_open else b""


class Incoming:
    """The octets of one message while they arrive: in memory up to SPOOL_FROM, then all of them in a file."""

    __slots__ = ("_file", "_head", "_held", "_spool", "fault", "is_ascii", "limit", "size")

    def __init__(self, spool: Spool, limit: int) -> None:
        self._spool = spool
        self.limit = limit
        self._held = bytearray()
        self._file: SpoolFile | None = None
        self._head = b""
        self.size = 0
        self.is_ascii = True
        self.fault: Reply | None = None  # once set, nothing is kept and the end of data is answered with it

    def add(self, octets: bytes) -> None:
        """Take content octets; what is beyond the size limit is forgotten at once."""
        self.size += len(octets)
        if self.size > self.limit and self.fault in (None, HEAD_TOO_BIG):
            self.give_up(MESSAGE_TOO_BIG)
        if self.fault is not None:
            return
        self._held += octets
        if self.is_ascii and not octets.isascii():
            self.is_ascii = False

    @property
    def wants_writing(self) -> bool:
        """Whether `write` must run before more is added."""
        return len(self._held) > SPOOL_FROM

    @property
    def is_spooled(self) -> bool:
        """Whether `close` has a file to bring to disk."""
        return self._file is not None

    def write(self) -> None:
        """Move what is held to the spool file; blocks. Raises OSError when the disk does not take it."""
        held, self._held = self._held, bytearray()
        if self._file is None:
            if not held.startswith(b"\r\n") and held.find(b"\r\n\r\n", 0, MAX_HEAD) < 0:
                self.give_up(HEAD_TOO_BIG)
                return
            self._head = split(bytes(held))[0]
            self._file = self._spool.create()
        self._file.write(held)

    def close(self) -> Content:
        """The content, on disk when it is spooled (then it blocks). Raises OSError; Refused for a `fault`."""
        if self._file is not None and self._held:
            self.write()
        if self.fault is not None:
            raise Refused(self.fault)
        if self._file is None:
            return Content(*split(bytes(self._held)))
        self._file.sync()
        behind = len(self._head)
        return Content(self._head, b"", self._file.name, behind, self._file.size - behind)

    def discard(self) -> None:
        """Forget everything, the file too."""
        self._held = bytearray()
        if self._file is not None:
            self._file.discard()
            self._file = None

    def give_up(self, reply: Reply) -> None:
        """Keep nothing from now on; `close` refuses with this reply."""
        self.fault = reply
        self.discard()
