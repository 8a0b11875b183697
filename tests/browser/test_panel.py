from __future__ import annotations

from datetime import UTC, datetime

from playwright.sync_api import expect

from tests.browser import stage
from tests.browser.conftest import Open, Site


def waiting(site: Site, *to: str, subject: str) -> str:
    """A message of the test's own that waits."""
    letter = stage.Letter(0, "Example Shop <shop@example.com>", subject, "Hello")
    return stage.accept(site.service, letter, to, datetime.now(UTC))


def test_signing_in_and_out(production: Site, window: Open) -> None:
    page = window(production).page
    page.goto("/messages?status=failed")
    page.get_by_label("Email").fill(stage.OPERATOR)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#password-error")).to_have_text("Email and password do not match.")
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill(stage.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/messages?status=failed")
    page.get_by_role("button", name="Olga Petrova, your account").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")


def test_a_page_that_lives_on_after_the_sign_out_leads_to_the_sign_in(production: Site, window: Open) -> None:
    watched = window(production, signed_in=True)
    page = watched.page
    page.goto("/messages?status=deferred")
    watched.context.clear_cookies()
    page.wait_for_url("**/login?next=/messages?status%3Ddeferred")


def test_the_first_admin(nobody: Site, window: Open) -> None:
    page = window(nobody).page
    page.goto("/")
    expect(page.get_by_role("heading", name="Nobody can sign in yet")).to_be_visible()
    page.goto(nobody.service.first_admin_link())
    page.get_by_label("Email").fill("olga@example.com")
    page.get_by_label("Name").fill("Olga Petrova")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Make admin and sign in").click()
    expect(page.get_by_label("Email")).to_have_value("olga@example.com")
    page.get_by_label("Password").fill(stage.PASSWORD)
    page.get_by_role("button", name="Make admin and sign in").click()
    page.wait_for_url("**/dashboard")
    expect(page.get_by_role("heading", name="Send the first mail")).to_be_visible()


def test_the_dashboard_moves_by_itself_and_leaves_open_what_is_open(production: Site, window: Open) -> None:
    page = window(production, signed_in=True).page
    page.get_by_text("Show as table").click()
    table = page.locator("#chart-table table")
    expect(table).to_be_visible()
    badge = page.locator("#queue-badge b")
    before = int(badge.inner_text())
    waiting(production, "late@example.org", subject="It moves")
    # The page asks every 5 seconds, which is also how long an expectation waits by itself.
    expect(badge).to_have_text(str(before + 1), timeout=20_000)
    expect(table).to_be_visible()


def test_messages_are_searched_while_typing_and_the_address_says_so(production: Site, window: Open) -> None:
    page = window(production, signed_in=True).page
    page.goto("/messages")
    page.keyboard.press("/")
    page.keyboard.type("invoice")
    expect(page.locator("#list a.row")).to_have_text(["Invoice 2026-0318"])
    page.wait_for_url("**/messages?q=invoice**")
    page.get_by_role("navigation", name="State").get_by_role("link", name="Failed").click()
    expect(page.get_by_role("heading", name="No message matches")).to_be_visible()
    page.get_by_role("link", name="Clear filters").click()
    page.wait_for_url("**/messages")
    page.wait_for_load_state()
    page.get_by_role("combobox", name="Domain").select_option("staging.example.com")
    expect(page.locator("#list a.row")).to_have_text(["Password reset"])
    page.go_back()
    expect(page.locator("#list a.row").nth(5)).to_be_visible()


def test_a_row_is_opened_by_key(production: Site, window: Open) -> None:
    page = window(production, signed_in=True).page
    page.goto("/messages?q=receipt for order 20411")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Your receipt for order 20411")
    page.wait_for_load_state()
    page.keyboard.press("3")
    expect(page.locator(".headers")).to_contain_text("Your receipt for order 20411")
    page.wait_for_load_state()
    page.keyboard.press("u")
    page.wait_for_url("**/messages")


def test_retry_and_cancel(production: Site, window: Open) -> None:
    made = waiting(production, "a@example.org", "b@example.org", subject="To be cancelled")
    page = window(production, signed_in=True).page
    page.goto(f"/messages/{made}")
    page.get_by_role("button", name="Cancel…").click()
    question = page.get_by_role("dialog", name="Cancel «To be cancelled» for 2 recipients?")
    expect(question).to_be_visible()
    question.get_by_role("button", name="Keep trying").click()
    expect(question).to_have_count(0)
    expect(page.get_by_role("button", name="Cancel…")).to_be_focused()
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel delivery").click()
    expect(page.locator("#toasts")).to_contain_text("2 recipients were cancelled.")
    expect(page.locator("h1 .pill")).to_have_text("Cancelled")


def test_somebody_was_quicker(production: Site, window: Open) -> None:
    made = waiting(production, "a@example.org", subject="Two hands")
    page = window(production, signed_in=True).page
    page.goto(f"/messages/{made}")
    page.get_by_role("button", name="Cancel…").click()
    number = production.service.rooms.lookup.message(made)
    assert number is not None
    production.service.queue.cancel(number.message.number, datetime.now(UTC)).result()
    page.get_by_role("button", name="Cancel delivery").click()
    expect(page.get_by_role("alert")).to_contain_text("somebody was quicker")
    expect(page.locator("h1 .pill")).to_have_text("Cancelled")


def test_several_rows_are_ticked_and_cancelled(production: Site, window: Open) -> None:
    for name in ("one", "two", "three"):
        waiting(production, f"{name}@example.org", subject=f"Ticked {name}")
    page = window(production, signed_in=True).page
    page.goto("/messages?q=ticked")
    page.get_by_label("Select: Ticked one").check()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_role("toolbar")).to_contain_text("2 selected")
    page.get_by_label("Select all on this page").check()
    expect(page.get_by_role("toolbar")).to_contain_text("3 selected")
    page.get_by_label("Select: Ticked two").uncheck()
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog", name="Cancel 2 messages?").get_by_role("button", name="Cancel delivery").click()
    expect(page.locator("#toasts")).to_contain_text("2 recipients were cancelled.")
    page.wait_for_url("**/messages?q=ticked")
    expect(page.locator("#list .st")).to_have_text(["Cancelled", "Pending", "Cancelled"])
    expect(page.get_by_role("toolbar")).to_be_hidden()


def test_the_palette_goes_everywhere(production: Site, window: Open) -> None:
    page = window(production, signed_in=True).page
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Search or jump to…")
    expect(palette.get_by_role("link", name="Messages")).to_be_visible()
    page.keyboard.type("invoice")
    expect(palette.get_by_role("link", name="Invoice 2026-0318")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/messages/{production.ids['invoice']}")
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()


def test_theme_and_language_are_kept(production: Site, window: Open) -> None:
    page = window(production, signed_in=True, color_scheme="light").page
    sheet = page.locator("body")
    expect(sheet).to_have_css("background-color", "rgb(255, 255, 255)")
    page.get_by_role("button", name="Theme").click()
    expect(sheet).to_have_css("background-color", "rgb(23, 25, 29)")
    page.reload()
    expect(sheet).to_have_css("background-color", "rgb(23, 25, 29)")
    page.get_by_role("button", name="Русский").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Обзор")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def test_a_lost_connection_is_said_and_mended(sandbox: Site, window: Open) -> None:
    watched = window(sandbox)
    page = watched.page
    page.goto("/sandbox")
    watched.context.set_offline(True)
    expect(page.get_by_role("alert")).to_have_text("No connection. Trying again in 5 s.")
    watched.context.set_offline(False)
    expect(page.get_by_role("alert")).to_have_count(0)
    watched.errors.clear()  # the browser tells of the lost connection too


def test_without_script_the_main_acts_work(sandbox: Site, window: Open) -> None:
    page = window(sandbox, java_script_enabled=False).page
    page.goto("/")
    page.locator("#mails a", has_text="Reset your password").click()
    expect(page.locator("#preview h2")).to_have_text("Reset your password")
    page.get_by_role("link", name="Text").click()
    expect(page.locator(".sheet-text")).to_contain_text("Somebody asked to reset the password")
    page.get_by_role("button", name="Delete mail…").click()
    expect(page.get_by_role("heading", name="Delete «Reset your password»?")).to_be_visible()
    page.get_by_role("button", name="Delete mail").click()
    expect(page.locator("#toasts")).to_contain_text("The mail was deleted.")
    page.get_by_role("searchbox", name="Search captured mail").fill("invoice")
    page.keyboard.press("Enter")
    expect(page.locator("#mails .subject")).to_have_text(["Invoice 2026-0318"])
    page.get_by_role("button", name="Русский").click()
    expect(page.locator("h1")).to_have_text("Входящие")
    page.get_by_role("button", name="Отправить пробное письмо").click()
    expect(page.locator("#mails .subject").first).to_contain_text("Код для входа")


def test_without_script_one_signs_in_and_cancels(production: Site, window: Open) -> None:
    made = waiting(production, "a@example.org", subject="Without script")
    page = window(production, signed_in=True, java_script_enabled=False).page
    page.goto(f"/messages/{made}")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel delivery").click()
    expect(page.locator("h1 .pill")).to_have_text("Cancelled")
    expect(page.locator("#toasts")).to_contain_text("1 recipient was cancelled.")
