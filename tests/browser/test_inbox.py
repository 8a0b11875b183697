from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Open, Site


def send(site: Site, subject: str, text: str = "Good day", html: str = "") -> None:
    """Send a mail over SMTP as a program under test does."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Shop <shop@example.com>", "qa@example.com", subject
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", site.smtp_port) as client:
        client.send_message(message)


def rows(page: Page) -> list[str]:
    return page.locator("#mails .subject").all_inner_texts()


def test_a_mail_sent_over_smtp_appears_by_itself_and_leads_to_its_timeline(empty: Site, window: Open) -> None:
    page = window(empty).page
    page.goto("/")
    expect(page.get_by_role("heading", name="No mail caught yet")).to_be_visible()

    send(empty, "Your sign-in code is 482 913", "Use 482913", "<p id='x'>Here is your code: <b>482 913</b></p>")

    row = page.locator("#mails a", has_text="Your sign-in code is 482 913")
    expect(row).to_be_visible()
    expect(page.frame_locator("iframe").get_by_text("Here is your code")).to_be_visible()
    expect(page.locator("#inbox-foot")).to_contain_text("1 unread of 1.")
    row.click()
    expect(page.locator("#inbox-foot")).to_contain_text("0 unread of 1.")

    page.get_by_role("link", name="Timeline").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Your sign-in code is 482 913")
    leg = page.locator(".leg", has_text="qa@example.com")
    expect(leg.locator(".what")).to_contain_text(["Accepted", "Captured"])


def test_new_mail_comes_on_top_and_does_not_disturb_who_reads(sandbox: Site, window: Open) -> None:
    page = window(sandbox).page
    page.goto("/sandbox")
    page.locator("#mails a", has_text="Weekly report").click()
    expect(page.locator("#preview h2")).to_have_text("Weekly report, week 12")
    send(sandbox, "It just came")
    expect(page.locator("#mails .subject").first).to_have_text("It just came")
    expect(page.locator("#preview h2")).to_have_text("Weekly report, week 12")
    expect(page.locator("#mails a[aria-current]")).to_contain_text("Weekly report")
    expect(page.locator("#n-inbox")).to_have_text("3")
    send(sandbox, "And one more")
    expect(page.locator("#mails .subject").first).to_have_text("And one more")
    assert len(rows(page)) == 11


def test_the_test_mail_of_the_empty_page(empty: Site, window: Open) -> None:
    page = window(empty, permissions=["clipboard-read", "clipboard-write"]).page
    page.goto("/sandbox")
    page.get_by_role("button", name="Send a test mail").click()
    code = page.locator("[data-code]")
    expect(code).to_be_visible()
    code.click()
    expect(page.locator("#toasts")).to_contain_text("Copied")
    digits = code.get_attribute("data-copy")
    assert digits is not None
    assert page.evaluate("navigator.clipboard.readText()") == digits
    assert f"Your sign-in code is {digits[:3]} {digits[3:]}" in rows(page)


def test_deleting_one_asks_and_keeping_keeps(sandbox: Site, window: Open) -> None:
    page = window(sandbox).page
    page.goto("/sandbox")
    page.locator("#mails a", has_text="Reset your password").click()
    page.get_by_role("button", name="Delete mail…").click()
    question = page.get_by_role("dialog", name="Delete «Reset your password»?")
    expect(question).to_be_visible()
    expect(question.get_by_role("button", name="Keep")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    assert "Reset your password" in rows(page)

    page.keyboard.press("Shift+#")
    page.get_by_role("button", name="Delete mail", exact=True).click()
    expect(page.locator("#mails")).not_to_contain_text("Reset your password")
    expect(page.locator("#preview h2")).to_have_text("Welcome to the workshop")
    expect(page.locator("#toasts")).to_contain_text("The mail was deleted.")
    expect(page.locator("#mails a[aria-current]")).to_contain_text("Welcome to the workshop")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_emptying_the_inbox(sandbox: Site, window: Open) -> None:
    page = window(sandbox).page
    page.goto("/sandbox")
    page.get_by_role("button", name="Delete all…").click()
    page.get_by_role("button", name="Delete 9 mails").click()
    expect(page.get_by_role("heading", name="No mail caught yet")).to_be_visible()
    expect(page.locator("#toasts")).to_contain_text("9 mails were deleted.")


def test_search_narrows_while_typing_and_finds_new_mail(sandbox: Site, window: Open) -> None:
    page = window(sandbox).page
    page.goto("/sandbox")
    page.keyboard.press("/")
    page.keyboard.type("invoice")
    expect(page.locator("#mails .subject")).to_have_text(["Invoice 2026-0318"])
    send(sandbox, "Hello")
    send(sandbox, "Invoice 7")
    expect(page.locator("#mails .subject")).to_have_text(["Invoice 7", "Invoice 2026-0318"])
    page.get_by_role("searchbox", name="Search captured mail").fill("nothing like it")
    expect(page.locator("#mails")).to_contain_text("No mail matches «nothing like it».")
    send(sandbox, "It is nothing like it was")
    expect(page.locator("#mails .subject")).to_have_text(["It is nothing like it was"])
    expect(page.locator("#mails .none")).to_be_hidden()


def test_keys_walk_through_the_mails(looked_at_sandbox: Site, window: Open) -> None:
    page = window(looked_at_sandbox).page
    page.goto("/sandbox")
    page.keyboard.press("j")
    expect(page.locator("#preview h2")).to_have_text("Invoice 2026-0318")
    page.keyboard.press("j")
    expect(page.locator("#preview h2")).to_have_text("Reset your password")
    page.keyboard.press("k")
    expect(page.locator("#preview h2")).to_have_text("Invoice 2026-0318")
    page.keyboard.press("3")
    expect(page.locator(".parts")).to_be_hidden()
    page.get_by_role("link", name="Parts").click()
    expect(page.locator(".parts")).to_contain_text("application/pdf")
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/messages")


def test_a_mail_has_an_address_that_can_be_shared(looked_at_sandbox: Site, window: Open) -> None:
    page = window(looked_at_sandbox).page
    page.goto("/sandbox")
    page.locator("#mails a", has_text="Parcel 7741").click()
    expect(page.locator("#preview h2")).to_have_text("Parcel 7741 is on its way")
    address = page.url
    other = window(looked_at_sandbox).page
    other.goto(address)
    expect(other.locator("#preview h2")).to_have_text("Parcel 7741 is on its way")
    page.go_back()
    page.wait_for_url("**/sandbox")


def test_html_runs_no_script_and_loads_nothing_until_asked(sandbox: Site, window: Open) -> None:
    page = window(sandbox).page
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=200, content_type="image/gif", body=b"GIF89a")

    page.route("https://shop.example.com/**", answer)
    page.goto("/sandbox")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Here is your sign-in code")).to_be_visible()
    assert asked == []
    with page.expect_response("https://shop.example.com/opened.gif") as response:
        page.get_by_text("Show", exact=True).click()
    assert response.value.request.headers.get("referer") is None
    assert asked == ["https://shop.example.com/opened.gif"]
    assert frame.locator("html").evaluate("document.title") != "a script ran"


def test_the_mail_in_the_dark_and_on_a_phone(looked_at_sandbox: Site, window: Open) -> None:
    page = window(looked_at_sandbox, color_scheme="dark").page
    page.goto("/sandbox")
    body = page.frame_locator("iframe").locator("body")
    expect(body).to_have_css("background-color", "rgb(244, 241, 234)")  # a mail starts light, whatever the panel is
    page.get_by_label("Dark").check()
    expect(page.frame_locator("iframe").locator("body")).to_have_css("background-color", "rgb(21, 19, 15)")
    page.get_by_text("Phone").click()
    expect(page.locator("iframe")).to_have_css("width", "390px")
    page.locator("#mails a", has_text="Spring catalogue").click()
    expect(page.locator("iframe")).to_have_count(0)


def test_on_a_phone_the_list_and_the_mail_take_turns(looked_at_sandbox: Site, window: Open) -> None:
    page = window(looked_at_sandbox, width=390, has_touch=True, is_mobile=True).page
    page.goto("/sandbox")
    expect(page.locator("#preview")).to_be_hidden()
    page.locator("#mails a", has_text="Parcel 7741").tap()
    expect(page.locator("#preview h2")).to_have_text("Parcel 7741 is on its way")
    expect(page.locator("#mails")).to_be_hidden()
    page.locator("#preview").get_by_role("link", name="Inbox").tap()
    expect(page.locator("#mails")).to_be_visible()
    expect(page.locator("#preview")).to_be_hidden()
    page.get_by_role("button", name="Open menu").tap()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Messages").tap()
    page.wait_for_url("**/messages")


@pytest.mark.parametrize("zone", ["Asia/Yekaterinburg", "America/New_York"])
def test_times_are_those_of_the_readers_zone_from_the_first_page_on(
    looked_at_sandbox: Site, window: Open, zone: str
) -> None:
    page = window(looked_at_sandbox, timezone_id=zone).page
    page.goto("/sandbox")
    time = page.locator("#preview time")
    moment = time.get_attribute("datetime")
    expected = page.evaluate("m => new Date(m).toLocaleTimeString('en-GB')", moment)
    expect(page.locator("#preview time")).to_contain_text(expected)
