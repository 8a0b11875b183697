"""A copy of an SQLite installation while it runs: the database by SQLite's own backup, and the files beside it.

Promise: the copy holds every message that was on disk when it began, each with its content, in a state of one moment;
what arrives or leaves meanwhile does no harm.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

_SPOOL: Final = "spool"
_OF_THE_MOMENT: Final = "in-flight"  # notes of running processes
_TRIES: Final = 3


class FolderInUse(Exception):
    """The folder for the copy has something in it."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy has. `lost` messages have no content, in the original neither."""

    messages: int
    octets: int
    lost: int


def copy_installation(database: Path, data_dir: Path, target: Path) -> Copied:
    """Copy everything to `target`, which is made or empty. Raises FolderInUse, OSError, sqlite3.Error."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FolderInUse(f"{target} is not empty")
    copy = target / database.name
    spool, spool_copy = data_dir / _SPOOL, target / _SPOOL
    spool_copy.mkdir()
    # The files first: one that goes away while the rows are copied is there already.
    for name in _names(spool):
        _copy_file(spool, spool_copy, name)
    messages, lost = _copy_rows(database, copy, spool, spool_copy)
    for path in _others(data_dir, database.name):
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)
    _sync(target)
    return Copied(messages, sum(path.stat().st_size for path in target.rglob("*") if path.is_file()), lost)


def _copy_rows(database: Path, copy: Path, spool: Path, spool_copy: Path) -> tuple[int, int]:
    """Copy the database and the files it names; gives the messages, and how many of them have no file."""
    for _ in range(_TRIES):
        copy.unlink(missing_ok=True)
        _copy_database(database, copy)
        messages, sizes = _read(copy)
        for name, size in sizes.items():
            if not _is_whole(spool_copy / name, size):  # came with the rows of the last moment
                _copy_file(spool, spool_copy, name)
        for name in _names(spool_copy) - sizes.keys():
            (spool_copy / name).unlink()
        lost = sum(not _is_whole(spool_copy / name, size) for name, size in sizes.items())
        if not lost:
            break
        # A message came and was deleted within this moment: the rows of a later one do not have it.
    return messages, lost


def _copy_database(database: Path, copy: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True, timeout=30)) as source,
        closing(sqlite3.connect(copy)) as destination,
    ):
        copy.chmod(0o600)
        source.backup(destination)  # in one step, so of one moment; in the write-ahead log others go on meanwhile
        destination.execute("PRAGMA journal_mode = delete")


def _read(copy: Path) -> tuple[int, dict[str, int]]:
    """How many messages there are, and the size that each spool file must have."""
    with closing(sqlite3.connect(copy)) as connection:
        sizes = connection.execute(
            "SELECT m.spool, m.spool_offset + m.size - LENGTH(c.octets) FROM message m"
            " JOIN content c ON c.message_id = m.id AND c.part = 0 WHERE m.spool <> ''"
        )
        found = dict(sizes.fetchall())
        return int(connection.execute("SELECT COUNT(*) FROM message").fetchone()[0]), found


def _is_whole(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _copy_file(source: Path, target: Path, name: str) -> None:
    with suppress(FileNotFoundError):  # sent and removed meanwhile
        shutil.copy2(source / name, target / name)


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)} if folder.exists() else set()


def _others(data_dir: Path, database: str) -> Iterator[Path]:
    for path in data_dir.iterdir():
        is_database = path.name == database or path.name.startswith((f"{database}-", f"{database}."))
        if not is_database and path.name != _SPOOL and not path.name.startswith(_OF_THE_MOMENT):
            yield path


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        if path.is_symlink():
            continue
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
