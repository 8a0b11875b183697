"""The course of one SMTP session: who may connect, the greeting, one command after the other, the end.

Knows no command by itself: `SmtpProtocol` brings them. Promises: a fault of ours is answered 451 with a number that
stands in the log, never with its text; every close but that of QUIT is announced by a reply; no command, address or
content is logged.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

from sendry.listener import replies
from sendry.listener.doors import Doors
from sendry.listener.settings import SessionSettings, parsed_ip, peer_ip
from sendry.listener.wire import MAX_LINE, Gone, Parting, Wire
from sendry.mail.reply import (
    BAD_LINE_ENDING,
    BYE,
    LINE_TOO_LONG,
    LOCAL_ERROR,
    SHUTTING_DOWN,
    TOO_MANY_CONNECTIONS,
    UNKNOWN_COMMAND,
    Refused,
    Reply,
)

log = logging.getLogger(__name__)

Command = Callable[[Any, str], Awaitable[None]]

COMMAND_LINE: Final = 512
"""Octets of a command line with its CRLF (RFC 5321 section 4.5.3.1.4)."""

LONGER_LINES: Final = {"MAIL": 1200, "RCPT": 1100, "AUTH": MAX_LINE}
"""The same where extensions add to it: SIZE, BODY, SMTPUTF8, AUTH=, RET, ENVID; NOTIFY, ORCPT; SASL."""

_NOT_MAIL: Final = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT", "PRI"})
_TLS_HELLO: Final = b"\x16"
_AT_A_STRETCH: Final = 64  # pipelined commands handled before other sessions get their turn


class Conversation(Wire):
    """One client on one listener."""

    commands: ClassVar[Mapping[str, Command]]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: SessionSettings,
        doors: Doors,
        on_end: Callable[[Conversation], None],
    ) -> None:
        super().__init__(loop, settings.patience, doors.outbox)
        self.settings = settings
        self.doors = doors
        self._on_end = on_end
        self._ip = ""
        self._is_trusted = self._is_loopback = False
        self._has_place = False
        self._is_idle = False  # waiting for a command, not within one
        self._is_stopping = False
        self._handler_coroutine = None
        self._errors = self._refusals = self._idle_commands = self._auth_failures = 0
        self._progress_at = loop.time()

    # -- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._ip = peer_ip(self.session.peer)
        address = parsed_ip(self._ip)
        self._is_trusted = address is not None and address in self.settings.trusted_networks
        self._is_loopback = address is not None and address.is_loopback
        counters = self.doors.counters
        counters.connected(self.settings.kind)
        refusal = self._why_not_here(address)
        if refusal is not None:
            counters.connections_refused += 1
            if not self.settings.is_implicit_tls:  # there it would not be understood
                self.say(refusal.wire())
            self.part(lingers=False)
            return
        self._has_place = True
        self._handler_coroutine = self.loop.create_task(self._handle_client())

    def _why_not_here(self, address: object) -> Reply | None:
        if self._is_stopping:
            return SHUTTING_DOWN
        allowed = self.settings.allowed_ips
        if allowed and address not in allowed:
            return replies.NOT_ALLOWED
        used_up = self.doors.connections.enter(self._ip)
        if used_up == "all":
            return TOO_MANY_CONNECTIONS
        return replies.TOO_MANY_FROM_ADDRESS if used_up else None

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._give_place_back()
        if self._handler_coroutine is None or self._handler_coroutine.done():
            self._on_end(self)

    def _give_place_back(self) -> None:
        if self._has_place:
            self._has_place = False
            self.doors.connections.leave(self._ip)

    def stop_soon(self, *, is_overdue: bool = False) -> None:
        """Say 421 and close now when nothing is in hand, else after the message in hand; `is_overdue`: also while
        it still arrives. A commit is never broken off.
        """
        self._is_stopping = True
        waiter = self._waiter
        is_waiting = self._wants_input and waiter is not None and not waiter.done()
        if waiter is not None and is_waiting and (self._is_idle or is_overdue):
            waiter.set_exception(Parting(SHUTTING_DOWN))
        elif self._is_parting and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close without another word."""
        if self.transport is not None:
            self.transport.abort()

    async def _handle_client(self) -> None:
        lingers = False
        try:
            await self._open()
            await self._converse()
        except Gone:
            pass
        except Parting as parting:
            self.say(parting.reply.wire())
            lingers = parting.reply is not BYE and not self._is_stopping
        except Exception as error:
            self.say((await self.handle_exception(error)).encode("ascii") + b"\r\n")
        self._forget_transaction()
        self._give_place_back()
        self.part(lingers=lingers)
        if self.transport is None:
            self._on_end(self)

    async def _encrypt(self, *, is_implicit: bool = False) -> None:
        """Start TLS and forget what was said before."""
        raise NotImplementedError

    def _forget_transaction(self) -> None:
        """Drop what was said since MAIL."""
        raise NotImplementedError

    async def _open(self) -> None:
        if self.settings.is_implicit_tls:
            await self._encrypt(is_implicit=True)
        # Two turns of the loop: what a client sent without waiting for us is here then (RFC 5321 section 4.3.1).
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self.has_input:
            raise Parting(replies.NOT_A_MAIL_CLIENT if self._in[:1] == _TLS_HELLO else replies.EARLY_TALKER)
        self.say(f"220 {self.settings.hostname} ESMTP\r\n".encode("ascii"))

    async def _converse(self) -> None:
        takes_bare_lf = self.settings.normalizes_bare_lf
        commands = self.commands
        stretch = 0
        while True:
            if self._is_stopping:
                raise Parting(SHUTTING_DOWN)
            if not self.has_input:
                stretch = 0
            elif (stretch := stretch + 1) % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
            self._is_idle = True
            try:
                line = await self.read_line(takes_bare_lf)
            except ValueError:
                is_tls_hello = self._in[:1] == _TLS_HELLO
                raise Parting(replies.NOT_A_MAIL_CLIENT if is_tls_hello else BAD_LINE_ENDING) from None
            self._is_idle = False
            if line is None:
                self._refuse(LINE_TOO_LONG)
                continue
            try:
                verb, _, argument = line.decode().partition(" ")
            except UnicodeDecodeError:
                self._meet_stranger(line)
                self._refuse(replies.NOT_UTF8)
                continue
            verb = verb.upper()
            if len(line) > COMMAND_LINE - 2 and len(line) > LONGER_LINES.get(verb, COMMAND_LINE) - 2:
                self._refuse(LINE_TOO_LONG)
                continue
            command = commands.get(verb)
            if command is None:
                self._meet_stranger(line)
                self._refuse(UNKNOWN_COMMAND)
                continue
            try:
                await command(self, argument.strip(" "))
            except Refused as refused:
                self._refuse(refused.reply)
            except (Gone, Parting):
                raise
            except Exception as error:
                await self.push(await self.handle_exception(error))
            if self.loop.time() - self._progress_at > self._patience.session:
                raise Parting(replies.SESSION_TOO_LONG)

    async def handle_exception(self, error: Exception) -> str:
        """Log what nobody foresaw, once; the reply for it, without a word of it (A5)."""
        number = secrets.token_hex(4)
        log.error("SMTP session fault", exc_info=error, extra={"trace": number, "client_ip": self._ip})
        return f"{LOCAL_ERROR} (trace {number})"

    def _refuse(self, reply: Reply) -> None:
        self.say(reply.wire())
        self._errors += 1
        if self._errors >= self.settings.limits.max_errors:
            raise Parting(replies.TOO_MANY_ERRORS)

    def _turn_down(self, refused: Refused) -> None:
        """A sender or recipient that intake does not want: no fault of the session's, but not without end."""
        self.say(refused.reply.wire())
        self._refusals += 1
        if self._refusals >= self.settings.limits.max_refusals:
            raise Parting(replies.TOO_MANY_REFUSALS)

    def _pass_time(self) -> None:
        self._idle_commands += 1
        if self._idle_commands >= self.settings.limits.max_idle_commands:
            raise Parting(replies.TOO_MANY_COMMANDS)

    def _note_progress(self) -> None:
        self._errors = self._refusals = self._idle_commands = 0
        self._progress_at = self.loop.time()

    @staticmethod
    def _meet_stranger(line: bytes) -> None:
        if line[:1] == _TLS_HELLO or line.partition(b" ")[0].decode("latin-1").upper() in _NOT_MAIL:
            raise Parting(replies.NOT_A_MAIL_CLIENT)
