"""An installation to run commands on: its configuration, mail in every state, and what a command prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sendry.cli import main
from sendry.config import load
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.queue.work import Result, Tried
from sendry.service import Service

CONFIG = """
[server]
hostname = "mail.example.com"
[smtp]
domain = "example.com"
[domains."other.example"]
[api]
api_key = "sk_0123456789abcdef"
"""
STRANGE = "Subject\x1b[2J\u202eof a stranger"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """What it printed, line by line."""
        return self.out.splitlines()


@dataclass
class Installation:
    """A configuration over an SQLite file, and nobody running."""

    folder: Path
    config: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> Outcome:
        """Run a command on it."""
        self.capsys.readouterr()
        code = main(["-c", str(self.config), *arguments])
        out, err = self.capsys.readouterr()
        return Outcome(code, out, err)

    @contextmanager
    def rooms(self) -> Iterator[Service]:
        """The rooms for a moment: a process that has joined may not be joined by a command of the same process."""
        service = Service(load(self.config), ())
        try:
            yield service
        finally:
            service.stop()

    def message(
        self,
        outcome: str = "",
        text: str = "",
        *,
        sender: str = "a@example.com",
        recipients: int = 1,
        subject: str = "",
    ) -> str:
        """One mail that waits, or whose one attempt ended so; gives its id."""
        now = datetime.now(UTC)
        envelope = Envelope(
            sender,
            tuple(Addressee(f"r{number}@example.net") for number in range(recipients)),
            Content(f"From: <{sender or 'a@example.com'}>\r\nSubject: {subject}\r\n\r\n".encode(), b"Hello\r\n"),
            Origin(OriginKind.SMTP, "app", "192.0.2.7", may_relay=True),
        )
        with self.rooms() as here:
            identity = here.intake.accept(envelope, now).result()
            if outcome:
                works = here.queue.claim(now + timedelta(seconds=1), 1000)
                tried = Tried(now, 12, "mx.example.net", "192.0.2.9", code=450 if outcome == "deferred" else 550)
                tried = Tried(now, 12, "mx.example.net", "192.0.2.9", code=tried.code, response=text)
                later = now + timedelta(hours=1) if outcome == "deferred" else None
                mine = [Result(work, outcome, (tried,), next_attempt_at=later) for work in works]
                here.queue.settle(mine, now).result()
        return identity

    def status(self, identity: str) -> str:
        """The status of a message as the API tells it."""
        found: str = self.run("queue", "show", identity, "--json").json["status"]
        return found


@pytest.fixture
def house(tmp_path: Path, sqlite_file: Path, capsys: pytest.CaptureFixture[str]) -> Installation:
    """An empty installation."""
    config = tmp_path / "config.toml"
    config.write_text(f'{CONFIG}\n[storage]\npath = "{sqlite_file}"\n')
    return Installation(tmp_path, config, capsys)
