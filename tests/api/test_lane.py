"""The short way of /send answers as the usual way does, and lets everything that is not plain pass it by."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.api.conftest import KEY, MAIL, PRODUCTION, Build, House, body

PLAIN = "application/json"
USUAL = "application/json; charset=utf-8"  # not the plain case, so Flask answers


def ask(house: House, payload: Any, kind: str, **more: Any) -> TestResponse:
    octets = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return house.post("/send", data=octets, headers={"Content-Type": kind, **more.pop("headers", {})}, **more)


def went_by_flask(answer: TestResponse) -> bool:
    # Flask is asked for a response of its own class; the lane sets these fields itself.
    return "X-Content-Type-Options" not in answer.headers


def test_a_plain_request_takes_it_and_another_does_not(house: House) -> None:
    assert not went_by_flask(ask(house, MAIL, PLAIN))
    assert went_by_flask(ask(house, MAIL, USUAL))


@pytest.mark.parametrize(
    "payload",
    [
        MAIL,
        {**MAIL, "cc": ["Ann <c@example.net>"], "tags": ["t"], "metadata": {"k": "v"}, "html": "<p>Привет"},
        {**MAIL, "to": ["x"], "sbject": 1},
        {**MAIL, "from": "a@example.net"},
        {**MAIL, "track_opens": True},
        {**MAIL, "body": "x" * 1_100_000},
        [],
        b"{",
        b"\xff",
    ],
)
def test_both_ways_give_the_same_answer(house: House, payload: Any) -> None:
    short, usual = ask(house, payload, PLAIN), ask(house, payload, USUAL)
    assert short.status_code == usual.status_code
    assert short.content_type == usual.content_type
    first, second = body(short), body(usual)
    if short.status_code == 202:
        assert len({first.pop("id"), second.pop("id")}) == 2
    assert first == second


def test_both_ways_keep_the_same_mail(house: House) -> None:
    shown = [body(house.get(f"/messages/{body(ask(house, MAIL, kind))['id']}")) for kind in (PLAIN, USUAL)]
    different = {"id", "created_at", "updated_at", "message_id", "recipients", "next_attempt_at"}
    assert {name: shown[0][name] for name in shown[0].keys() - different} == {
        name: shown[1][name] for name in shown[1].keys() - different
    }
    assert (shown[0]["origin_name"], shown[0]["client_ip"]) == ("root", "127.0.0.1")


@pytest.mark.parametrize(
    ("headers", "key", "status"),
    [({}, "", 401), ({}, "wrong", 401), ({"Idempotency-Key": "k"}, KEY, 400), ({"X-API-Key": KEY}, "", 202)],
)
def test_who_may_not_or_asks_for_more_is_answered_as_ever(
    house: House, headers: dict[str, str], key: str, status: int
) -> None:
    assert ask(house, MAIL, PLAIN, key=key, headers=headers).status_code == status


def test_a_blocked_caller_is_blocked_here_too(house: House) -> None:
    for _ in range(5):
        ask(house, MAIL, PLAIN, key="wrong")
    assert ask(house, MAIL, PLAIN).status_code == 429


@pytest.mark.parametrize(
    "settings",
    ["", f'api.api_key = "{KEY}"', PRODUCTION + 'allowed_ips = ["192.0.2.0/24"]\n'],
    ids=["no key", "sandbox with a key", "allowed_ips"],
)
def test_is_closed_where_more_has_to_be_looked_at(build: Build, settings: str) -> None:
    assert went_by_flask(ask(build(settings), MAIL, PLAIN))


def test_the_callers_address_is_the_one_behind_a_trusted_proxy(build: Build) -> None:
    house = build(PRODUCTION + 'trusted_proxies = ["127.0.0.0/8"]\n')
    identity = body(ask(house, MAIL, PLAIN, headers={"X-Forwarded-For": "192.0.2.9"}))["id"]
    assert body(house.get(f"/messages/{identity}"))["client_ip"] == "192.0.2.9"


def test_a_failing_database_is_503_by_both_ways(house: House) -> None:
    house.fill_disk()
    assert [ask(house, MAIL, kind).status_code for kind in (PLAIN, USUAL)] == [503, 503]


def test_other_methods_of_the_address_are_not_its_business(house: House) -> None:
    assert house.get("/send").status_code == 405
