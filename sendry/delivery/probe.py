"""Trying an SMTP server by hand: how it greets, what it offers, whether TLS holds; and handing in one mail.

For the command line; each call runs an event loop of its own and blocks. Promise: greeting and replies are read
whole, of one line or many, every wait ends within `timeout` seconds, and what went wrong is told beside what went
right.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sendry.config.tree import Config
from sendry.config.values import RelayTls
from sendry.delivery.trust import VERIFIED, Trust
from sendry.delivery.wire import Lost, Wire
from sendry.mail.newlines import dot_stuff
from sendry.mail.reply import Reply
from sendry.resolver import LookupFailed, Resolver, is_address

SMTPS_PORT: Final = 465
_FAREWELL: Final = 1.0
_TURNS_TO_CLOSE: Final = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One exchange with the server, and how long it took."""

    name: str
    text: str
    milliseconds: int


@dataclass(slots=True)
class Look:
    """What was seen of a server. `failure` is "" when it would take mail now."""

    host: str
    port: int
    ip: str = ""
    steps: list[Step] = field(default_factory=list)
    extensions: tuple[str, ...] = ()
    tls: str = ""
    tls_verified: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to hand in. `login` is user and password, None for no AUTH."""

    sender: str
    recipients: Sequence[str]
    octets: bytes
    login: tuple[str, str] | None = None


class NotTaken(Exception):
    """It went wrong; the text says at which step and why."""


def look_at(config: Config, host: str, port: int, timeout: float, trust: Trust | None = None) -> Look:
    """Greet a server as delivery would, with TLS where it is offered, and leave. Port 465 begins with TLS."""
    tls = RelayTls.IMPLICIT if port == SMTPS_PORT else RelayTls.OPPORTUNISTIC
    look = Look(host, port)
    try:
        asyncio.run(_Dialogue(config, look, timeout, trust or Trust()).run(tls))
    except NotTaken as failure:
        look.failure = str(failure)
    return look


def hand_in(config: Config, host: str, port: int, tls: RelayTls, mail: Mail, timeout: float) -> Reply:
    """Hand one mail to a server of this installation and give its last reply. Raises NotTaken.

    Any certificate will do: it is for the public name, and nobody calls a server of this machine by that.
    """
    look = Look(host, port)
    try:
        reply = asyncio.run(_Dialogue(config, look, timeout, Trust()).run(tls, mail))
    except NotTaken as failure:
        raise NotTaken(f"{host}:{port}: {failure}") from None
    assert reply is not None
    return reply


class _Dialogue:
    """One connection from beginning to end; what happens is noted in `look`."""

    def __init__(self, config: Config, look: Look, timeout: float, trust: Trust) -> None:
        self._config = config
        self._look = look
        self._timeout = timeout
        self._trust = trust
        self._wire: Wire

    async def run(self, tls: RelayTls, mail: Mail | None = None) -> Reply | None:
        self._wire = Wire(asyncio.get_running_loop())
        try:
            await self._begin(tls)
            return None if mail is None else await self._transaction(mail)
        except (Lost, OSError, ValueError, LookupFailed) as error:
            raise NotTaken(_words(error)) from None
        finally:
            await self._leave()

    async def _begin(self, tls: RelayTls) -> None:
        is_implicit = tls is RelayTls.IMPLICIT
        await self._connect(self._trust.any_certificate if is_implicit else None)
        if is_implicit:
            self._note_tls()
        banner = await self._hear("banner")
        if banner.code != 220:
            raise NotTaken(f"the server does not greet with 220: {banner}")
        await self._introduce()
        if tls is not RelayTls.OPPORTUNISTIC:
            return
        if not any(line.upper() == "STARTTLS" for line in self._look.extensions):
            self._note("TLS", "not offered")
            return
        if (await self._say("STARTTLS")).code != 220:
            raise NotTaken("STARTTLS is offered and refused")
        begun = time.monotonic()
        await self._wire.start_tls(self._trust.any_certificate, self._look.host, self._timeout)
        self._note_tls(begun)
        await self._introduce()

    async def _connect(self, context: ssl.SSLContext | None) -> None:
        """To the first address that takes the connection. Raises OSError, LookupFailed."""
        look = self._look
        name = look.host if context else None
        addresses = await self._addresses()
        for place, ip in enumerate(addresses, start=1):
            look.ip, begun = ip, time.monotonic()
            try:
                async with asyncio.timeout(self._timeout):
                    await asyncio.get_running_loop().create_connection(
                        lambda: self._wire, ip, look.port, ssl=context, server_hostname=name
                    )
            except OSError as error:  # a TimeoutError is one too
                if place == len(addresses):
                    raise NotTaken(f"no connection with {ip}: {_words(error)}") from None
                self._note("connect", f"{ip}:{look.port}: {_words(error)}", begun)
            else:
                self._note("connect", f"{ip}:{look.port}", begun)
                return

    async def _addresses(self) -> tuple[str, ...]:
        host = self._look.host
        if is_address(host):
            return (host,)
        resolver = Resolver(tuple((place.host, place.port) for place in self._config.dns.nameservers))
        found = await resolver.named_addresses(host)
        if not found:
            raise NotTaken("there is no such host")
        return found

    async def _introduce(self) -> None:
        reply = await self._say(f"EHLO {self._config.server.hostname}")
        self._look.extensions = tuple(line.strip() for line in reply.text.split("\n")[1:])
        if reply.code != 250:
            raise NotTaken(f"the server does not take EHLO: {reply}")

    async def _transaction(self, mail: Mail) -> Reply:
        if mail.login is not None:
            secret = base64.b64encode("\0{}\0{}".format(*mail.login).encode()).decode()
            await self._ask(f"AUTH PLAIN {secret}", "AUTH")
        is_foreign = not all(address.isascii() for address in (mail.sender, *mail.recipients))
        await self._ask(f"MAIL FROM:<{mail.sender}>{' SMTPUTF8' if is_foreign else ''}")
        for recipient in mail.recipients:
            await self._ask(f"RCPT TO:<{recipient}>")
        await self._ask("DATA")
        self._wire.send(b"".join(dot_stuff((mail.octets,))))
        return _good(await self._hear("end of the mail"), "end of the mail")

    async def _ask(self, line: str, shown: str = "") -> None:
        _good(await self._say(line, shown), shown or line)

    async def _say(self, line: str, shown: str = "") -> Reply:
        self._wire.send(f"{line}\r\n".encode())
        return await self._hear(shown or line)

    async def _hear(self, name: str) -> Reply:
        begun = time.monotonic()
        reply = await self._wire.answer(self._timeout)
        self._note(name, str(reply), begun)
        return reply

    def _note(self, name: str, text: str, begun: float | None = None) -> None:
        took = 0.0 if begun is None else time.monotonic() - begun
        self._look.steps.append(Step(name, text, round(took * 1000)))

    def _note_tls(self, begun: float | None = None) -> None:
        assert self._wire.transport is not None
        session: ssl.SSLObject = self._wire.transport.get_extra_info("ssl_object")
        look = self._look
        look.tls = session.version() or "TLS"
        look.tls_verified = self._trust.judgement(session, look.host, datetime.now(UTC))
        judged = "valid" if look.tls_verified == VERIFIED else "not valid"
        self._note("TLS", f"{look.tls}, certificate {judged} for {look.host}", begun)

    async def _leave(self) -> None:
        """Say goodbye, and do not wait long for the answer."""
        wire = self._wire
        if wire.lost is None and wire.transport is not None and not wire.transport.is_closing():
            wire.send(b"QUIT\r\n")
            await wire.answers(1, _FAREWELL)
        wire.abort("closed")
        for _ in range(_TURNS_TO_CLOSE):  # the loop closes sockets in its next turns, and this one is about to end
            await asyncio.sleep(0)


def _good(reply: Reply, what: str) -> Reply:
    if not reply.is_positive:
        raise NotTaken(f"{what}: {reply}")
    return reply


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return "the server closed the connection"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)  # asyncio's own words are «Connect call failed»
    return str(error) or type(error).__name__
