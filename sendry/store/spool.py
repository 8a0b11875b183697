"""Large content on its way in and at rest: files in one folder, synced before any row names them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

SPOOL_FROM = 256 * 1024  # octets from which content goes to a file instead of a row
CHUNK = 256 * 1024


class SpoolFile:
    """A file being written. Nobody else knows it until a message row names it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{secrets.token_hex(12)}.eml"
        self._path = folder / self.name
        self._file: BinaryIO | None = self._path.open("xb", buffering=0)
        self.size = 0

    def write(self, octets: bytes | bytearray | memoryview) -> None:
        """Append octets."""
        assert self._file is not None
        view = memoryview(octets)
        while view:
            written = self._file.write(view)
            view = view[written:]
        self.size += len(octets)

    def sync(self) -> None:
        """Bring the file and its name to disk; blocks, so call it off the loop."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Forget it: the message was refused or came elsewhere."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)


class Spool:
    """The folder of large contents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # mail is nobody else's to read

    def create(self) -> SpoolFile:
        """A new file to write to."""
        return SpoolFile(self.folder)

    def chunks(self, name: str, offset: int) -> Iterator[bytes]:
        """The octets of a file from `offset` on, in pieces of CHUNK; FileNotFoundError if it is gone."""
        with (self.folder / name).open("rb") as file:
            file.seek(offset)
            while piece := file.read(CHUNK):
                yield piece

    def remove(self, name: str) -> None:
        """Delete a file that no row names any more."""
        (self.folder / name).unlink(missing_ok=True)

    def names_older_than(self, timestamp: float) -> list[str]:
        """Files last written before a Unix time: candidates for orphans of a crash."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # sent and removed meanwhile
                    if entry.name.endswith(".eml") and entry.is_file() and entry.stat().st_mtime < timestamp:
                        found.append(entry.name)
        return found
