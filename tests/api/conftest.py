"""An application with nothing but the API, over real rooms and a real database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from sendry import api, public
from sendry.config import loads
from sendry.mail import headers
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.queue.work import Result, Tried, Work
from sendry.service import Role, Service

KEY = "correct horse battery staple"
MAIL: dict[str, Any] = {"from": "a@example.com", "to": ["b@example.net"], "subject": "Hello", "body": "Hello, Bob"}
PRODUCTION = f"""
[smtp]
domain = "example.com"
max_message_bytes = 1_000_000
max_recipients = 10
[domains."sandbox.example"]
mode = "sandbox"
[domains."redirect.example"]
mode = "redirect"
redirect_to = ["qa@example.com"]
[api]
api_key = "{KEY}"
"""


@dataclass
class House:
    """A running installation, seen through its API."""

    service: Service
    client: FlaskClient

    def call(self, method: str, path: str, *, key: str = KEY, **more: Any) -> TestResponse:
        fields = {"Authorization": f"Bearer {key}"} if key else {}
        fields.update(more.pop("headers", {}))
        return self.client.open(f"/api/v1{path}", method=method, headers=fields, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> TestResponse:
        return self.call("POST", path, **more)

    def delete(self, path: str, **more: Any) -> TestResponse:
        return self.call("DELETE", path, **more)

    def send(self, **fields: Any) -> str:
        """Send one mail; gives its id."""
        answer = self.post("/send", json={**MAIL, **fields})
        assert answer.status_code == 202, answer.json
        return str(body(answer)["id"])

    def take(self, raw: bytes, sender: str = "a@sandbox.example", to: tuple[str, ...] = ("b@example.net",)) -> str:
        """Let a mail come in by SMTP; gives its id."""
        origin = Origin(OriginKind.SMTP, "app", "192.0.2.5", may_relay=True)
        envelope = Envelope(sender, tuple(map(Addressee, to)), Content(*headers.split(raw)), origin)
        return self.service.intake.accept(envelope, datetime.now(UTC)).result()

    def fill_disk(self) -> None:
        """From here on the database takes no message."""
        sql = "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        self.service.store.writer.call(lambda tx: tx.execute(sql)).result()

    def claim(self, limit: int = 100) -> list[Work]:
        return self.service.queue.claim(datetime.now(UTC) + timedelta(seconds=1), limit)

    def end(self, outcome: str, code: int = 0, text: str = "", number: int = 100) -> None:
        """Let what is due now end this way, as a delivery worker would."""
        now = datetime.now(UTC)
        tried = Tried(started_at=now, duration_ms=12, host="mx.example.net", ip="192.0.2.9", code=code, response=text)
        later = now + timedelta(hours=1) if outcome == "deferred" else None
        results = [Result(work, outcome, (tried,), next_attempt_at=later) for work in self.claim(number)]
        assert results
        self.service.queue.settle(results, now).result()


def body(answer: TestResponse) -> dict[str, Any]:
    """The JSON of an answer."""
    found: dict[str, Any] = answer.get_json()
    return found


Build = Callable[..., House]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes houses with settings of the test's own."""
    services: list[Service] = []

    def made(settings: str = PRODUCTION, **environ: str) -> House:
        toml = f'{settings}\n[storage]\npath = "{tmp_path}/data-{len(services)}/queue.db"\n'
        service = Service(loads(toml, environ), (Role.WEB,))
        services.append(service)
        return House(service, application(service).test_client())

    yield made
    for service in services:
        service.stop()


@pytest.fixture
def house(build: Build) -> House:
    """An installation in production with a key."""
    return build()


def application(service: Service) -> Flask:
    """The smallest application that has the API."""
    app = Flask("sendry")
    app.extensions["sendry"] = service.rooms
    app.register_blueprint(api.blueprint)
    app.register_blueprint(public.blueprint)
    app.register_error_handler(HTTPException, api.error_response)
    return app
