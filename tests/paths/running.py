"""One Sendry as a process of its own: started, talked to, stopped, killed, and asked what it printed.

with Running(folder, config) as sendry:
    sendry.send("a@example.com", ["b@example.net"])
    sendry.api("GET", "/queue")
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.paths.waiting import until

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk_paths_0123456789abcdef"
# Dotted keys, so that a test may add further ones, or tables, behind them.
PRODUCTION = f"""
server.hostname = "mail.example.com"
smtp.domain = "example.com"
smtp.listen_addr = "127.0.0.1:0"
smtp.submission_addr = "127.0.0.1:0"
smtp.smtps_addr = ""
smtp.max_connections_per_ip = 200
api.listen_addr = "127.0.0.1:0"
api.api_key = "{KEY}"
delivery.allowed_networks = ["127.0.0.0/8"]
queue.max_retries = 40
queue.retry_interval = "1s"
"""
_PLACE = re.compile(r"^  (SMTP|submission|SMTPS|panel, API|metrics) +(?:http://)?(\S+?):(\d+)(/\S*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """The process. `places` are the ports it printed, by the names it printed."""

    def __init__(
        self,
        folder: Path,
        config: str = PRODUCTION,
        *,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.config.write_text(f'storage.path = "{folder}/data/queue.db"\n{config}')
        self.arguments = ("serve", "-c", str(self.config), *arguments)
        self.environ = clean_environ() | dict(environ or {})
        self.places: dict[str, int] = {}
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Running:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    # The process

    def launch(self) -> subprocess.Popen[bytes]:
        """Start without waiting for anything; output goes to files of this start."""
        self.starts += 1
        with self._output("log").open("wb") as log, self._output("said").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py"), *self.arguments],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=said,
            )
        return self.process

    def start(self) -> None:
        """Start, and wait until it has said what listens where."""
        process = self.launch()
        until(lambda: _is_whole(self.said) or process.poll() is not None, "the start", 30)
        assert process.poll() is None, f"Sendry ended with {process.returncode}: {self.said}{self.log}"
        self.places = {name: int(port) for name, _, port, _ in _PLACE.findall(self.said)}

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, seconds: float = 20) -> int:
        """An orderly end; gives the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 20) -> int:
        """Wait for the end; gives the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _output(self, name: str) -> Path:
        return self.folder / f"{name}-{self.starts}"

    @property
    def said(self) -> str:
        """What this start told its person."""
        return self._output("said").read_text()

    @property
    def log(self) -> str:
        """What this start logged."""
        return self._output("log").read_text()

    def logged(self, **fields: object) -> list[dict[str, Any]]:
        """The lines of the log that have these fields."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.endswith("}")]
        return [line for line in lines if fields.items() <= line.items()]

    # Talking to it

    @property
    def smtp_port(self) -> int:
        return self.places["SMTP"]

    @property
    def http_port(self) -> int:
        return self.places["panel, API"]

    def smtp(self) -> smtplib.SMTP:
        """A session with its relay listener."""
        return smtplib.SMTP("127.0.0.1", self.smtp_port, local_hostname="client.example", timeout=20)

    def send(self, sender: str, recipients: Sequence[str], body: str = "Hello", subject: str = "Hello") -> str:
        """One mail by SMTP; gives its id."""
        text = f"From: <{sender or 'a@example.com'}>\r\nTo: {recipients[0]}\r\nSubject: {subject}\r\n\r\n{body}\r\n"
        with self.smtp() as client:
            return send_by(client, sender, recipients, text.encode())

    def api(self, method: str, path: str, body: object = None, *, key: str = KEY) -> Answer:
        """A request to the API."""
        return self.http(
            method,
            f"/api/v1{path}",
            b"" if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} if key else {},
        )

    def http(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Any HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def wait_for_status(self, identity: str, status: str, seconds: float = 15) -> Any:
        """The state of a message once its status is this."""

        def found() -> Any:
            answer = self.api("GET", f"/messages/{identity}")
            return answer.json if answer.status == 200 and answer.json["status"] == status else None

        return until(found, f"{identity} to be {status}", seconds)

    def command(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """A command on the same installation, beside the server."""
        return subprocess.run(
            [sys.executable, str(ROOT / "app.py"), "-c", str(self.config), *arguments],
            cwd=self.folder,
            env=self.environ,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )


def send_by(client: smtplib.SMTP, sender: str, recipients: Iterable[str], octets: bytes) -> str:
    """One mail over an open session; gives its id."""
    client.ehlo_or_helo_if_needed()
    assert client.mail(sender)[0] == 250
    for recipient in recipients:
        assert client.rcpt(recipient)[0] == 250
    code, text = client.data(octets)
    assert code == 250, text
    return text.rpartition(b" ")[2].decode()


def clean_environ() -> dict[str, str]:
    """The environment without what would configure Sendry."""
    mine = ("SENDRY_", "PORT", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _is_whole(said: str) -> bool:
    return re.search(r"^Sendry [\d.]+\n(?:  .*\n)+\Z", said, re.MULTILINE) is not None
