"""A Sendry as its readers start it: the program in a process of its own, on free ports of loopback."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.docs.guides import ROOT

STARTED = re.compile(r"SMTP +127\.0\.0\.1:(\d+).*panel, API +http://127\.0\.0\.1:(\d+)", re.DOTALL)
OURS = ("SENDRY_", "PORT", "DATABASE_URL", "KEY")


class Sendry:
    """One running Sendry; `settings` is its TOML file. Listeners on port 0 are for the system to choose."""

    def __init__(self, folder: Path, settings: str, key: str = "") -> None:
        self.key = key
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.toml"
        config.write_text(settings)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "app.py", "serve", "-c", str(config)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.smtp_port, self.http_port = self._ports()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this run without what would set something, and with the key."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return {**environment, "KEY": self.key}

    def _ports(self) -> tuple[int, int]:
        until = time.monotonic() + 30
        while time.monotonic() < until and self._process.poll() is None:
            found = STARTED.search(self._log.read_text())
            if found:
                return int(found[1]), int(found[2])
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"Sendry did not start:\n{self._log.read_text()}")

    def as_here(self, text: str) -> str:
        """A text of a guide with the ports of this Sendry in place of the usual ones."""
        text = re.sub(r"\b1025\b", str(self.smtp_port), text)
        return re.sub(r"\b8080\b", str(self.http_port), text)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The JSON that the API answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        fields = {"Content-Type": "application/json", "X-API-Key": self.key}
        octets = None if body is None else json.dumps(body).encode()
        connection.request(method, f"/api/v1{path}", octets, fields)
        answer = connection.getresponse()
        octets = answer.read()
        connection.close()
        assert answer.status < 300, octets
        return json.loads(octets) if octets else None

    def send(self, **fields: Any) -> str:
        """Send a mail; gives its id."""
        mail = {"from": "shop@example.com", "to": ["ann@example.net"], "subject": "Your order", "body": "Thank you."}
        return str(self.ask("POST", "/send", {**mail, **fields})["id"])

    def wait_for(self, identity: str, status: str) -> str:
        """The id again, as soon as its message has this status."""
        until = time.monotonic() + 20
        while (found := self.ask("GET", f"/status/{identity}")["status"]) != status:
            if time.monotonic() > until:
                raise TimeoutError(f"{identity} is {found}, not {status}")
            time.sleep(0.02)
        return identity

    def stop(self) -> None:
        """End it in order, or at once when that takes too long."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Sendry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run_curl(sendry: Sendry, command: str, answer: Path, values: dict[str, str]) -> int:
    """Run one curl command of a guide; its answer goes to the file, the status comes back (0: no answer)."""
    output = "" if " -o " in command else f"-o {answer} "
    told = sendry.as_here(command).replace("curl ", f"curl -sS {output}-w '%{{http_code}}' ", 1)
    done = subprocess.run(
        ["bash", "-c", told],
        env={**sendry.environment, **values},
        cwd=answer.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "", f"{told}\n{done.stderr}"
    return int(done.stdout)
