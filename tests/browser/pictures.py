"""Pictures of the panel: `python -m tests.browser.pictures [FOLDER]`.

Without a folder it makes the one picture of the README, docs/inbox.png; with one, every screen in light and dark,
wide and narrow, English and Russian, to be looked at after a change.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from sendry.service import Service
from tests.browser import stage
from tests.browser.conftest import CHROMIUM

README = Path(__file__).resolve().parents[2] / "docs" / "inbox.png"
LOOKS = (
    ("light", 1280, "en"),
    ("dark", 1280, "en"),
    ("light", 390, "en"),
    ("dark", 390, "en"),
    ("light", 1280, "ru"),
)
SCREENS = {
    "dashboard": "/dashboard",
    "messages": "/messages",
    "queue": "/queue",
    "dead-letters": "/dead-letters",
    "message": "/messages/{invoice}",
    "content": "/messages/{invoice}/content",
    "events": "/messages/{invoice}/events",
    "question": "/messages/{invoice}/cancel",
}


def _shoot(page: Page, url: str, path: Path) -> None:
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)


def _open(browser: Browser, scheme: str, width: int, locale: str) -> Page:
    height = 800 if width > 500 else 844
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        locale=locale,
        timezone_id="UTC",
        is_mobile=width < 500,
        has_touch=width < 500,
    )
    return context.new_page()


def _readme(browser: Browser, sandbox: Service) -> None:
    page = _open(browser, "light", 1280, "en")
    _shoot(page, f"{sandbox.base_url}/sandbox", README)


def _all(browser: Browser, folder: Path, sandbox: Service, production: Service, ids: dict[str, str]) -> None:
    for scheme, width, locale in LOOKS:
        look = f"{width}-{scheme}-{locale}"
        page = _open(browser, scheme, width, locale)
        _shoot(page, f"{sandbox.base_url}/sandbox", folder / f"inbox-{look}.png")
        first = sandbox.rooms.inbox.list(limit=1).items[0].id
        _shoot(page, f"{sandbox.base_url}/sandbox/{first}", folder / f"mail-{look}.png")
        _shoot(page, f"{production.base_url}/login", folder / f"login-{look}.png")
        page.locator("#email").fill(stage.OPERATOR)
        page.locator("#password").fill(stage.PASSWORD)
        page.locator("button.primary").click()
        page.wait_for_url("**/dashboard")
        for name, address in SCREENS.items():
            _shoot(page, production.base_url + address.format(**ids), folder / f"{name}-{look}.png")
        page.context.close()


def main() -> None:
    """Stage an installation of each kind and take the pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        now = datetime.now(UTC)
        sandbox = stage.service(stage.SANDBOX, Path(place) / "sandbox")
        stage.fill_sandbox(sandbox, now)
        sandbox.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        if folder is None:
            _readme(browser, sandbox)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            production = stage.service(stage.PRODUCTION, Path(place) / "production")
            ids = stage.fill_production(production, now)
            production.start()
            _all(browser, folder, sandbox, production, ids)
            production.stop()
        browser.close()
        sandbox.stop()


if __name__ == "__main__":
    main()
