"""One TCP connection to an SMTP server: octets out, replies in, nothing of the dialogue.

Runs on the delivery loop. Promise: replies come in the order of the commands, however the network cut them; what a
remote may make us hold is bounded; nobody who waits waits longer than he said.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from functools import lru_cache
from typing import Final

from sendry.mail.reply import Reply, ends_reply

LONGEST_LINE: Final = 8192
MOST_LINES: Final = 200
MOST_UNASKED: Final = 300
_HIGH_WATER: Final = 512 * 1024


class Lost(Exception):
    """The connection is of no more use; the text says why, for people."""


class Wire(asyncio.Protocol):
    """A connection. `lost` is None while it lives, then says why it does not."""

    __slots__ = (
        "_asked",
        "_buffer",
        "_can_write",
        "_deadline",
        "_lines",
        "_loop",
        "_outgoing",
        "_patience",
        "_timer",
        "_waiter",
        "is_leaving",
        "lost",
        "replies",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self.replies: deque[Reply] = deque()
        self.lost: str | None = None
        self.is_leaving = False  # QUIT is sent: whatever comes now closes the connection
        self._buffer = b""
        self._lines: list[bytes] = []
        self._outgoing: list[bytes] = []
        self._asked = 0
        self._waiter: asyncio.Future[None] | None = None
        self._can_write: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._patience = 0.0

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP transport is a Transport
        transport.set_write_buffer_limits(high=_HIGH_WATER, low=0)  # type: ignore[attr-defined]  # same

    def data_received(self, data: bytes) -> None:
        if self.is_leaving:
            self.abort("closed")
            return
        if self._buffer:
            data = self._buffer + data
        start = 0
        while (end := data.find(b"\n", start) + 1) > 0:
            line = data[start:end]
            start = end
            lines = self._lines
            is_whole = ends_reply(line, inside=bool(lines))
            lines.append(line)
            if is_whole:
                self.replies.append(_single(line) if len(lines) == 1 else Reply.parse(lines))
                self._lines = []
            if len(lines) > MOST_LINES or len(self.replies) > MOST_UNASKED:
                self.abort("the remote host talks without end")
                return
        self._buffer = data[start:]
        if len(self._buffer) > LONGEST_LINE:
            self.abort("the remote host sends a line without end")
            return
        if self._waiter is not None and len(self.replies) >= self._asked:
            self._wake()

    def eof_received(self) -> bool:
        if self.lost is None:
            self.lost = "the remote host closed the connection"
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.lost is None:
            self.lost = f"the connection broke: {_words(error)}" if error else "the remote host closed the connection"
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()
        if self._can_write is not None and not self._can_write.done():
            self._can_write.set_result(None)

    def pause_writing(self) -> None:
        self._can_write = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._can_write is not None and not self._can_write.done():
            self._can_write.set_result(None)
        self._can_write = None

    # What the session calls

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self._loop.time()

    def send(self, octets: bytes) -> None:
        """Octets for the host. They go out with the next wait, joined: a system call costs more than a message."""
        self._outgoing.append(octets)

    def flush(self) -> None:
        """Hand what was sent to the connection; of no effect on a lost one."""
        outgoing = self._outgoing
        if outgoing:
            self._outgoing = []
            if self.lost is None and self.transport is not None:
                self.transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))

    async def drain(self, patience: float) -> None:
        """Wait until most of what was sent has left this machine. Raises Lost."""
        self.flush()
        if self._can_write is not None:
            try:
                async with asyncio.timeout(patience):
                    await self._can_write
            except TimeoutError:
                self.abort(f"the remote host took no data for {patience:g} s")
        if self.lost is not None:
            raise Lost(self.lost)

    async def answers(self, count: int, patience: float) -> list[Reply]:
        """The next `count` replies; fewer only when the connection was lost before they came."""
        self.flush()
        replies = self.replies
        if len(replies) < count and self.lost is None:
            self._asked = count
            self._patience = patience
            self._deadline = self._loop.time() + patience
            if self._timer is None or self._timer.when() > self._deadline:
                self._set_timer(patience)
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        if count == 1:
            return [replies.popleft()] if replies else []
        return [replies.popleft() for _ in range(min(count, len(replies)))]

    async def answer(self, patience: float) -> Reply:
        """The next reply. Raises Lost."""
        found = await self.answers(1, patience)
        if not found:
            raise Lost(self.lost or "the connection was lost")
        return found[0]

    async def start_tls(self, context: ssl.SSLContext, host: str, patience: float) -> None:
        """Begin TLS. Raises Lost, ssl.SSLError, OSError; the connection is of no use then.

        Octets that came in clear behind the reply to STARTTLS are an injection: the handshake is not begun.
        """
        if self._buffer or self._lines or self.replies:
            self.abort("octets in clear behind the reply to STARTTLS")
            raise Lost("octets in clear came behind the reply to STARTTLS")
        assert self.transport is not None
        transport = await self._loop.start_tls(
            self.transport, self, context, server_hostname=host or None, ssl_handshake_timeout=patience
        )
        if transport is None:
            raise Lost(self.lost or "the connection closed during the handshake")
        self.connection_made(transport)

    def abort(self, why: str) -> None:
        """Drop the connection now."""
        if self.lost is None:
            self.lost = why
        if self.transport is not None:
            self.transport.abort()
        self._wake()

    def leave(self, patience: float) -> None:
        """Say QUIT and close when the answer, or the end of patience, comes."""
        if self.lost is not None or self.transport is None:
            return
        self.is_leaving = True
        self.send(b"QUIT\r\n")
        self.flush()
        self._loop.call_later(patience, self.abort, "closed")

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._look_at_time)

    def _look_at_time(self) -> None:
        # One timer outlives many waits: to set one for each costs more than the wait itself.
        self._timer = None
        if self._waiter is None or self.lost is not None:
            return
        left = self._deadline - self._loop.time()
        if left > 0.001:
            self._set_timer(left)
        else:
            self.abort(f"no reply within {self._patience:g} s")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@lru_cache(maxsize=512)
def _single(line: bytes) -> Reply:
    """A host says the same few lines to every mail."""
    return Reply.parse((line,))


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
