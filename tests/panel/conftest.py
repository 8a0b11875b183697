"""The whole application over real rooms, seen through a client that keeps cookies like a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sendry.access.users import Person
from sendry.access.users import Role as UserRole
from sendry.config import loads
from sendry.mail.envelope import Content, Origin, OriginKind
from sendry.mail.headers import split
from sendry.queue.work import Result, Tried, Work
from sendry.service import Role, Service
from tests import make

PASSWORD = "correct horse battery"
PRODUCTION = """
[server]
hostname = "mail.example.com"
[smtp]
domain = "example.com"
[domains."staging.example.com"]
mode = "sandbox"
[api]
api_key = "sk_test"
trusted_proxies = ["10.0.0.0/8"]
[queue]
max_retries = 40
"""
SANDBOX = """
[server]
hostname = "mail.example.com"
"""
HTMX = {"HX-Request": "true"}


@dataclass
class Panel:
    """One installation and one browser."""

    service: Service
    client: FlaskClient
    base: str = "http://localhost:8080"
    people: dict[str, Person] = field(default_factory=dict)

    def get(self, path: str, *, htmx: bool = False, **more: Any) -> TestResponse:
        """Ask for a page, or for its fragment."""
        more["headers"] = {**(HTMX if htmx else {}), **more.pop("headers", {})}
        return self.client.get(path, base_url=more.pop("base_url", self.base), buffered=True, **more)

    def post(self, path: str, data: dict[str, str] | None = None, *, htmx: bool = False, **more: Any) -> TestResponse:
        """Send a form with the token that the site's pages carry."""
        more["headers"] = {**(HTMX if htmx else {}), **more.pop("headers", {})}
        base = more.pop("base_url", self.base)
        form = {"csrf_token": self.token(base), **(data or {})}
        return self.client.post(path, data=form, base_url=base, **more)

    def token(self, base: str = "") -> str:
        """The form token of this browser's session."""
        page = self.get("/no-such-page", base_url=base or self.base).text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found
        return found[1]

    def person(self, role: UserRole = UserRole.ADMIN) -> Person:
        """An account of that role, made at its first use."""
        email = f"{role}@example.com"
        if role not in self.people:
            users = self.service.rooms.users
            self.people[role] = users.create(email, f"Some {role.title()}", PASSWORD, role, datetime.now(UTC))
        return self.people[role]

    def sign_in(self, role: UserRole = UserRole.ADMIN) -> None:
        """Come in as somebody of that role."""
        person = self.person(role)
        answer = self.post("/login", {"email": person.email, "password": PASSWORD})
        assert answer.status_code == 303, answer.text

    def accept(self, *to: str, subject: str = "Hello", sender: str = "anna@example.com", **more: Any) -> str:
        """Let a mail come in; gives its id."""
        block = make.head(sender=sender, to=", ".join(to), subject=subject)
        body = more.pop("body", b"Good day\r\n")
        raw = more.pop("raw", None)
        content = Content(*split(raw)) if raw is not None else Content(block, body)
        origin = Origin(OriginKind.SMTP, "app", "192.0.2.10", may_relay=True)
        envelope = make.envelope(*to, sender=sender, origin=origin, content=content, **more)
        return self.service.intake.accept(envelope, datetime.now(UTC)).result()

    def claim(self) -> list[Work]:
        """Everything that is due now, as a worker takes it."""
        return self.service.queue.claim(datetime.now(UTC) + timedelta(seconds=1), 100)

    def end(self, outcome: str, work: Sequence[Work] | None = None, **changes: Any) -> None:
        """Let what is due end so."""
        now = datetime.now(UTC)
        codes = {
            "delivered": (250, "2.0.0"),
            "deferred": (451, "4.7.1"),
            "failed": (550, "5.1.1"),
            "unknown": (0, ""),
        }
        code, enhanced = codes[outcome]
        facts: dict[str, Any] = {
            "host": "mx.example.org",
            "ip": "192.0.2.25",
            "tls": "TLSv1.3",
            "tls_verified": "web-pki",
            "code": code,
            "enhanced": enhanced,
            "response": f"this is {outcome}",
            **changes,
        }
        due = now + timedelta(minutes=10) if outcome in ("deferred", "unknown") else None
        results = [Result(item, outcome, (Tried(now, 800, **facts),), due) for item in work or self.claim()]
        assert results
        self.service.queue.settle(results, now).result()


Build = Callable[..., Panel]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes installations with settings of the test's own."""
    services: list[Service] = []

    def made(settings: str = PRODUCTION, **environ: str) -> Panel:
        folder = tmp_path / f"data-{len(services)}"
        service = Service(loads(f'{settings}\n[storage]\npath = "{folder}/queue.db"\n', environ), (Role.WEB,))
        services.append(service)
        return Panel(service, service.app().test_client())

    yield made
    for service in services:
        service.stop()


@pytest.fixture
def closed(build: Build) -> Panel:
    """Production, before anybody signed in; there is an admin."""
    panel = build()
    panel.person()
    return panel


@pytest.fixture
def panel(closed: Panel) -> Panel:
    """Production, with an admin at the screen."""
    closed.sign_in()
    return closed


@pytest.fixture
def sandbox(build: Build) -> Panel:
    """The sandbox profile on loopback."""
    return build(SANDBOX, SENDRY_SMTP__LISTEN_ADDR="127.0.0.1:1025", SENDRY_API__LISTEN_ADDR="127.0.0.1:8080")
