"""Sendry as the server under test: a process of its own with a configuration made for one run."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from types import TracebackType

from bench.process import free_port, wait_for_banner

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Sendry:
    """One running Sendry that relays everything to 127.0.0.1:sink_port."""

    def __init__(
        self,
        sink_port: int,
        *,
        roles: str = "web,smtp,worker",
        more: str = "",
        preload: str = "",
        folder: pathlib.Path | None = None,
        port: int = 0,
    ) -> None:
        self.folder = folder or pathlib.Path(tempfile.mkdtemp(prefix="sendry-bench-", dir="/var/tmp"))
        self.port = port or free_port()
        self.http_port = free_port()
        self.roles = roles
        self.config = self.folder / "config.toml"
        self.config.write_text(
            f"""
server.hostname = "bench.example"
storage.path = "{self.folder}/queue.db"
delivery.relay = "127.0.0.1:{sink_port}"
queue.retry_interval = "1s"
logging.level = "warning"
[api]
listen_addr = "127.0.0.1:{self.http_port}"
api_key = "bench-root-key-0123456789"
[smtp]
domain = "bench.example"
listen_addr = "127.0.0.1:{self.port}"
submission_addr = ""
smtps_addr = ""
max_connections_per_ip = 500
max_message_bytes = 52428800
{more}
"""
        )
        self.environment = {**os.environ}
        if preload:
            self.environment["LD_PRELOAD"] = preload
        self.process = self.launch()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start (again) over the same folder and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "serve", "-c", str(self.config), "--roles", self.roles],
            cwd=ROOT,
            env=self.environment,
            stdout=(self.folder / "log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        wait_for_banner(self.port)
        return self.process

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL: what power users and the kernel do."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """An orderly end, after which its data is gone too; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        return code

    def __enter__(self) -> Sendry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
