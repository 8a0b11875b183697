"""Every screen, light and dark, wide and narrow: axe finds nothing serious, nothing scrolls sideways."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import Open, Site

SIGNED_IN = (
    "/dashboard",
    "/dashboard?period=30d",
    "/messages",
    "/messages?q=nothing+like+it",
    "/queue",
    "/dead-letters",
    "/messages/{invoice}",
    "/messages/{invoice}/content",
    "/messages/{invoice}/headers",
    "/messages/{invoice}/raw",
    "/messages/{invoice}/events",
    "/messages/{invoice}/cancel",
    "/no-such-page",
)
OPEN = (
    "/sandbox",
    "{first}",
    "{first}/text",
    "{first}/headers",
    "{first}/source",
    "{first}/parts",
    "/sandbox/clear",
    "/dashboard",
)
LOOKS = [pytest.param(scheme, width, id=f"{scheme}-{width}") for scheme in ("light", "dark") for width in (1280, 390)]


def serious(page: Page, within: str | None = None) -> list[str]:
    """What axe holds to be serious or critical, with where it is."""
    found = Axe().run(page, context=within, options={"resultTypes": ["violations"]})
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in found.response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def check(page: Page, address: str) -> list[str]:
    page.goto(address)
    page.locator("main").wait_for()
    faults = [f"{address} {fault}" for fault in serious(page)]
    if sideways(page) > 0:
        faults.append(f"{address} scrolls sideways")
    return faults


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.timeout(240)
def test_the_screens_of_production(production: Site, window: Open, scheme: str, width: int) -> None:
    page = window(production, signed_in=True, color_scheme=scheme, width=width).page
    faults = [fault for address in SIGNED_IN for fault in check(page, address.format(**production.ids))]
    assert faults == []


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.timeout(240)
def test_the_sandbox(looked_at_sandbox: Site, window: Open, scheme: str, width: int) -> None:
    page = window(looked_at_sandbox, color_scheme=scheme, width=width).page
    first = f"/sandbox/{looked_at_sandbox.service.rooms.inbox.list(limit=1).items[0].id}"
    faults = [fault for address in OPEN for fault in check(page, address.format(first=first))]
    assert faults == []


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_gate(nobody: Site, production: Site, window: Open, scheme: str, width: int) -> None:
    page = window(production, color_scheme=scheme, width=width).page
    faults = check(page, "/login")
    page.get_by_label("Email").fill("x@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.locator("#password-error").wait_for()
    faults += serious(page)
    page = window(nobody, color_scheme=scheme, width=width).page
    faults += check(page, "/login")
    faults += check(page, f"/first-admin/{nobody.service.rooms.users.first_admin_token()}")
    assert faults == []


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_pages_before_the_first_mail(empty: Site, window: Open, scheme: str, width: int) -> None:
    page = window(empty, color_scheme=scheme, width=width).page
    assert [fault for address in ("/sandbox", "/dashboard", "/messages") for fault in check(page, address)] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_opens_above_a_page(production: Site, window: Open, scheme: str) -> None:
    page = window(production, signed_in=True, color_scheme=scheme).page
    page.goto(f"/messages/{production.ids['invoice']}")
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").wait_for()
    faults = serious(page, "dialog[open]")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Cancel rest…").click()
    page.get_by_role("dialog").wait_for()
    faults += serious(page, "dialog[open]")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+?")
    page.get_by_role("dialog", name="Keys").wait_for()
    faults += serious(page, "dialog[open]")
    assert faults == []
