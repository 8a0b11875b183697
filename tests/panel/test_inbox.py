from __future__ import annotations

import re

import pytest

from tests.panel.conftest import Build, Panel
from tests.panel.test_message import HTML


def listed(page: str) -> list[str]:
    return re.findall(r'<span class="subject[^"]*">([^<]*)<', page)


def test_the_empty_inbox_teaches_and_offers_a_test_mail(sandbox: Panel) -> None:
    page = sandbox.get("/sandbox").text
    assert "No mail caught yet" in page
    assert '<span class="k">SMTP_HOST</span>=127.0.0.1' in page
    assert "Send a test mail" in page
    assert sandbox.get("/sandbox/first", htmx=True).status_code == 204


def test_the_test_mail_really_goes_through_the_door_for_mail(sandbox: Panel) -> None:
    assert sandbox.post("/sandbox/sample").location == "/sandbox"
    (row,) = sandbox.service.rooms.inbox.list().items
    assert row.sender == "shop@example.com"
    assert row.code
    assert row.attachment_count == 1
    assert sandbox.get("/sandbox/first", htmx=True).headers["HX-Redirect"] == "/sandbox"
    page = sandbox.get("/sandbox").text
    assert "Your sign-in code is" in page
    assert re.search(r'data-copy="\d{6}"', page), "the code is copied as it is typed"
    assert "1 remote image blocked" in page
    framed = sandbox.get(f"/sandbox/{row.id}/frame").text
    assert "Sendry sent this test mail to itself." in framed
    assert sandbox.post("/sandbox/sample", htmx=True).status_code == 204


def test_in_production_the_test_mail_goes_to_a_sandbox_domain_only(panel: Panel) -> None:
    panel.post("/sandbox/sample")
    (row,) = panel.service.rooms.inbox.list().items
    assert row.domain == "staging.example.com"
    assert panel.claim() == []


def test_a_row_says_what_it_is(sandbox: Panel) -> None:
    named = HTML.replace(b"From: shop@example.com", b"From: Example Shop <shop@example.com>")
    made = sandbox.accept("qa@example.org", raw=named, sender="shop@example.com")
    row = sandbox.get("/sandbox").text.split(f'id="m-{made}"')[1].split("</li>")[0]
    for part in ("Example Shop", "Your code", "Code 482913", "has a code", "has 1 file", "unread"):
        assert part in row


def test_the_newest_mail_stands_open_beside_the_list_and_stays_unread(sandbox: Panel) -> None:
    sandbox.accept("qa@example.org", subject="First")
    sandbox.accept("qa@example.org", subject="Second")
    page = sandbox.get("/sandbox").text
    assert listed(page) == ["Second", "First"]
    assert "<h2>Second</h2>" in page
    assert "2 unread of 2." in page
    assert "Nothing here has left this machine." in page


def test_a_mail_that_is_opened_is_read(sandbox: Panel) -> None:
    made = sandbox.accept("qa@example.org", subject="First")
    page = sandbox.get(f"/sandbox/{made}").text
    assert 'class="split sandbox open"' in page
    assert "0 unread of 1." in page
    row = sandbox.service.rooms.inbox.find(made)
    assert row is not None
    assert row.is_read


def test_the_fragment_is_the_mail_with_its_row_and_the_counts(sandbox: Panel) -> None:
    made = sandbox.accept("qa@example.org", subject="First")
    answer = sandbox.get(f"/sandbox/{made}", htmx=True).text
    assert answer.lstrip().startswith('<section class="reader" id="preview"')
    assert f'<li id="m-{made}" hx-swap-oob="true">' in answer
    assert "0 unread of 1." in answer
    assert 'id="n-inbox" hx-swap-oob="true"></span>' in answer


def test_new_mail_is_told_once_and_silence_is_cheap(sandbox: Panel) -> None:
    first = sandbox.accept("qa@example.org", subject="First")
    page = sandbox.get("/sandbox").text
    asked = re.search(r'id="newer" hidden hx-get="([^"]+)"', page)
    assert asked
    assert asked[1] == f"/sandbox/new?after={first}"
    assert sandbox.get(asked[1], htmx=True).status_code == 204
    second = sandbox.accept("qa@example.org", subject="Second")
    answer = sandbox.get(asked[1], htmx=True).text
    assert listed(answer) == ["Second"]
    assert 'class="fresh"' in answer
    assert f'hx-get="/sandbox/new?after={second}"' in answer
    assert sandbox.get(f"/sandbox/new?after={second}", htmx=True).status_code == 204


def test_new_mail_that_the_search_does_not_find_stays_out(sandbox: Panel) -> None:
    first = sandbox.accept("qa@example.org", subject="Invoice one")
    sandbox.accept("qa@example.org", subject="Hello")
    assert sandbox.get(f"/sandbox/new?after={first}&q=invoice", htmx=True).status_code == 204


def test_search_narrows_the_list_and_keeps_its_place_in_every_link(sandbox: Panel) -> None:
    made = sandbox.accept("qa@example.org", subject="Invoice")
    sandbox.accept("qa@example.org", subject="Hello")
    page = sandbox.get("/sandbox?q=invo").text
    assert listed(page) == ["Invoice"]
    assert f'href="/sandbox/{made}?q=invo"' in page
    fragment = sandbox.get("/sandbox?q=nothing", htmx=True).text
    assert "No mail matches «nothing»." in fragment
    assert fragment.lstrip().startswith('<ol class="mails" id="mails">')


def test_older_mail_comes_in_pieces(sandbox: Panel) -> None:
    for number in range(60):
        sandbox.accept("qa@example.org", subject=f"Mail {number}")
    page = sandbox.get("/sandbox").text
    assert len(listed(page)) == 50
    older = re.search(r'class="older"><a [^>]*hx-get="([^"]+)"', page)
    assert older
    assert listed(sandbox.get(older[1], htmx=True).text) == [f"Mail {number}" for number in range(9, -1, -1)]


@pytest.mark.parametrize(
    ("view", "part"),
    [
        ("html", '<iframe name="mail-frame"'),
        ("text", "This mail has no plain text part."),
        ("headers", "<dt>Subject</dt><dd>Your code</dd>"),
        ("source", "&lt;script&gt;steal()&lt;/script&gt;"),
        ("parts", '<span class="mono">application/pdf</span> <b>invoice.pdf</b>'),
        ("files", ">invoice.pdf</a>"),
    ],
)
def test_every_view_of_a_mail_has_an_address(sandbox: Panel, view: str, part: str) -> None:
    made = sandbox.accept("qa@example.org", raw=HTML, sender="shop@example.com")
    page = sandbox.get(f"/sandbox/{made}/{view}")
    assert page.status_code == 200
    assert part in page.text
    assert "<script>steal" not in page.text


def test_a_mail_without_html_shows_its_text(sandbox: Panel) -> None:
    made = sandbox.accept("qa@example.org", body=b"Good day\r\n")
    page = sandbox.get(f"/sandbox/{made}/html").text
    assert "Good day" in page
    assert "<iframe" not in page


def test_codes_and_links_are_at_hand(sandbox: Panel) -> None:
    text = b"Your code is 482 913.\r\nOr open https://shop.example.com/confirm?t=1\r\n"
    made = sandbox.accept("qa@example.org", body=text)
    page = sandbox.get(f"/sandbox/{made}").text
    assert 'data-copy="482913" data-code' in page
    assert 'href="https://shop.example.com/confirm?t=1" target="_blank" rel="noopener noreferrer" data-link' in page
    assert '<span class="mono">shop.example.com/confirm</span>' in page


def test_a_link_that_runs_something_is_no_link(sandbox: Panel) -> None:
    raw = b'From: a@example.com\r\nContent-Type: text/html\r\n\r\n<a href="javascript:alert(1)">x</a>\r\n'
    made = sandbox.accept("qa@example.org", raw=raw)
    assert "javascript:" not in sandbox.get(f"/sandbox/{made}").text


def test_deleting_asks_first_and_then_shows_the_next_mail(sandbox: Panel) -> None:
    sandbox.accept("qa@example.org", subject="First")
    second = sandbox.accept("qa@example.org", subject="Second")
    asked = sandbox.get(f"/sandbox/{second}/delete", htmx=True).text
    assert "Delete «Second»?" in asked
    assert sandbox.service.rooms.lookup.counts().captured == 2
    answer = sandbox.post(f"/sandbox/{second}/delete", htmx=True)
    assert "<h2>First</h2>" in answer.text
    assert f'<li id="m-{second}" hx-swap-oob="delete">' in answer.text
    assert "The mail was deleted." in answer.text
    assert answer.headers["HX-Push-Url"].startswith("/sandbox/")
    assert sandbox.get(f"/sandbox/{second}").status_code == 404


def test_the_last_mail_deleted_leads_to_the_empty_page(sandbox: Panel) -> None:
    made = sandbox.accept("qa@example.org")
    answer = sandbox.post(f"/sandbox/{made}/delete", htmx=True)
    assert answer.headers["HX-Redirect"] == "/sandbox"
    page = sandbox.get("/sandbox").text
    assert "No mail caught yet" in page
    assert "The mail was deleted." in page


def test_a_mail_that_somebody_else_deleted(sandbox: Panel) -> None:
    sandbox.accept("qa@example.org")
    made = sandbox.accept("qa@example.org")
    sandbox.service.rooms.inbox.delete([made])
    assert "Somebody else had deleted this mail already." in sandbox.post(f"/sandbox/{made}/delete", htmx=True).text


def test_emptying_asks_with_the_number_and_empties(sandbox: Panel) -> None:
    for number in range(3):
        sandbox.accept("qa@example.org", subject=f"Mail {number}")
    assert "Delete all 3 mails?" in sandbox.get("/sandbox/clear", htmx=True).text
    answer = sandbox.post("/sandbox/clear", htmx=True)
    assert answer.headers["HX-Redirect"] == "/sandbox"
    assert "3 mails were deleted." in sandbox.get("/sandbox").text


def test_emptying_a_search_leaves_the_rest(sandbox: Panel) -> None:
    sandbox.accept("qa@example.org", subject="Invoice")
    sandbox.accept("qa@example.org", subject="Hello")
    assert "Delete 1 mail that matches «invoice»?" in sandbox.get("/sandbox/clear?q=invoice").text
    sandbox.post("/sandbox/clear?q=invoice")
    assert listed(sandbox.get("/sandbox").text) == ["Hello"]


def test_the_file_and_the_parts_of_a_mail(sandbox: Panel) -> None:
    made = sandbox.accept("qa@example.org", raw=HTML, sender="shop@example.com")
    assert sandbox.get(f"/sandbox/{made}/mail.eml").data.endswith(HTML[-200:])
    assert sandbox.get(f"/sandbox/{made}/part/2").data == b"%PDF"
    assert sandbox.get(f"/sandbox/{made}/part/9").status_code == 404


@pytest.mark.parametrize("path", ["", "/html", "/frame", "/mail.eml", "/part/0", "/delete"])
def test_what_is_not_captured_is_not_in_the_inbox(panel: Panel, path: str) -> None:
    made = panel.accept("boris@example.org")
    assert panel.get(f"/sandbox/{made}{path}").status_code == 404


def test_the_inbox_is_in_the_side_bar_only_where_mail_is_captured(panel: Panel) -> None:
    assert "Sandbox inbox" in panel.get("/dashboard").text, "staging.example.com is a sandbox"


def test_production_without_sandbox_has_no_inbox_in_the_side_bar(build: Build) -> None:
    here = build('[smtp]\ndomain = "example.com"\n[api]\napi_key = "k"\n')
    here.sign_in()
    assert "Sandbox inbox" not in here.get("/dashboard").text
