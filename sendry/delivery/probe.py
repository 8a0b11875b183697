"""Trying an SMTP server by hand: how it greets, what it offers, whether TLS holds; and handing in one mail.

For the command line; each call runs an event loop of its own and blocks. Promise: greeting and replies are read
whole, of one line or many, every wait ends within `timeout` seconds, and what went wrong is told beside what went
right.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from sendry.config.tree import Config
from sendry.config.values import RelayTls
from sendry.delivery.hosts import Host
from sendry.delivery.session import Dialer, NoSession, Session
from sendry.delivery.settings import Settings
from sendry.delivery.trust import VERIFIED, Trust
from sendry.delivery.wire import Lost, Wire
from sendry.mail.newlines import dot_stuff
from sendry.mail.reply import Reply
from sendry.resolver import LookupFailed, Resolver, is_address

SMTPS_PORT: Final = 465
_FAREWELL: Final = 1.0


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


class NotTaken(Exception):
    """A mail was not taken; the text says at which step and why."""


def look_at(config: Config, host: str, port: int, timeout: float, trust: Trust | None = None) -> Look:
    """Greet a server as delivery would, with TLS where it is offered, and leave. Port 465 begins with TLS."""
    return asyncio.run(_Looking(config, host, port, timeout, trust or Trust()).run())


def hand_in(
    config: Config,
    host: str,
    port: int,
    tls: RelayTls,
    sender: str,
    recipients: Sequence[str],
    octets: bytes,
    *,
    login: tuple[str, str] | None = None,
    timeout: float = 30.0,
) -> Reply:
    """Hand one mail to a server of this installation and give its last reply. Raises NotTaken."""
    return asyncio.run(_hand_in(config, host, port, tls, sender, recipients, octets, login, timeout))


class _Looking:
    def __init__(self, config: Config, host: str, port: int, timeout: float, trust: Trust) -> None:
        self._config = config
        self._timeout = timeout
        self._trust = trust
        self._look = Look(host, port)
        self._wire: Wire

    async def run(self) -> Look:
        self._wire = Wire(asyncio.get_running_loop())
        try:
            await self._run()
        except (Lost, OSError, ValueError, LookupFailed) as error:
            self._look.failure = _words(error)
        finally:
            await _leave(self._wire)
        return self._look

    async def _run(self) -> None:
        look = self._look
        is_implicit = look.port == SMTPS_PORT
        await self._connect(self._trust.any_certificate if is_implicit else None)
        if is_implicit:
            self._note_tls()
        if (await self._hear("banner")).code != 220:
            look.failure = "the server does not greet with 220"
            return
        if not await self._introduce() or is_implicit:
            return
        if not any(line.upper() == "STARTTLS" for line in look.extensions):
            self._note("TLS", "not offered", time.monotonic())
            return
        if (await self._say("STARTTLS")).code != 220:
            look.failure = "STARTTLS is offered and refused"
            return
        begun = time.monotonic()
        await self._wire.start_tls(self._trust.any_certificate, look.host, self._timeout)
        self._note_tls(begun)
        await self._introduce()

    async def _connect(self, context: ssl.SSLContext | None) -> None:
        """To the first address that takes the connection. Raises OSError, LookupFailed."""
        look = self._look
        name = look.host if context else None
        for place, ip in enumerate(addresses := await _addresses(self._config, look.host), start=1):
            look.ip, begun = ip, time.monotonic()
            try:
                async with asyncio.timeout(self._timeout):
                    await asyncio.get_running_loop().create_connection(
                        lambda: self._wire, ip, look.port, ssl=context, server_hostname=name
                    )
            except OSError as error:  # a TimeoutError is one too
                if place == len(addresses):
                    raise OSError(0, f"{ip}:{look.port}: {_words(error)}") from None
                self._note("connect", f"{ip}:{look.port}: {_words(error)}", begun)
            else:
                self._note("connect", f"{ip}:{look.port}", begun)
                return

    async def _introduce(self) -> bool:
        reply = await self._say(f"EHLO {self._config.server.hostname}")
        self._look.extensions = tuple(line.strip() for line in reply.text.split("\n")[1:])
        if reply.code != 250:
            self._look.failure = "the server does not take EHLO"
        return reply.code == 250

    async def _say(self, line: str) -> Reply:
        self._wire.send(f"{line}\r\n".encode("ascii"))
        return await self._hear(line)

    async def _hear(self, name: str) -> Reply:
        begun = time.monotonic()
        reply = await self._wire.answer(self._timeout)
        self._note(name, str(reply), begun)
        return reply

    def _note(self, name: str, text: str, begun: float) -> None:
        self._look.steps.append(Step(name, text, round((time.monotonic() - begun) * 1000)))

    def _note_tls(self, begun: float | None = None) -> None:
        assert self._wire.transport is not None
        session: ssl.SSLObject = self._wire.transport.get_extra_info("ssl_object")
        look = self._look
        look.tls = session.version() or "TLS"
        look.tls_verified = self._trust.judgement(session, look.host, datetime.now(UTC))
        is_good = look.tls_verified == VERIFIED
        judged = f"certificate valid for {look.host}" if is_good else f"certificate not valid for {look.host}"
        self._note("TLS", f"{look.tls}, {judged}", time.monotonic() if begun is None else begun)


class _OwnServer(Trust):
    """Our own server on this machine: its certificate is for its public name, and we do not call it by that."""

    @cached_property
    def verifying(self) -> ssl.SSLContext:
        return self.any_certificate


async def _hand_in(
    config: Config,
    host: str,
    port: int,
    tls: RelayTls,
    sender: str,
    recipients: Sequence[str],
    octets: bytes,
    login: tuple[str, str] | None,
    timeout: float,  # noqa: ASYNC109 - passed on to every wait
) -> Reply:
    settings = replace(Settings.of(config), connect_timeout=timeout, command_timeout=timeout)
    try:
        ip = (await _addresses(config, host))[0]
        session = await Dialer(settings, _OwnServer()).open(Host("", ip, port), tls)
    except NoSession as failed:
        verdict = failed.verdict
        said = " ".join(part for part in (str(verdict.code or ""), verdict.enhanced, verdict.text) if part)
        raise NotTaken(f"{host}:{port}, {failed.stage}: {said}") from None
    except (LookupFailed, ValueError) as error:
        raise NotTaken(f"{host}: {error}") from None
    try:
        return await _transaction(session, sender, recipients, octets, login, timeout)
    except Lost as lost:
        raise NotTaken(f"{host}:{port}: {lost}") from None
    finally:
        await _leave(session.wire)


async def _transaction(
    session: Session,
    sender: str,
    recipients: Sequence[str],
    octets: bytes,
    login: tuple[str, str] | None,
    timeout: float,  # noqa: ASYNC109 - passed on to every wait
) -> Reply:
    async def say(octets: bytes, shown: str) -> Reply:
        session.wire.send(octets)
        reply = await session.wire.answer(timeout)
        if not reply.is_positive:
            raise NotTaken(f"{shown}: {reply}")
        return reply

    if login is not None:
        secret = base64.b64encode("\0{}\0{}".format(*login).encode())
        await say(b"AUTH PLAIN " + secret + b"\r\n", "AUTH")
    is_foreign = not all(address.isascii() for address in (sender, *recipients))
    mail = f"MAIL FROM:<{sender}>{' SMTPUTF8' if is_foreign else ''}"
    await say(f"{mail}\r\n".encode(), mail)
    for recipient in recipients:
        line = f"RCPT TO:<{recipient}>"
        await say(f"{line}\r\n".encode(), line)
    await say(b"DATA\r\n", "DATA")
    return await say(b"".join(dot_stuff((octets,))), "end of the mail")


async def _addresses(config: Config, host: str) -> tuple[str, ...]:
    if is_address(host):
        return (host,)
    resolver = Resolver(tuple((place.host, place.port) for place in config.dns.nameservers))
    found = await resolver.named_addresses(host)
    if not found:
        raise LookupFailed("there is no such host")
    return found


async def _leave(wire: Wire) -> None:
    """Say goodbye, and do not wait long for the answer."""
    if wire.lost is None and wire.transport is not None and not wire.transport.is_closing():
        wire.send(b"QUIT\r\n")
        await wire.answers(1, _FAREWELL)
    wire.abort("closed")


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
        return "the server closed the connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
