"""The receiving end: Postfix's smtp-sink with its own counter read while it runs."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
from types import TracebackType

from bench.process import wait_for_banner


class Sink:
    """smtp-sink on 127.0.0.1:port. `keeps`: write every message, to count lost and repeated ones."""

    def __init__(self, port: int, *, keeps: bool = False, delay: float = 0) -> None:
        self.count, self.last = 0, 0.0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sink-")) if keeps else None
        command = ["smtp-sink", "-c", "-m", "512"]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        if delay:
            command += ["-W", f".:{delay:g}"]
        if self.folder is not None:
            self.folder.chmod(0o777)
            command += ["-d", f"{self.folder}/%M/m."]
        self._process = subprocess.Popen(
            [*command, f"127.0.0.1:{port}", "1000"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        threading.Thread(target=self._watch, daemon=True).start()
        wait_for_banner(port)

    def _watch(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while block := os.read(self._process.stdout.fileno(), 65_536):
            now = time.monotonic()
            *lines, rest = (rest + block).split(b"\r")
            for line in reversed(lines):
                if match := re.search(rb"mesg=(\d+)", line):
                    if int(match[1]) != self.count:
                        self.count, self.last = int(match[1]), now
                    break

    def wait_for(self, count: int, timeout: float = 120, stall: float = 20) -> bool:
        """Wait until `count` messages are there; False when nothing new came for `stall` seconds."""
        begun = time.monotonic()
        while self.count < count:
            now = time.monotonic()
            if now - begun > timeout or now - max(self.last, begun) > stall:
                return False
            time.sleep(0.02)
        return True

    def arrivals(self) -> dict[str, int]:
        """How often each recipient's mail arrived."""
        assert self.folder is not None
        seen: dict[str, int] = {}
        for path in self.folder.rglob("m.*"):
            with path.open(errors="replace") as file:
                for line in file:
                    if line.startswith("X-Rcpt-Args:"):
                        address = line.split("<")[1].split(">")[0]
                        seen[address] = seen.get(address, 0) + 1
                    elif not line.startswith("X-"):
                        break
        return seen

    def close(self) -> None:
        """Stop it and drop what it wrote."""
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
