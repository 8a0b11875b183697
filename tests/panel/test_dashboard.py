from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import g

from sendry.panel import dashboard
from sendry.panel.dashboard import PERIODS
from tests.panel.conftest import Panel


def figures(page: str) -> dict[str, str]:
    """What stands in the tiles."""
    return {
        label: re.sub(r"<[^>]+>", "", figure)
        for label, figure in re.findall(r'class="label">([^<]+)</span><span class="num">(.*?)</span>', page)
    }


def test_the_empty_dashboard_teaches_how_the_first_mail_gets_here(panel: Panel) -> None:
    page = panel.get("/dashboard").text
    assert "Send the first mail" in page
    assert '<span class="k">SMTP_PORT</span>=587' in page
    assert "curl http://localhost:8080/api/v1/send" in page
    assert "Authorization: Bearer $SENDRY_API_KEY" in page


def test_the_open_sandbox_needs_no_key_and_says_so(sandbox: Panel) -> None:
    page = sandbox.get("/dashboard").text
    assert '<span class="k">SMTP_PORT</span>=1025' in page
    assert "Authorization" not in page


def test_the_figures_are_those_of_the_sums(panel: Panel) -> None:
    for name in ("a", "b", "c"):
        panel.accept(f"{name}@example.org")
    panel.end("delivered")
    panel.accept("d@example.org")
    panel.end("failed")
    panel.accept("e@example.org")
    panel.end("deferred")
    panel.accept("f@example.org")
    page = panel.get("/dashboard").text
    assert figures(page) == {"Accepted": "6", "Delivered": "75%", "Deferred": "1", "Failed": "1"}


def test_in_the_sandbox_they_are_those_of_the_inbox(sandbox: Panel) -> None:
    sandbox.accept("a@example.org", "b@example.org")
    assert figures(sandbox.get("/dashboard").text) == {
        "Captured": "2",
        "In the inbox": "1",
        "Unread": "1",
        "Sent out": "0",
    }


def test_what_waits_and_what_failed_stand_with_their_replies(panel: Panel) -> None:
    panel.accept("late@example.org")
    panel.end("deferred", response="Greylisted, come back later")
    panel.accept("gone@example.org")
    panel.end("failed", response="No such user here")
    page = panel.get("/dashboard").text
    assert "<b>451</b> Greylisted, come back later" in page
    assert "next try in 10 min" in page
    assert "<b>550</b> No such user here" in page


def test_replies_of_strangers_are_escaped(panel: Panel) -> None:
    panel.accept("gone@example.org")
    panel.end("failed", response="<script>alert(1)</script>")
    assert "<script>alert" not in panel.get("/dashboard").text


def test_the_living_part_is_silent_until_something_changes(panel: Panel) -> None:
    panel.accept("a@example.org")
    panel.end("delivered")
    first = panel.get("/dashboard", htmx=True)
    assert first.text.lstrip().startswith('<div id="live"')
    seen = re.search(r'"seen": "(\w+)"', first.text)
    assert seen
    assert panel.get(f"/dashboard?seen={seen[1]}", htmx=True).status_code == 204
    panel.accept("b@example.org")
    changed = panel.get(f"/dashboard?seen={seen[1]}", htmx=True)
    assert changed.status_code == 200
    assert 'id="queue-badge"' in changed.text, "the queue's figure rides along"


def test_a_restored_history_entry_is_the_page(panel: Panel) -> None:
    page = panel.get("/dashboard", htmx=True, headers={"HX-History-Restore-Request": "true"})
    assert page.text.startswith("<!doctype html>")


def test_the_chart_tells_its_finding_to_those_who_do_not_see_it(panel: Panel) -> None:
    panel.accept("a@example.org", "b@example.org")
    panel.end("delivered")
    page = panel.get("/dashboard").text
    found = re.search(r'role="img" aria-label="([^"]+)"', page)
    assert found
    assert re.fullmatch(r"Mail per hour: 2 in all, most \(2\) from \d\d:00", found[1])


@pytest.mark.parametrize(
    ("period", "title"),
    [("24h", "Mail per hour"), ("7d", "Mail per 6 hours"), ("30d", "Mail per day"), ("x", "Mail per hour")],
)
def test_each_period_has_an_address(panel: Panel, period: str, title: str) -> None:
    panel.accept("a@example.org")
    assert title in panel.get(f"/dashboard?period={period}").text


@pytest.mark.parametrize("period", PERIODS, ids=lambda period: period.name)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Asia/Yekaterinburg"])
def test_every_hour_of_the_period_falls_into_one_bucket(panel: Panel, period: dashboard.Period, zone: str) -> None:
    now = datetime(2026, 3, 29, 14, 32, tzinfo=UTC)
    with panel.client.application.test_request_context(headers={"Cookie": f"zone={zone}"}):
        g.now = now
        starts = dashboard._starts(period, now)
    assert len(starts) == period.number
    assert starts[-1] <= now < starts[-1] + period.bucket + timedelta(hours=1)
    hour = now.replace(minute=0)
    tallies = []
    while hour >= starts[0]:
        tallies.append((hour, "accepted", 1))
        hour -= timedelta(hours=1)
    buckets = dashboard._buckets(tallies, starts)
    assert sum(bucket["accepted"] for bucket in buckets) == len(tallies)


@pytest.mark.parametrize(
    ("now", "before", "words"),
    [(106, 100, "6% more than the day before"), (50, 100, "50% fewer than the day before"),
     (100, 100, "as many as the day before"), (5, 0, "Last 24 hours")],
)  # fmt: skip
def test_a_period_is_compared_with_the_one_before_it(now: int, before: int, words: str) -> None:
    assert dashboard._compared(PERIODS[0], now, before) == words


def test_the_jump_finds_pages_messages_and_ids(panel: Panel) -> None:
    made = panel.accept("boris@example.org", subject="Invoice 2026-0318")
    found = panel.get("/jump?q=invoice", htmx=True).text
    assert f"/messages/{made}" in found
    assert "boris@example.org" in found
    assert f"/messages/{made}" in panel.get(f"/jump?q={made}", htmx=True).text
    assert "/queue" in panel.get("/jump?q=que", htmx=True).text
    assert "&lt;b&gt;" in panel.get("/jump?q=<b>", htmx=True).text
