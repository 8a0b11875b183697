"""Listeners on loopback over a recording intake, a real store and a real spool."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sendry.access.guard import Guard
from sendry.config import Config, loads
from sendry.listener.server import SmtpServers
from sendry.listener.settings import ListenerKind, SessionSettings, session_settings
from sendry.store.database import Store
from sendry.tls.contexts import CertificateFiles
from tests.listener.client import Client
from tests.listener.intake import RecordingIntake

BASE = """
server.hostname = "mx.example.com"
api.listen_addr = "127.0.0.1:8080"
[smtp]
domain = "example.com"
"""


PLACES = ("listen_addr", "submission_addr", "smtps_addr")


class Listening:
    """Running listeners with all that a test wants to look at."""

    def __init__(self, servers: SmtpServers, intake: RecordingIntake, store: Store, config: Config) -> None:
        self.servers = servers
        self.intake = intake
        self.store = store
        self.config = config
        self.ports = {key: place.port for key, place in servers.start().items()}
        self.is_stopped = False
        self._clients: list[Client] = []

    @property
    def port(self) -> int:
        return next(iter(self.ports.values()))

    def connect(self, key: str = "", **options: Any) -> Client:
        """A client that has read the greeting."""
        client = Client(self.ports[key] if key else self.port, **options)
        self._clients.append(client)
        return client

    def stop(self, seconds: float = 5.0) -> None:
        if not self.is_stopped:
            self.is_stopped = True
            self.servers.stop(seconds)

    def close(self) -> None:
        for client in self._clients:
            client.socket.close()
        self.stop()


Listen = Callable[..., Listening]


@pytest.fixture
def intake() -> RecordingIntake:
    return RecordingIntake()


@pytest.fixture
def listen(sqlite_store: Store, intake: RecordingIntake) -> Iterator[Listen]:
    """Start listeners: TOML to add to the smtp table, and settings of sessions to change.

    `patience` and `limits` are fields to replace in those, `places` ports for the listeners in their order.
    """
    running: list[Listening] = []

    def start(
        toml: str = "",
        *,
        host: str = "127.0.0.1",
        submission: bool = False,
        smtps: bool = False,
        places: Sequence[int] = (),
        patience: dict[str, float] | None = None,
        limits: dict[str, int] | None = None,
        make_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> Listening:
        ports: dict[str, int] = {"listen_addr": 0}
        ports |= {"submission_addr": 0} if submission else {}
        ports |= {"smtps_addr": 0} if smtps else {}
        ports |= dict(zip(PLACES, places, strict=False))
        lines = [f'{key} = "{f"{host}:{ports[key]}" if key in ports else ""}"\n' for key in PLACES]
        config = loads("".join([BASE, *lines, toml]))

        def settings(config: Config, kind: ListenerKind) -> SessionSettings:
            made = session_settings(config, kind)
            return replace(
                made,
                patience=replace(made.patience, **(patience or {})),
                limits=replace(made.limits, **(limits or {})),
            )

        servers = SmtpServers(
            config, intake, Guard(config, sqlite_store), sqlite_store.spool, settings=settings, make_loop=make_loop
        )
        running.append(Listening(servers, intake, sqlite_store, config))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture
def sandbox(sqlite_store: Store, intake: RecordingIntake, tmp_path: Path) -> Iterator[Listening]:
    """The listener of the sandbox profile."""
    config = loads(f'smtp.listen_addr = "127.0.0.1:0"\nstorage.path = "{tmp_path}/queue.db"\n')
    running = Listening(
        SmtpServers(config, intake, Guard(config, sqlite_store), sqlite_store.spool), intake, sqlite_store, config
    )
    yield running
    running.close()


@pytest.fixture(scope="session")
def other_host() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


@pytest.fixture
def server(listen: Listen) -> Listening:
    """One relay listener with the defaults."""
    return listen()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A certificate for mx.example.com."""
    from tests.tls.make import certificate_files

    return certificate_files(tmp_path_factory.mktemp("tls"), "mx.example.com")


@pytest.fixture
def tls_toml(certificate: CertificateFiles) -> str:
    """The lines of the smtp table that name the certificate."""
    return f'tls.cert_file = "{certificate.cert_file}"\ntls.key_file = "{certificate.key_file}"\n'


def spool_files(store: Store) -> list[Path]:
    """What lies in the spool folder."""
    return sorted(store.spool.folder.iterdir())
