from __future__ import annotations

import re

import pytest
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from sendry.access.users import Role
from tests.panel.conftest import Panel


def ticked(panel: Panel, act: str, *ids: str, back: str = "") -> TestResponse:
    form = MultiDict([("csrf_token", panel.token()), ("back", back), *(("id", one) for one in ids)])
    return panel.client.post(f"/messages/{act}", data=form, base_url=panel.base)


def test_what_is_ticked_is_tried_again(panel: Panel) -> None:
    first, second = panel.accept("a@example.org"), panel.accept("b@example.org")
    panel.accept("c@example.org")
    panel.end("failed")
    answer = ticked(panel, "retry", first, second, back="/dead-letters?q=x")
    assert (answer.status_code, answer.location) == (303, "/dead-letters?q=x")
    assert [work.address for work in panel.claim()] == ["a@example.org", "b@example.org"]
    assert "2 recipients will be tried now." in panel.get("/messages").text


def test_cancelling_asks_with_the_number_and_then_does_it(panel: Panel) -> None:
    first, second = panel.accept("a@example.org"), panel.accept("b@example.org")
    asked = panel.get(f"/messages/cancel?id={first}&id={second}&back=/queue", htmx=True).text
    assert "Cancel 2 messages?" in asked
    assert re.findall(r'name="id" value="([^"]+)"', asked) == [first, second]
    assert panel.service.rooms.lookup.counts().pending == 2
    assert ticked(panel, "cancel", first, second, back="/queue").location == "/queue"
    assert panel.service.rooms.lookup.counts().cancelled == 2


@pytest.mark.parametrize(
    ("act", "words"), [("retry", "Nothing to retry: none of them"), ("cancel", "Nothing to cancel: none of them")]
)
def test_when_nothing_can_be_done_the_page_says_so(panel: Panel, act: str, words: str) -> None:
    made = panel.accept("a@example.org")
    panel.end("delivered")
    ticked(panel, act, made, "nonsense", "0000000000001")
    assert words in panel.get("/messages").text


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example/"])
def test_the_way_back_stays_on_this_site(panel: Panel, back: str) -> None:
    assert ticked(panel, "retry", back=back).location == "/messages"
    assert panel.get("/messages/cancel", query_string={"back": back}).location == "/messages"


def test_a_viewer_has_nothing_to_tick(closed: Panel) -> None:
    closed.accept("a@example.org")
    closed.sign_in(Role.VIEWER)
    assert 'name="id"' not in closed.get("/messages").text
