"""The installation as commands want it: its database, opened beside a running server and let go of at the end.

Promise: a command leaves no file behind that the server's user could not use, and what it cannot do ends as a Failed
that names the setting.
"""

from __future__ import annotations

import os
import pwd
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sendry.cli.configuration import load_or_explain
from sendry.cli.failure import Failed
from sendry.config import Config

if TYPE_CHECKING:
    from sendry.queue.line import Queue
    from sendry.store.database import Store


def configured(options: Namespace) -> Config:
    """The configuration a command was called for. Raises Failed after all faults of it were printed."""
    config = load_or_explain(options)
    if config is None:
        raise Failed("the configuration has faults; nothing was done")
    return config


@contextmanager
def opened(config: Config, *, makes: bool = False) -> Iterator[Store]:
    """The store. `makes`: an SQLite file that is not there is made; else that is a fault. Raises Failed."""
    location = location_of(config)
    if isinstance(location, Path) and not makes and not location.exists():
        raise Failed(f"storage.path = {str(location)!r}: there is no database yet; sendry serve makes it")
    from sendry.store.database import open_store

    with explained(config), _owned_by_folder(config.data_dir):
        try:
            store = open_store(location, config.data_dir / "spool")
        except OSError as error:
            raise Failed(_cannot_open(config, error)) from error
        try:
            yield store
        finally:
            store.close()


@contextmanager
def joined(config: Config) -> Iterator[Queue]:
    """The waiting line, with this process as a node of its own: for commands that change it. Raises Failed."""
    from sendry.queue.inflight import InFlight
    from sendry.queue.line import Queue
    from sendry.store import nodes

    with opened(config) as store:
        now = datetime.now(UTC)
        node = nodes.join(store, "cli", now)
        try:
            try:
                in_flight = InFlight(config.data_dir / f"in-flight-{node.number}")
            except OSError as error:
                raise Failed(f"the data folder {config.data_dir} cannot be used: {error}") from error
            queue = Queue(store, node.ids, node.number, in_flight, keeps_dead_letters=config.dlq.enabled)
            # Whoever takes the number of a dead process answers for what that one left.
            queue.recover(now, node.dead)
            in_flight.forget_left_over()
            yield queue
            in_flight.close()
        finally:
            nodes.leave(store, node.number)


def location_of(config: Config) -> Path | str:
    """What `open_store` is to open."""
    return config.storage.url or config.storage.path


@contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turn what the database raises inside into a Failed."""
    import sqlite3

    from peewee import PeeweeException

    from sendry.store.writer import StoreUnavailable

    try:
        yield
    except StoreUnavailable as error:
        raise Failed(f"the database takes no changes now: {error}; nothing was done") from error
    except (PeeweeException, sqlite3.Error) as error:
        raise Failed(_cannot_open(config, error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg":  # imported only where it is in use
            raise
        raise Failed(_cannot_open(config, error)) from error


def _cannot_open(config: Config, error: Exception) -> str:
    if config.storage.url:
        return f"storage.url: the database does not answer: {str(error).strip()}"
    path = config.storage.path
    hint = ""
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        hint = f"; it belongs to {_owner(path)}: run this as that user or as root"
    return f"storage.path = {str(path)!r}: the database cannot be used: {error}{hint}"


def _owner(path: Path) -> str:
    number = path.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


@contextmanager
def _owned_by_folder(folder: Path) -> Iterator[None]:
    """Give what root makes in the data folder to the folder's owner, as whom the server runs.

    SQLite does so for its own files.
    """
    if os.geteuid() != 0 or not folder.exists() or (owner := folder.stat()).st_uid == 0:
        yield
        return
    before = {entry.name for entry in os.scandir(folder)}
    try:
        yield
    finally:
        for entry in os.scandir(folder):
            if entry.name not in before and entry.stat(follow_symlinks=False).st_uid == 0:
                os.chown(entry.path, owner.st_uid, owner.st_gid, follow_symlinks=False)
