"""The two directions of one connection: lines and blocks in, replies out, with a deadline on every wait.

`Wire` is a subclass of aiosmtpd's SMTP that replaces its stream machinery: octets go from the transport straight
into a buffer of bounded size, replies of pipelined commands leave in one write, one timer per connection looks at
the current deadline. It knows no SMTP command. Promise: whatever is awaited here ends by data, by the peer's
leaving (Gone), or by the deadline; nobody cancels a session, so a commit once begun is seen to its end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Final, TypeVar, cast

from aiosmtpd.smtp import SMTP, Session
from typing_extensions import override

from sendry.listener.settings import Patience
from sendry.mail.reply import IDLE_TIMEOUT, Reply

T = TypeVar("T")

READ_AHEAD: Final = 128 * 1024
"""Octets that may wait unread before the peer is stopped."""

MAX_LINE: Final = 12_288
"""Octets of the longest line of a dialogue, CRLF included (RFC 4954 section 4)."""

_TLS_RECORD: Final = b"\x16"
_MAX_OUT: Final = 16 * 1024  # octets of replies gathered before they are sent in any case
_SHUTDOWN_SECONDS: Final = 5.0  # for the closing messages of TLS


class Gone(Exception):
    """The peer is no longer there, or can no longer be talked to."""


class Parting(Exception):
    """The session ends with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


IDLE: Final = partial(Parting, IDLE_TIMEOUT)


class Outbox:
    """Sends the replies of all sessions of a loop that have one ready in the same turn, one behind the other.

    A peer on the same machine then takes several in one go instead of being woken for each, which costs more than
    all else about a reply. A session that is alone sends at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: list[Wire] = []
        self.sessions = 0

    def add(self, wire: Wire) -> None:
        """`wire` waits for its peer and has something to say before."""
        if self.sessions < 2:
            wire.flush()
            return
        if not self._ready:
            self._loop.call_soon(self._send)
        self._ready.append(wire)

    def _send(self) -> None:
        ready, self._ready = self._ready, []
        for wire in ready:
            wire.flush()


class Wire(SMTP):
    """One connection. The parents' constructors are left out on purpose: each would build a StreamReader,
    tables of handlers by introspection and class-level state that sessions share, none of which is used here.
    """

    transport: asyncio.Transport | None
    session: Session

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: Patience, outbox: Outbox) -> None:
        self.loop = loop
        self._outbox = outbox
        self.transport = None
        self.session = Session(loop)
        self._patience = patience
        self._in = b""  # what came, read up to _at
        self._at = 0
        self._out = b""  # replies not yet sent
        self._waiter: asyncio.Future[None] | None = None
        self._wants_input = False
        self._expiry: Callable[[], Exception] = Gone  # makes what ends the present wait at its deadline
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_held = False  # reading from the peer is paused
        self._is_blocked = False  # the peer does not take what we send
        self._has_eof = False
        self._is_parting = False
        self.is_tls = False  # the transport said so, whichever way TLS began (A9)
        self._is_overlong = False  # the line in hand is too long and is thrown away up to its end

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.session.peer = transport.get_extra_info("peername")
        self._timer = self.loop.call_later(self._patience.shortest, self._look_at_clock)
        self._outbox.sessions += 1

    def data_received(self, data: bytes) -> None:
        if self._is_parting:
            return
        self._in = self._in[self._at :] + data if self._at < len(self._in) else data
        self._at = 0
        if not self._is_held and len(self._in) > READ_AHEAD and self.transport is not None:
            self._is_held = True
            self.transport.pause_reading()
        if self._wants_input:
            self._wake()

    def eof_received(self) -> bool:
        self._has_eof = True
        if self._wants_input:
            self._wake()
        # A half-closed connection still takes our replies (A6); TLS has no such state.
        return not (self._is_parting or self.is_tls)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self._has_eof = True
        self._is_blocked = False
        self._outbox.sessions -= 1
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wants_input:
            self._wake()

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        if self._wants_input:
            self._wake()

    # -- waiting

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, seconds: float, expiry: Callable[[], Exception]) -> None:
        self._deadline = self.loop.time() + seconds
        self._expiry = expiry
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._deadline = inf

    async def wait_for(self, future: asyncio.Future[T], seconds: float) -> T:
        """The result of `future`, which goes on by itself when TimeoutError is raised after `seconds`."""
        if not future.done():
            future.add_done_callback(self._wake_for)
            try:
                while not future.done():
                    await self._wait(seconds, TimeoutError)
            finally:
                future.remove_done_callback(self._wake_for)
        return future.result()

    def _wake_for(self, _future: asyncio.Future[Any]) -> None:
        self._wake()

    def _look_at_clock(self) -> None:
        # One timer for all deadlines of a session: it is set again here, not with every command.
        now = self.loop.time()
        if now >= self._deadline:
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                waiter.set_exception(self._expiry())
            self._deadline = inf
        pause = min(self._deadline - now, self._patience.shortest)
        self._timer = self.loop.call_later(max(pause, 0.001), self._look_at_clock)

    # -- in

    @property
    def has_input(self) -> bool:
        """Whether octets wait to be read."""
        return self._at < len(self._in)

    async def more(self, seconds: float, expiry: Callable[[], Exception]) -> None:
        """Have sent what is to be sent, and wait for octets. Raises Gone, or `expiry()` after so many seconds."""
        if self._out:
            self._outbox.add(self)
        self._wants_input = True
        try:
            if self._is_blocked:
                give_up_at = self.loop.time() + self._patience.write
                while self._is_blocked:
                    await self._wait(give_up_at - self.loop.time(), Gone)
            if self._is_held and self.transport is not None:
                self._is_held = False
                self.transport.resume_reading()
            if self._at == len(self._in):
                self._in, self._at = b"", 0  # an idle session keeps no used-up buffer
            before = len(self._in) - self._at
            while len(self._in) - self._at == before:
                if self._has_eof:
                    raise Gone
                await self._wait(seconds, expiry)
        finally:
            self._wants_input = False

    async def read_line(self, takes_bare_lf: bool = False) -> bytes | None:
        """The next line without its line end; None for one of more than MAX_LINE octets, now thrown away.

        The deadline is for the whole line. Raises Gone; Parting (421 4.4.2) when none comes in time; ValueError
        for a line feed without carriage return, unless it is taken.
        """
        if self._at == len(self._in):  # nothing here: sparing the search that cannot find
            await self.more(self._patience.command, IDLE)
        end = self._in.find(b"\n", self._at)
        if end < 0:
            end = await self._rest_of_line()
        line = self._in[self._at : end]
        self._at = end + 1
        if self._is_overlong or len(line) >= MAX_LINE:
            self._is_overlong = False
            return None
        if line.endswith(b"\r"):
            return line[:-1]
        if takes_bare_lf:
            return line
        raise ValueError("bare line feed")

    async def _rest_of_line(self) -> int:
        give_up_at = self.loop.time() + self._patience.command
        while True:
            if self._in[self._at : self._at + 1] == _TLS_RECORD:
                raise ValueError("a TLS handshake, which may never have a line end")
            if len(self._in) - self._at >= MAX_LINE:
                self._is_overlong = True
                self._in, self._at = b"", 0
            await self.more(give_up_at - self.loop.time(), IDLE)
            end = self._in.find(b"\n", self._at)
            if end >= 0:
                return end

    def take_block(self, most: int = READ_AHEAD) -> bytes:
        """What waits, at most so many octets; nothing when nothing does."""
        if self._at == 0 and len(self._in) <= most:
            block, self._in = self._in, b""
            return block
        block = self._in[self._at : self._at + most]
        self._at += len(block)
        return block

    def give_back(self, octets: bytes) -> None:
        """Put back what was taken too much; it is read next."""
        self._in = octets + self._in[self._at :] if self._at < len(self._in) else octets
        self._at = 0

    # -- out

    def say(self, wire: bytes) -> None:
        """Queue a finished reply; it is sent before the next wait for input."""
        self._out += wire
        if len(self._out) > _MAX_OUT:
            self.flush()

    def flush(self) -> None:
        """Send what is queued, in one write."""
        out = self._out
        if out:
            self._out = b""
            if self.transport is not None:
                self.transport.write(out)

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd's way to reply; text that is not ASCII comes out with question marks (A20)."""
        self.say((status.encode("ascii", "replace") if isinstance(status, str) else status) + b"\r\n")

    # -- TLS

    async def start_tls(self, context: ssl.SSLContext, *, is_implicit: bool = False) -> None:
        """Go on in TLS. Octets that came before were clear text and are dropped (RFC 3207 section 4.2); with
        `is_implicit` they are the beginning of the handshake. Raises Gone.
        """
        self.flush()
        transport = self.transport
        if transport is None:
            raise Gone
        self._in, self._at = self._in if is_implicit else b"", 0
        patience = self._patience
        upgrade = self.loop.start_tls(
            transport,
            self,
            context,
            server_side=True,
            ssl_handshake_timeout=None if patience.command == inf else patience.command,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        try:
            if is_implicit:
                begun = self.loop.create_task(upgrade)
                await asyncio.sleep(0)  # now the transport talks to the upgrade, no longer to us
                _feed(transport.get_protocol(), self.take_block())
                encrypted = await begun
            else:
                # Straight on: between the 220 and this nothing may be read.
                encrypted = await upgrade
        except OSError as error:  # ssl.SSLError and the handshake's timeout are among them
            transport.abort()
            raise Gone from error
        if encrypted is None or self._has_eof:
            raise Gone
        self._is_held = False
        self.transport = encrypted
        self.session.ssl = {"ssl_object": encrypted.get_extra_info("ssl_object")}
        self.is_tls = self.session.ssl["ssl_object"] is not None

    # -- the end

    def part(self, *, lingers: bool) -> None:
        """Send what is queued and close. Lingering, what the peer still sends is read and thrown away for a
        while: closing on unread octets makes its system drop our last reply.
        """
        self._is_parting = True
        self._in, self._at = b"", 0
        self.flush()
        transport = self.transport
        if transport is None:
            return
        if self._is_held:
            transport.resume_reading()
        if self._timer is not None:
            self._timer.cancel()
        if lingers and not self._has_eof and not self.is_tls and transport.can_write_eof():
            transport.write_eof()
            self._timer = self.loop.call_later(self._patience.linger, transport.abort)
        else:
            # A peer that takes nothing must not hold the connection by what we could not send.
            self._timer = self.loop.call_later(min(self._patience.write, 60.0), transport.abort)
            transport.close()


def _feed(protocol: Any, octets: bytes) -> None:
    """Give a buffered protocol what was received in its place: uvloop reads before it can be told not to.

    uvloop's protocol of TLS has the two methods of asyncio.BufferedProtocol without being one.
    """
    while octets and hasattr(protocol, "get_buffer"):
        room = memoryview(protocol.get_buffer(len(octets)))
        taken = min(len(room), len(octets))
        room[:taken] = octets[:taken]
        protocol.buffer_updated(taken)
        octets = octets[taken:]
