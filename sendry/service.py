"""The composition root: builds the rooms from the configuration, starts and stops them in order.

Start: store, what a dead process left, listeners, delivery, HTTP, periodic work. Stop: nothing new comes in, what
is in flight is finished within the time allowed, the rest goes back to the line, the store is closed last.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from sendry import __version__, logs
from sendry.access.guard import Guard
from sendry.config import ConfigError, find_config_path, load
from sendry.config.changes import changed_keys, needs_restart, taken_over
from sendry.config.tree import Config
from sendry.config.values import HostPort
from sendry.domains.registry import Directory
from sendry.first_start import web_secret, with_api_key
from sendry.intake.accept import Intake
from sendry.jobs import Job, Schedule, of_line
from sendry.metrics import Metrics
from sendry.queue.inflight import InFlight
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.work import Result
from sendry.store import nodes
from sendry.store.database import Store, open_store

if TYPE_CHECKING:
    from flask import Flask

    from sendry.delivery.workers import DeliveryLoop
    from sendry.http import HttpServer
    from sendry.listener.server import SmtpServers
    from sendry.rooms import Rooms

log = logging.getLogger(__name__)


class Role(StrEnum):
    """What a process does; several may share one database."""

    WEB = "web"
    SMTP = "smtp"
    WORKER = "worker"


EVERYTHING: Final = (Role.WEB, Role.SMTP, Role.WORKER)
_LOOK_SECONDS: Final = 0.25


class StartError(Exception):
    """Sendry cannot start; the text says which setting is at fault and why."""


class Service:
    """One process of an installation."""

    def __init__(self, config: Config, roles: Sequence[Role] = EVERYTHING) -> None:
        self.roles = tuple(roles)
        self.started_at = datetime.now(UTC)
        self._read = config
        self.store = _open(config)
        try:
            self.config, self.new_api_key = with_api_key(config, self.store)
            self.secret = web_secret(self.config, self.store)
            self.node = nodes.join(self.store, ",".join(self.roles), self.started_at)
            self._in_flight = InFlight(config.data_dir / f"in-flight-{self.node.number}")
            self.queue = Queue(
                self.store, self.node.ids, self.node.number, self._in_flight,
                keeps_dead_letters=config.dlq.enabled,
            )  # fmt: skip
            self.queue.recover(self.started_at, self.node.dead)
            self._in_flight.forget_left_over()
        except OSError as error:
            self.store.close()
            raise StartError(f"the data folder {config.data_dir} cannot be used: {error}") from error
        except BaseException:
            self.store.close()
            raise
        self.directory = Directory(self.config)
        self.intake = Intake(self.config, self.directory, self.queue)
        self.guard = Guard(self.config, self.store)
        self.metrics = Metrics(self.started_at)
        self.metrics.keep_in(self.store)
        self.smtp: SmtpServers | None = None
        self.delivery: DeliveryLoop | None = None
        self.http: HttpServer | None = None
        self.metrics_http: HttpServer | None = None
        self.schedule: Schedule | None = None
        self.smtp_addresses: dict[str, HostPort] = {}
        self._rooms: Rooms | None = None
        self._is_ending = threading.Event()
        self._watch = threading.Thread(target=self._watch_line, name="watch", daemon=True)

    @property
    def rooms(self) -> Rooms:
        """The doors for whatever answers HTTP."""
        if self._rooms is None:
            from sendry.access.sessions import Sessions
            from sendry.access.users import Users
            from sendry.rooms import Rooms
            from sendry.sandbox.inbox import Inbox

            self._rooms = Rooms(
                config=self.config,
                store=self.store,
                queue=self.queue,
                lookup=Lookup(self.store),
                inbox=Inbox(self.store, self.queue),
                intake=self.intake,
                users=Users(self.store, self.secret),
                sessions=Sessions(self.store, self.config.web.session_ttl),
                guard=self.guard,
                directory=self.directory,
                metrics=self.metrics,
                started_at=self.started_at,
                ended=self._ended,
            )
        return self._rooms

    def _ended(self) -> list[str]:
        parts = {"smtp": self.smtp, "delivery": self.delivery}
        return [name for name, part in parts.items() if part is not None and not part.is_running]

    def app(self) -> Flask:
        """The WSGI application over these rooms."""
        from sendry.web import create_app

        return create_app(self.rooms, self.secret)

    def start(self) -> None:
        """Start what the roles ask for. Raises StartError; what had started is stopped again."""
        try:
            if Role.SMTP in self.roles:
                self._start_smtp()
            if Role.WORKER in self.roles:
                self._start_delivery()
            if Role.WEB in self.roles:
                self._start_http()
            self._start_metrics()
            self.start_jobs()
        except BaseException:
            self.stop()
            raise

    def _start_smtp(self) -> None:
        from sendry.listener.server import ListenerError, SmtpServers

        self.smtp = SmtpServers(self.config, self.intake, self.guard, self.store.spool, self.metrics)
        try:
            self.smtp_addresses = self.smtp.start()
        except ListenerError as error:
            raise StartError(str(error)) from error

    def _start_delivery(self) -> None:
        from sendry.delivery.workers import DeliveryLoop

        self.delivery = DeliveryLoop(self.config, self.queue, self.directory, self.intake)
        self.delivery.on_settled.append(self._measure)
        self.delivery.start()
        self._watch.start()

    def _measure(self, results: Sequence[Result]) -> None:
        for tried in (tried for result in results for tried in result.tried):
            self.metrics.observe("sendry_delivery_duration_seconds", tried.duration_ms / 1000)

    def _watch_line(self) -> None:
        """Wake delivery for what other processes put into the line: the other roles, and commands."""
        while not self._is_ending.wait(_LOOK_SECONDS):
            try:
                due = self.queue.next_due()
            except Exception:  # the sweep tells what is wrong with the database
                log.debug("the line cannot be looked at", exc_info=True)
                continue
            if due is not None and due <= datetime.now(UTC):
                self.queue.wake()

    def _start_http(self) -> None:
        from sendry.http import HttpServer, ListenError

        if self.config.api.listen_addr is None:
            return
        try:
            self.http = HttpServer(self.app(), "api.listen_addr", self.config.api.listen_addr, self.config)
        except ListenError as error:
            raise StartError(str(error)) from error
        self.http.start()

    def _start_metrics(self) -> None:
        settings = self.config.metrics
        if not settings.enabled or settings.listen_addr is None:
            return
        from sendry.http import HttpServer, ListenError
        from sendry.metrics import page_app

        app = page_app(self.metrics, settings.path, settings.allowed_ips)
        try:
            self.metrics_http = HttpServer(app, "metrics.listen_addr", settings.listen_addr, self.config, threads=2)
        except ListenError as error:
            raise StartError(str(error)) from error
        self.metrics_http.start()

    def start_jobs(self) -> None:
        """Begin the periodic work; `start` does so last."""
        self.guard.load(datetime.now(UTC))
        jobs = of_line(self.config, self.store, self.queue, self.guard)
        jobs.append(Job("metrics", self.config.metrics.flush_interval, self.metrics.flush))
        self.schedule = Schedule(jobs)
        self.schedule.start()

    def reload(self, config: Config) -> tuple[str, ...]:
        """Take over domains, DKIM keys, users and certificates; gives the changed keys that wait for a restart."""
        waiting = tuple(key for key in changed_keys(self._read, config) if needs_restart(key))
        self._read = taken_over(self._read, config)
        self.config = taken_over(self.config, config)
        self.directory.replace(self.config)
        if self.smtp is not None:
            self.smtp.reload(self.config)
        return waiting

    def stop(self) -> None:
        """Stop in order, within `server.shutdown_timeout`. Nothing accepted is lost."""
        until = time.monotonic() + self.config.server.shutdown_timeout.total_seconds()
        self._is_ending.set()
        if self.schedule is not None:
            self.schedule.stop()
        if self._watch.is_alive():
            self._watch.join()
        if self.smtp is not None:
            self.smtp.stop(max(0.1, until - time.monotonic()))
        for server in (self.http, self.metrics_http):
            if server is not None:
                server.stop()
        if self.delivery is not None:
            self.delivery.stop(max(0.1, until - time.monotonic()))
        try:
            self.metrics.flush(datetime.now(UTC))
            nodes.leave(self.store, self.node.number)
        finally:
            self.store.close()
            self._in_flight.close()

    def first_admin_link(self) -> str:
        """The link that makes the first admin, or "" when there is one or nobody needs to sign in."""
        if not self.config.needs_sign_in or self.http is None:
            return ""
        token = self.rooms.users.first_admin_token()
        return f"{self.base_url}/first-admin/{token}" if token else ""

    @property
    def base_url(self) -> str:
        """Where the panel is, as a person on this machine would type it."""
        if self.config.api.public_url:
            return self.config.api.public_url
        assert self.http is not None
        address = self.http.address
        host = self.config.server.hostname if address.host in ("", "*", "0.0.0.0", "::") else address.host  # noqa: S104 - compared, not bound
        return f"http://{HostPort(host, address.port)}"


def _open(config: Config) -> Store:
    location: Path | str = config.storage.url or config.storage.path
    key = "storage.url" if config.storage.url else "storage.path"
    try:
        return open_store(location, config.data_dir / "spool")
    except Exception as error:
        shown = "(set)" if config.storage.url else repr(str(config.storage.path))
        raise StartError(f"{key} = {shown}: the database cannot be opened: {error}") from error


def describe(service: Service) -> str:
    """The short block that says what listens where, and what to do first."""
    config = service.config
    lines = [f"Sendry {__version__}"]
    if config.is_sandbox_profile:
        lines.append("  sandbox      every mail is captured, nothing leaves this machine")
    for key, place in service.smtp_addresses.items():
        name = {"smtp.listen_addr": "SMTP", "smtp.submission_addr": "submission", "smtp.smtps_addr": "SMTPS"}[key]
        lines.append(f"  {name:<12} {place}")
    if service.http is not None:
        lines.append(f"  panel, API   {service.base_url}")
    if service.metrics_http is not None:
        lines.append(f"  metrics      http://{service.metrics_http.address}{config.metrics.path}")
    if Role.WORKER in service.roles and not config.is_sandbox_profile:
        lines.append(f"  delivery     {'by ' + str(config.delivery.relay) if config.delivery.relay else 'to the MX'}")
    if service.new_api_key:
        lines.append(f"  API key      {service.new_api_key}   (shown this once)")
    if link := service.first_admin_link():
        lines.append(f"  first admin  {link}")
    return "\n".join(lines)


def serve(config: Config, roles: Sequence[Role] = EVERYTHING) -> int:
    """Run until a signal comes; gives the exit code. A second signal ends the process at once."""
    logs.configure(config.logging.level, config.logging.format)
    ends = _listen_to_signals()
    try:
        service = Service(config, roles)
        service.start()
    except StartError as error:
        _tell(f"sendry: {error}")
        return 1
    _tell(describe(service))
    _spare_collector()
    while not ends.get():
        _reload(service, config.file)
    log.info("stopping")
    service.stop()
    log.info("stopped")
    return 0


def _spare_collector() -> None:
    # What is loaded by now stays; looking through it again and again for garbage costs some 4 % of every mail.
    gc.collect()
    gc.freeze()
    gc.set_threshold(25_000, 20, 50)


def _listen_to_signals() -> SimpleQueue[bool]:
    """From now on each signal puts in whether it asks for the end (SIGTERM, SIGINT) or for a reload (SIGHUP)."""
    signals: SimpleQueue[bool] = SimpleQueue()  # unlike an Event it may be used in the midst of its own wait
    had_terminal = os.isatty(0)
    is_ending = False

    def note(number: int, _frame: Any) -> None:
        nonlocal is_ending
        # A terminal that was closed sends SIGHUP too, and nobody wants a server that stays behind.
        is_end = number != signal.SIGHUP or (had_terminal and not os.isatty(0))
        if is_end and is_ending:
            os._exit(128 + number)  # nothing accepted is lost: what is not settled stands under a lease
        is_ending = is_ending or is_end
        signals.put(is_end)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    return signals


def _reload(service: Service, path: Path | None) -> None:
    try:
        config = load(path, os.environ)
    except ConfigError as error:
        for fault in error.faults:
            log.error("configuration is not taken over", extra={"fault": str(fault)})
        return
    waiting = service.reload(config)
    log.info("certificates, domains and users are reloaded")
    if waiting:
        log.warning("some changed settings need a restart", extra={"keys": ", ".join(waiting)})


def _tell(text: str) -> None:
    with suppress(OSError):  # the terminal was closed meanwhile
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - told to the person who started it


def wsgi_app() -> Flask:
    """Panel and API for another WSGI server: `app:app`. That process delivers nothing and takes no SMTP."""
    try:
        config = load(find_config_path(None, os.environ), os.environ)
        logs.configure(config.logging.level, config.logging.format)
        service = Service(config, (Role.WEB,))
    except ConfigError as error:
        _tell("\n".join(map(str, error.faults)))
        sys.exit(1)
    except StartError as error:
        _tell(f"sendry: {error}")
        sys.exit(1)
    service.start_jobs()  # a process that does not show itself is taken for dead, and loses its number
    atexit.register(service.stop)
    return service.app()
