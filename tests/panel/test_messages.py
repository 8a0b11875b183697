from __future__ import annotations

import re
from html import unescape

import pytest

from tests.panel.conftest import Panel


def subjects(page: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'<a class="row"[^>]*>(.*?)</a>', page)]


def test_a_row_says_what_it_is(panel: Panel) -> None:
    made = panel.accept("boris@example.org", "vera@example.org", subject="Invoice <1>")
    page = panel.get("/messages").text
    row = page.split(f'id="m-{made}"')[1].split("</tr>")[0]
    for part in ("Pending", "Invoice &lt;1&gt;", "boris@example.org", "+1", "SMTP: app", f'href="/messages/{made}"'):
        assert part in row


def test_captured_mail_is_called_captured(panel: Panel) -> None:
    panel.accept("qa@example.org", sender="qa@staging.example.com")
    assert "Captured" in panel.get("/messages").text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Third", "Second", "First"]),
        ("q=second", ["Second"]),
        ("q=VERA@example", ["Third"]),
        ("status=delivered&domain=example.com", ["First"]),
        ("status=deferred", ["Second"]),
        ("status=nonsense", ["Third", "Second", "First"]),
        ("domain=staging.example.com", ["Third"]),
        ("since=1h", ["Third", "Second", "First"]),
        ("q=first&status=deferred", []),
        ("tag=march", ["Second"]),
    ],
)
def test_every_filter_is_in_the_address(panel: Panel, query: str, found: list[str]) -> None:
    panel.accept("boris@example.org", subject="First")
    panel.end("delivered")
    panel.accept("anna@example.org", subject="Second", tags=("march",))
    panel.end("deferred")
    panel.accept("vera@example.org", subject="Third", sender="qa@staging.example.com")
    assert subjects(panel.get(f"/messages?{query}").text) == found


def test_old_mail_is_outside_of_the_last_hour(panel: Panel) -> None:
    panel.accept("boris@example.org", subject="Now")
    page = panel.get("/messages?since=1h")
    assert subjects(page.text) == ["Now"]
    assert '<option value="1h" selected>' in page.text


def test_pages_go_by_cursor_both_ways(panel: Panel) -> None:
    for number in range(120):
        panel.accept("boris@example.org", subject=f"Mail {number}")
    first = panel.get("/messages").text
    assert subjects(first)[0] == "Mail 119"
    assert "50 of 120" in first
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older
    second = panel.get(unescape(older[1])).text
    assert (subjects(second)[0], subjects(second)[-1]) == ("Mail 69", "Mail 20")
    newer = re.search(r'href="([^"]+)" rel="prev"', second)
    assert newer
    assert subjects(panel.get(unescape(newer[1])).text) == subjects(first)


def test_the_filters_stay_on_the_next_page(panel: Panel) -> None:
    for number in range(60):
        panel.accept("boris@example.org", subject=f"Odd {number}")
    older = re.search(r'href="([^"]+)" rel="next"', panel.get("/messages?q=odd&since=24h").text)
    assert older
    assert "q=odd" in older[1]
    assert "since=24h" in older[1]


def test_only_the_newest_page_moves_by_itself_and_no_search(panel: Panel) -> None:
    assert 'hx-trigger="every 5s"' not in panel.get("/messages?q=mail").text
    for number in range(60):
        panel.accept("boris@example.org", subject=f"Mail {number}")
    assert 'hx-trigger="every 5s"' in panel.get("/messages").text
    older = re.search(r'href="([^"]+)" rel="next"', panel.get("/messages").text)
    assert older
    assert 'hx-trigger="every 5s"' not in panel.get(unescape(older[1])).text


def test_the_list_is_silent_until_something_changes(panel: Panel) -> None:
    panel.accept("boris@example.org")
    first = panel.get("/messages", htmx=True).text
    seen = re.search(r'"seen": "(\w+)"', first)
    assert seen
    assert panel.get(f"/messages?seen={seen[1]}", htmx=True).status_code == 204
    panel.end("delivered")
    assert "Delivered" in panel.get(f"/messages?seen={seen[1]}", htmx=True).text


def test_nothing_sent_yet_and_nothing_found_are_different(panel: Panel) -> None:
    assert "Send the first mail" in panel.get("/messages").text
    found = panel.get("/messages?q=nothing&status=failed").text
    assert "No message matches" in found
    assert "Clear filters" in found


def test_the_queue_is_what_is_not_finished(panel: Panel) -> None:
    assert "Nothing waits" in panel.get("/queue").text
    panel.accept("a@example.org", subject="Done")
    panel.end("delivered")
    panel.accept("b@example.org", subject="Put off")
    panel.end("deferred", response="Try again later")
    panel.accept("c@example.org", subject="New")
    page = panel.get("/queue").text
    assert subjects(page) == ["New", "Put off"]
    assert "<b>451</b> Try again later" in page
    assert "in 10 min" in page
    assert "2 recipients wait: 1 pending, 0 sending, 1 deferred" in page
    assert re.search(r'id="n-list-ordered">2<', page), "the side bar counts them too"


def test_dead_letters_are_what_was_given_up(panel: Panel) -> None:
    assert "Nothing given up" in panel.get("/dead-letters").text
    panel.accept("a@example.org", subject="Lost")
    panel.end("failed")
    panel.accept("b@example.org", subject="Waiting")
    assert subjects(panel.get("/dead-letters").text) == ["Lost"]


def test_a_message_without_subject_can_be_opened(panel: Panel) -> None:
    panel.accept("a@example.org", subject="")
    assert "(no subject)" in panel.get("/messages").text


@pytest.mark.parametrize("cursor", ["x", "zzzzzzzzzzzzz", "'; DROP TABLE message", "%00"])
def test_a_cursor_that_is_none_does_no_harm(panel: Panel, cursor: str) -> None:
    panel.accept("a@example.org")
    assert panel.get(f"/messages?before={cursor}").status_code == 200
    assert panel.get(f"/messages?after={cursor}").status_code == 200


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", '"><script>', "\x00", "и" * 500])
def test_a_search_for_anything_is_answered(panel: Panel, text: str) -> None:
    panel.accept("a@example.org", subject="Hello")
    answer = panel.get("/messages", query_string={"q": text})
    assert answer.status_code == 200
    assert "<script>" not in answer.text.replace('<script src="', "")
