"""Who may use the API: with the key, without one, with a wrong one, and after too many."""

from __future__ import annotations

import pytest

from tests.api.conftest import KEY, MAIL, PRODUCTION, Build, House, body

ROUTES = [
    ("POST", "/send"), ("POST", "/send/batch"), ("GET", "/status/x"), ("GET", "/messages"), ("GET", "/messages/x"),
    ("GET", "/messages/x/events"), ("GET", "/messages/x/raw"), ("POST", "/messages/x/cancel"), ("GET", "/queue"),
    ("DELETE", "/queue/x"), ("GET", "/dlq"), ("GET", "/dlq/x"), ("POST", "/dlq/x/retry"), ("POST", "/dlq/retry"),
    ("DELETE", "/dlq/x"), ("DELETE", "/dlq"), ("GET", "/sandbox/messages"), ("DELETE", "/sandbox/messages"),
    ("GET", "/sandbox/messages/x"), ("DELETE", "/sandbox/messages/x"), ("GET", "/sandbox/messages/x/raw"),
    ("GET", "/sandbox/messages/x/attachments/0"), ("GET", "/sandbox/messages/x/parts/0"), ("GET", "/sandbox/stats"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_a_key(house: House, method: str, path: str) -> None:
    answer = house.call(method, path, key="", json=MAIL)
    assert (answer.status_code, body(answer)["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_list_of_routes_above_is_complete(house: House) -> None:
    rules = {
        (method, rule.rule)
        for rule in house.client.application.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert len(rules) == len(ROUTES)


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
def test_either_header_opens(house: House, headers: dict[str, str]) -> None:
    assert house.get("/messages", key="", headers=headers).status_code == 200


@pytest.mark.parametrize("key", [KEY + "x", KEY[:-1], KEY.upper(), "é"])
def test_a_wrong_key_opens_nothing(house: House, key: str) -> None:
    answer = house.post("/send", key=key, json=MAIL)
    assert (answer.status_code, body(answer)["code"]) == (401, "unauthorized")
    assert body(house.get("/messages"))["items"] == []


def test_too_many_wrong_keys_shut_the_door_for_their_address_only(house: House) -> None:
    for _ in range(5):
        assert house.get("/messages", key="wrong").status_code == 401
    answer = house.get("/messages")
    assert (answer.status_code, body(answer)["code"]) == (429, "too_many_failures")
    assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60
    other = {"REMOTE_ADDR": "192.0.2.77"}
    assert house.get("/messages", environ_base=other).status_code == 200


def test_requests_without_a_key_are_no_guesses(house: House) -> None:
    for _ in range(9):
        house.get("/messages", key="")
    assert house.get("/messages").status_code == 200


def test_behind_a_trusted_proxy_the_caller_is_blocked_and_not_the_proxy(build: Build) -> None:
    house = build(PRODUCTION + 'trusted_proxies = ["10.0.0.0/8"]\n')
    proxy = {"REMOTE_ADDR": "10.0.0.1"}
    for _ in range(5):
        house.get("/messages", key="wrong", headers={"X-Forwarded-For": "192.0.2.9"}, environ_base=proxy)
    guesser = house.get("/messages", headers={"X-Forwarded-For": "192.0.2.9"}, environ_base=proxy)
    other = house.get("/messages", headers={"X-Forwarded-For": "192.0.2.9, 192.0.2.10"}, environ_base=proxy)
    assert (guesser.status_code, other.status_code) == (429, 200)


def test_the_address_behind_the_proxy_is_kept_with_the_mail(build: Build) -> None:
    house = build(PRODUCTION + 'trusted_proxies = ["10.0.0.0/8"]\n')
    answer = house.post(
        "/send", json=MAIL, headers={"X-Forwarded-For": "192.0.2.9"}, environ_base={"REMOTE_ADDR": "10.0.0.1"}
    )
    assert body(house.get(f"/messages/{body(answer)['id']}"))["client_ip"] == "192.0.2.9"


class TestWithoutAKeySet:
    def test_the_sandbox_profile_on_loopback_is_open(self, build: Build) -> None:
        house = build("")
        answer = house.post("/send", key="", json=MAIL)
        assert answer.status_code == 202
        message = body(house.get(f"/messages/{body(answer)['id']}", key=""))
        assert (message["mode"], message["origin_name"]) == ("sandbox", "anonymous")

    def test_the_sandbox_profile_opened_to_others_makes_a_key_and_asks_for_it(self, build: Build) -> None:
        house = build("", PORT="8080")
        made = house.service.new_api_key
        assert made.startswith("sk_")
        assert house.get("/messages", key="").status_code == 401
        assert house.get("/messages", key=made).status_code == 200

    def test_on_loopback_production_is_open(self, build: Build) -> None:
        house = build('smtp.domain = "example.com"\napi.listen_addr = "127.0.0.1:8080"')
        assert house.get("/messages", key="").status_code == 200

    def test_allow_anonymous_opens_it_to_everybody(self, build: Build) -> None:
        house = build('smtp.domain = "example.com"\napi.allow_anonymous = true')
        assert house.get("/messages", key="").status_code == 200
