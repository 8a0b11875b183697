"""All SMTP listeners of a process, on one event loop in a thread of its own.

Promises: an address that cannot be bound is told with its key and the reason before anything runs; at the end new
connections are refused first, idle sessions get 421, messages in hand are finished within the time allowed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from sendry.access.guard import Guard
from sendry.access.logins import Logins
from sendry.config.tree import Config
from sendry.config.values import HostPort
from sendry.listener.conversation import Conversation
from sendry.listener.doors import Connections, Counters, Doors, Intake
from sendry.listener.protocol import SmtpProtocol
from sendry.listener.settings import ListenerKind, SessionSettings, session_settings
from sendry.listener.wire import Outbox
from sendry.metrics import Metrics
from sendry.store.spool import Spool
from sendry.tls.contexts import CertificateError, CertificateFiles, ServerContexts
from sendry.tls.selfmade import self_made_certificate

log = logging.getLogger(__name__)

BACKLOG: Final = 512
_DISK_THREADS: Final = 12  # spool files written and synced at the same time
_CERTIFICATE_SECONDS: Final = 10.0  # how often certificate files are looked at
_LAST_WORDS_SECONDS: Final = 0.5  # for the 421 of sessions that are overdue


class ListenerError(Exception):
    """A listener cannot be started. The text names the setting, its value and the reason."""


class SmtpServers:
    """The listeners that the configuration names. Use it once: `start`, then `stop`."""

    def __init__(
        self,
        config: Config,
        intake: Intake,
        guard: Guard,
        spool: Spool,
        metrics: Metrics | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        settings: Callable[[Config, ListenerKind], SessionSettings] = session_settings,
        make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._config = config
        self._places = {
            ListenerKind.RELAY: ("smtp.listen_addr", config.smtp.listen_addr),
            ListenerKind.SUBMISSION: ("smtp.submission_addr", config.smtp.submission_addr),
            ListenerKind.SMTPS: ("smtp.smtps_addr", config.smtp.smtps_addr),
        }
        self.logins = Logins(config.smtp.auth.users, accepts_any=config.smtp.auth.accept_any)
        self.contexts = ServerContexts()
        self.counters = Counters(metrics)
        self.connections = Connections(config.smtp.max_connections, config.smtp.max_connections_per_ip)
        if metrics is not None:
            metrics.watch("sendry_smtp_connections_active", lambda: self.connections.active)
        self._disk = ThreadPoolExecutor(_DISK_THREADS, "spool")
        self._guard = guard
        self._settings = settings
        self._clock = clock
        self._loop = (make_loop or new_loop)()
        self._doors = Doors(
            intake=intake,
            logins=self.logins,
            guard=guard,
            contexts=self.contexts,
            spool=spool,
            disk=self._disk,
            clock=clock,
            connections=self.connections,
            counters=self.counters,
            outbox=Outbox(self._loop),
        )
        self._thread = threading.Thread(target=self._run, name="smtp", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._sessions: set[Conversation] = set()
        self._all_gone: asyncio.Event | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> dict[str, HostPort]:
        """Bind and serve; gives the addresses by their keys, with the real port where 0 was asked for.

        Raises ListenerError; nothing runs then.
        """
        bound: dict[ListenerKind, list[socket.socket]] = {}
        addresses: dict[str, HostPort] = {}
        try:
            self._load_certificate()
            for kind, (key, place) in self._places.items():
                if place is None:
                    continue
                if kind is ListenerKind.SMTPS and self.contexts.context is None:
                    log.warning("no listener with implicit TLS: there is no certificate", extra={"key": key})
                    continue
                bound[kind] = bind(key, place)
                addresses[key] = HostPort(place.host, bound[kind][0].getsockname()[1])
            self._guard.load(self._clock())
        except BaseException:
            for sockets in bound.values():
                for each in sockets:
                    each.close()
            self._release()
            self._loop.close()
            raise
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(bound), self._loop).result()
        return addresses

    @property
    def is_running(self) -> bool:
        """Whether the thread of the listeners lives."""
        return self._thread.is_alive()

    def stop(self, timeout: float) -> None:
        """Refuse new connections, let sessions finish for so many seconds, then close. Blocks."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._drain(timeout), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._release()

    def reload(self, config: Config) -> None:
        """Take over changed users and certificate files."""
        self.logins.replace(config.smtp.auth.users)
        self.contexts.refresh()

    # -- within

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _release(self) -> None:
        self.logins.close()
        self._disk.shutdown(wait=True)

    def _load_certificate(self) -> None:
        tls = self._config.smtp.tls
        try:
            if tls.cert_file is not None and tls.key_file is not None:
                self.contexts.add(CertificateFiles(tls.cert_file, tls.key_file))
            elif self._config.is_sandbox_profile:
                folder = self._config.data_dir / "tls"
                self.contexts.add(self_made_certificate(folder, self._config.server.hostname, self._clock()))
        except (CertificateError, OSError) as error:
            raise ListenerError(f"smtp.tls.cert_file: the certificate cannot be used: {error}") from error

    async def _serve(self, bound: dict[ListenerKind, list[socket.socket]]) -> None:
        self._all_gone = asyncio.Event()
        for kind, sockets in bound.items():
            factory = self._factory(kind)
            for each in sockets:
                self._servers.append(await self._loop.create_server(factory, sock=each, backlog=BACKLOG))
        self._watch = self._loop.create_task(self._watch_certificates())

    def _factory(self, kind: ListenerKind) -> Callable[[], SmtpProtocol]:
        settings = self._settings(self._config, kind)
        loop, doors, sessions, forget = self._loop, self._doors, self._sessions, self._forget

        def make() -> SmtpProtocol:
            session = SmtpProtocol(loop, settings, doors, forget)
            sessions.add(session)
            return session

        return make

    def _forget(self, session: Conversation) -> None:
        self._sessions.discard(session)
        if not self._sessions and self._all_gone is not None:
            self._all_gone.set()

    async def _watch_certificates(self) -> None:
        while True:
            await asyncio.sleep(_CERTIFICATE_SECONDS)
            await self._loop.run_in_executor(self._disk, self.contexts.refresh)

    async def _drain(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        if self._watch is not None:
            self._watch.cancel()
        for server in self._servers:
            server.close()
        for session in tuple(self._sessions):
            session.stop_soon()
        if not await self._wait_for_end(until - time.monotonic()):
            for session in tuple(self._sessions):
                session.stop_soon(is_overdue=True)
            if not await self._wait_for_end(_LAST_WORDS_SECONDS):
                for session in tuple(self._sessions):
                    session.abort()
                log.warning("sessions were broken off at the end", extra={"sessions": len(self._sessions)})
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _wait_for_end(self, seconds: float) -> bool:
        if not self._sessions or self._all_gone is None:
            return True
        self._all_gone.clear()
        try:
            await asyncio.wait_for(self._all_gone.wait(), max(0.0, seconds))
        except TimeoutError:
            return not self._sessions
        return True


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop of the fastest kind there is: uvloop takes messages in about half the time."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def bind(key: str, place: HostPort) -> list[socket.socket]:
    """A socket per family of the address, all on one port. Raises ListenerError."""
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(place.host or None, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            port = sockets[0].getsockname()[1] if sockets else place.port
            try:
                sockets.append(_listening_socket(family, kind, protocol, (address[0], port, *address[2:])))
            except OSError as error:
                # Systems name families that they do not speak; one that works is enough for «all interfaces».
                if place.host or not sockets or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
    except OSError as error:
        for each in sockets:
            each.close()
        hint = ""
        if isinstance(error, PermissionError) and place.port < 1024:
            hint = "; ports below 1024 are for root, or for programs with CAP_NET_BIND_SERVICE"
        reason = error.strerror or str(error)
        raise ListenerError(f'{key} = "{place}": cannot listen there: {reason}{hint}') from error
    return sockets


def _listening_socket(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    made.setblocking(False)
    return made
