"""Chromium before a real installation. Whatever a page logs as an error, or asks of another host, fails the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, sync_playwright

from sendry.service import Service
from tests.browser import stage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
# What browsers say of things that are meant: a mail that may load nothing, a form answered with 422 or 409.
_EXPECTED = (
    "img-src data:",
    "script-src",
    "422 (UNPROCESSABLE",
    "409 (CONFLICT",
    "404 (NOT FOUND",
    "sandboxed and the 'allow-scripts'",
    "Autofocus",
)


@dataclass
class Watched:
    """One window, and what went wrong in it."""

    context: BrowserContext
    page: Page
    site: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in _EXPECTED):
            self.errors.append(message.text)

    def stop(self, route: Route) -> None:
        """A request to another host that no policy had stopped."""
        self.foreign.append(route.request.url)
        route.abort()

    def is_foreign(self, url: str) -> bool:
        host = urlsplit(url).netloc
        return bool(host) and host != urlsplit(self.site).netloc


@dataclass
class Site:
    """A running installation."""

    service: Service
    ids: dict[str, str]

    @property
    def url(self) -> str:
        return self.service.base_url

    @property
    def smtp_port(self) -> int:
        return self.service.smtp_addresses["smtp.listen_addr"].port


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a file of tests: while it runs, its thread has an event loop that other tests trip over."""
    if not Path(CHROMIUM).exists():
        pytest.fail("Chromium is missing: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


Open = Callable[..., Watched]


@pytest.fixture
def window(chromium: Browser) -> Iterator[Open]:
    """Opens windows on a site; at the end nothing may have gone wrong in them."""
    opened: list[Watched] = []

    def new(site: Site, *, signed_in: bool = False, width: int = 1280, **options: Any) -> Watched:
        settings = {"locale": "en", "timezone_id": "UTC", "viewport": {"width": width, "height": 800}, **options}
        context = chromium.new_context(base_url=site.url, **settings)
        context.set_default_timeout(20_000)
        watched = Watched(context, context.new_page(), site.url)
        watched.page.on("console", watched.hear)
        watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
        context.route(watched.is_foreign, watched.stop)
        opened.append(watched)
        if signed_in:
            watched.page.goto("/login")
            watched.page.get_by_label("Email").fill(stage.OPERATOR)
            watched.page.get_by_label("Password").fill(stage.PASSWORD)
            watched.page.get_by_role("button", name="Sign in").click()
            watched.page.wait_for_url("**/dashboard")
        return watched

    yield new
    for watched in opened:
        watched.context.close()
        assert watched.errors == []
        assert watched.foreign == []


def _site(folder: Path, settings: str, fill: Callable[[Service, datetime], dict[str, str] | None]) -> Iterator[Site]:
    service = stage.service(settings, folder)
    try:
        ids = fill(service, datetime.now(UTC)) or {}
        service.start()
        yield Site(service, ids)
    finally:
        service.stop()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    """The sandbox profile before the first mail."""
    yield from _site(tmp_path, stage.SANDBOX, lambda *_: None)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Site]:
    """The sandbox profile with an afternoon's mail, for a test that changes it."""
    yield from _site(tmp_path, stage.SANDBOX, stage.fill_sandbox)


@pytest.fixture(scope="module")
def looked_at_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same, only to be looked at."""
    yield from _site(tmp_path_factory.mktemp("sandbox"), stage.SANDBOX, stage.fill_sandbox)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Production with two days of traffic; what tests do there they do to a message of their own."""
    yield from _site(tmp_path_factory.mktemp("production"), stage.PRODUCTION, stage.fill_production)


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Production before the first admin."""
    yield from _site(tmp_path_factory.mktemp("nobody"), stage.PRODUCTION, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here drives Chromium."""
    for item in items:
        if "tests/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)
