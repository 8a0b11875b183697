"""The dialogue with one host up to the point where it takes mail: greeting, EHLO, STARTTLS, AUTH.

Runs on the delivery loop; the transactions that follow stand in `exchange`. Promise: a password is never sent in
clear unless `relay_tls = "none"` asks for it, nothing learnt in clear is believed after STARTTLS, and what went
wrong comes back as one NoSession that says at which stage.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Never

from sendry.config.values import RelayTls
from sendry.delivery.hosts import Host
from sendry.delivery.settings import Relay, Settings
from sendry.delivery.trust import UNVERIFIED, Trust
from sendry.delivery.wire import Lost, Wire
from sendry.mail.outcome import (
    Stage,
    TlsFault,
    Verdict,
    connect_failure,
    connection_lost,
    judge,
    local_failure,
    tls_failure,
)
from sendry.mail.reply import Reply

LONGEST_OPENING: Final = 180.0
"""Seconds for all steps up to MAIL, a second connection in clear included."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is kept of a connection in an attempt."""

    host: str
    ip: str
    source_ip: str = ""
    tls: str = ""
    tls_verified: str = ""


class NoSession(Exception):
    """A host gave no session; `verdict` says why, `stage` how far it went."""

    def __init__(self, stage: Stage, verdict: Verdict, facts: Facts) -> None:
        super().__init__(f"{stage}: {verdict.text}")
        self.stage = stage
        self.verdict = verdict
        self.facts = facts


@dataclass(slots=True)
class Session:
    """A connection that takes mail. `used` counts messages; `needs_reset` asks for RSET before the next one."""

    wire: Wire
    facts: Facts
    extensions: Mapping[str, str]
    used: int = 0
    idle_since: float = 0.0
    needs_reset: bool = False
    is_ending: bool = False  # the host said 421, or the dialogue is out of step
    is_pipelining: bool = field(init=False)
    largest: int = field(init=False)
    """Octets of the largest message it takes, as announced; 0 = not announced."""

    def __post_init__(self) -> None:
        self.is_pipelining = "PIPELINING" in self.extensions
        size = self.extensions.get("SIZE", "")
        self.largest = int(size) if size.isascii() and size.isdigit() and len(size) < 16 else 0

    @property
    def can_go_on(self) -> bool:
        """Nothing speaks against another message: no loss, no 421, no word that nobody asked for."""
        return self.wire.lost is None and not self.is_ending and not self.wire.replies


class Dialer:
    """Opens sessions."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._clock = clock

    async def open(
        self, host: Host, tls: RelayTls, relay: Relay | None = None, seconds: float = LONGEST_OPENING
    ) -> Session:
        """A session with one host, ready for MAIL, within so many seconds. Raises NoSession.

        `tls` opportunistic: any certificate will do, and when TLS fails a new connection goes on in clear.
        `require` and `implicit`: encrypted, and the certificate valid for the host, or nothing. `relay` tells
        user and password, if any.
        """
        try:
            async with asyncio.timeout(seconds):
                try:
                    return await self._opening(host, tls, relay).run()
                except NoSession as failed:
                    if failed.stage is not Stage.STARTTLS or tls is not RelayTls.OPPORTUNISTIC:
                        raise
                return await self._opening(host, RelayTls.NONE, relay).run()
        except TimeoutError:
            verdict = connection_lost(Stage.EHLO, str(host), f"not ready for mail within {seconds:.0f} s")
            raise NoSession(Stage.EHLO, verdict, Facts(str(host), host.ip)) from None

    def _opening(self, host: Host, tls: RelayTls, relay: Relay | None) -> _Opening:
        return _Opening(self._settings, self._trust, self._clock, host, tls, relay)


class _Opening:
    """One connection on its way to a session."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        clock: Callable[[], datetime],
        host: Host,
        tls: RelayTls,
        relay: Relay | None,
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._clock = clock
        self._host = host
        self._tls = tls
        self._relay = relay
        self._facts = Facts(str(host), host.ip)
        self._extensions: Mapping[str, str] = {}
        self._wire = Wire(asyncio.get_running_loop())

    async def run(self) -> Session:
        try:
            await self._connect()
            await self._greet()
            await self._introduce()
            if self._tls in (RelayTls.OPPORTUNISTIC, RelayTls.REQUIRE):
                await self._encrypt()
            if self._relay is not None and self._relay.user:
                await self._authenticate(self._relay)
        except BaseException:
            if not self._wire.is_leaving:
                self._wire.abort("given up")
            raise
        return Session(self._wire, self._facts, self._extensions)

    async def _connect(self) -> None:
        host, patience = self._host, self._settings.connect_timeout
        is_implicit = self._tls is RelayTls.IMPLICIT
        try:
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().create_connection(
                    lambda: self._wire,
                    host.ip,
                    host.port,
                    ssl=self._trust.verifying if is_implicit else None,
                    server_hostname=(host.name or host.ip) if is_implicit else None,
                )
        except TimeoutError:
            raise self._no_connection(f"none within {patience:g} s") from None
        except (ssl.SSLError, ValueError) as error:
            raise self._no_tls(error) from None
        except OSError as error:
            raise self._no_connection(_words(error)) from None
        transport = self._wire.transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._facts = replace(self._facts, source_ip=str(transport.get_extra_info("sockname")[0]))
        if is_implicit:
            self._note_tls()

    async def _greet(self) -> None:
        reply = await self._answer(Stage.BANNER)
        if not 200 <= reply.code < 300:
            self._turn_away(reply, Stage.BANNER)

    async def _introduce(self) -> None:
        """EHLO, or HELO where that is not known (RFC 5321 section 3.2)."""
        name = self._settings.hostname
        reply = await self._say(f"EHLO {name}", Stage.EHLO)
        if 200 <= reply.code < 300:
            self._extensions = _extensions(reply)
            return
        if reply.is_permanent:
            reply = await self._say(f"HELO {name}", Stage.EHLO)
        if not 200 <= reply.code < 300:
            self._turn_away(reply, Stage.EHLO)
        self._extensions = {}

    async def _encrypt(self) -> None:
        is_required = self._tls is RelayTls.REQUIRE
        if "STARTTLS" not in self._extensions:
            if is_required:
                self._wire.leave(self._settings.connect_timeout)
                raise self._failed(Stage.STARTTLS, tls_failure(TlsFault.NOT_OFFERED, self._facts.host))
            return
        reply = await self._say("STARTTLS", Stage.STARTTLS)
        if reply.code != 220:
            self._turn_away(reply, Stage.STARTTLS)
        context = self._trust.verifying if is_required else self._trust.any_certificate
        name = self._host.name or (self._host.ip if is_required else "")
        try:
            await self._wire.start_tls(context, name, self._settings.connect_timeout)
        except (Lost, ssl.SSLError, OSError, ValueError) as error:
            raise self._no_tls(error) from None
        self._note_tls()
        try:
            await self._introduce()
        except NoSession as failed:
            # In TLS 1.3 the host may refuse the handshake when for us it is over already.
            raise self._failed(Stage.STARTTLS, failed.verdict) from None

    async def _authenticate(self, relay: Relay) -> None:
        if not self._facts.tls and relay.tls is not RelayTls.NONE:
            self._wire.leave(self._settings.connect_timeout)
            text = (
                'The smart host gave no TLS, and the password is not sent in clear unless delivery.relay_tls = "none"'
            )
            raise self._failed(Stage.AUTH, local_failure(text))
        known = self._extensions.get("AUTH", "").upper().split()
        if "PLAIN" in known:
            reply = await self._say("AUTH PLAIN " + _base64(f"\0{relay.user}\0{relay.password}"), Stage.AUTH)
        elif "LOGIN" in known:
            reply = await self._say("AUTH LOGIN", Stage.AUTH)
            for secret in (relay.user, relay.password):
                if reply.code == 334:
                    reply = await self._say(_base64(secret), Stage.AUTH)
        else:
            self._wire.leave(self._settings.connect_timeout)
            text = "The smart host offers neither AUTH PLAIN nor AUTH LOGIN; leave delivery.relay_user empty"
            raise self._failed(Stage.AUTH, local_failure(text))
        if reply.code != 235:
            if reply.is_positive:  # goes on where it should have ended
                reply = Reply(0, "", str(reply))
            self._turn_away(reply, Stage.AUTH)

    async def _say(self, line: str, stage: Stage) -> Reply:
        self._wire.send(f"{line}\r\n".encode("ascii"))
        return await self._answer(stage)

    async def _answer(self, stage: Stage) -> Reply:
        try:
            return await self._wire.answer(self._settings.command_timeout)
        except Lost as lost:
            raise self._failed(stage, connection_lost(stage, self._facts.host, str(lost))) from None

    def _note_tls(self) -> None:
        assert self._wire.transport is not None
        session: ssl.SSLObject = self._wire.transport.get_extra_info("ssl_object")
        verified = self._trust.judgement(session, self._host.name, self._clock()) if self._host.name else UNVERIFIED
        self._facts = replace(self._facts, tls=session.version() or "TLS", tls_verified=verified)

    def _turn_away(self, reply: Reply, stage: Stage) -> Never:
        self._wire.leave(self._settings.connect_timeout)
        raise self._failed(stage, judge(reply, stage))

    def _failed(self, stage: Stage, verdict: Verdict) -> NoSession:
        return NoSession(stage, verdict, self._facts)

    def _no_connection(self, why: str) -> NoSession:
        return self._failed(Stage.CONNECT, connect_failure(f"{self._facts.host}:{self._host.port}", why))

    def _no_tls(self, error: Exception) -> NoSession:
        self._wire.abort("TLS failed")
        is_unverified = isinstance(error, ssl.SSLCertVerificationError)
        fault = TlsFault.UNVERIFIED if is_unverified else TlsFault.HANDSHAKE
        return self._failed(Stage.STARTTLS, tls_failure(fault, self._facts.host, _words(error)))


def _extensions(reply: Reply) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in reply.text.split("\n")[1:]:
        # Some hosts write AUTH=PLAIN, for very old clients.
        keyword, _, rest = line.replace("AUTH=", "AUTH ", 1).strip().partition(" ")
        if keyword:
            found[keyword.upper()] = rest.strip()
    return found


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or "the certificate is not valid"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
