"""A private PostgreSQL for the tests: a cluster in a temporary folder, started once, a database for each test.

    with Cluster() as cluster:
        url = cluster.make_database(template=...)

PostgreSQL refuses to run as root, so then everything is done as the user `postgres` that its package makes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from types import TracebackType

import psycopg

_INSTALLED = Path("/usr/lib/postgresql")
_MISSING = (
    "The programs of PostgreSQL are not installed: install the Debian package `postgresql`"
    " (looked for {folder}/*/bin/initdb)"
)
# Nothing here must survive a power cut, and a sync per test would be most of the time.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "autovacuum": "off",
    "deadlock_timeout": "200ms",
}


class PostgresMissing(Exception):
    """The programs are not on this machine; the text names the package that has them."""


def find_programs(installed: Path = _INSTALLED) -> Path:
    """The folder of initdb and pg_ctl of the newest version. Raises PostgresMissing."""
    found = [path for path in installed.glob("*/bin") if (path / "initdb").exists() and (path / "pg_ctl").exists()]
    if not found:
        raise PostgresMissing(_MISSING.format(folder=installed))
    return max(found, key=lambda path: tuple(map(int, path.parent.name.split("."))))


class Cluster:
    """One server process with its own data folder, on a free port of loopback."""

    def __init__(self) -> None:
        self._programs = find_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="sendry-postgres-"))
        self._user = None
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            self._user = owner.pw_name
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._port = 0
        self._numbers = count(1)
        self._admin: psycopg.Connection[tuple[object, ...]] | None = None

    def __enter__(self) -> Cluster:
        try:
            self._run("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
            self._start()
            self._admin = psycopg.connect(self.url("postgres"), autocommit=True)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: str) -> str:
        """How a program reaches a database of this cluster."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def make_database(self, template: str = "template1", name: str = "") -> str:
        """Make a database, a copy of another one; gives its name."""
        name = name or f"test{next(self._numbers)}"
        self._sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Delete a database, whoever is still connected to it."""
        self._sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def disconnect(self, database: str) -> None:
        """End every session of a database, as a restart of the server would."""
        self._sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", database)

    def stop(self) -> None:
        """End the server and delete everything."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        if (self._folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        for tries_left in (2, 1, 0):
            self._port = _free_port()
            options = f"-p {self._port} -k {self._folder} {settings}"
            try:
                self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")
            except subprocess.CalledProcessError:  # somebody took the port meanwhile
                if not tries_left:
                    raise
            else:
                return

    def _run(self, program: str, *arguments: str) -> None:
        # The server inherits what pg_ctl was given, so a pipe would never be closed.
        with (self._folder / f"{program}.out").open("w") as output:
            subprocess.run(
                [self._programs / program, "-D", self._folder / "data", *arguments],
                check=True,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _sql(self, sql: str, *params: object) -> None:
        assert self._admin is not None
        self._admin.execute(sql.encode(), params or None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
