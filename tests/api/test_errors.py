"""Whatever goes wrong, the answer has the one shape, and tells a stranger nothing about the inside."""

from __future__ import annotations

import logging

import pytest
from flask import Response
from werkzeug.exceptions import Forbidden
from werkzeug.test import TestResponse

from sendry.api.errors import ApiError, FieldFault, error_response, invalid
from tests.api.conftest import MAIL, House, body


def is_error(answer: Response | TestResponse, status: int, code: str) -> bool:
    found = answer.get_json()
    assert set(found) == {"error", "code", "details"}
    assert answer.content_type == "application/json"
    assert found["error"].endswith(".")
    return (answer.status_code, found["code"]) == (status, code)


def test_an_unknown_address(house: House) -> None:
    assert is_error(house.get("/nothing/here"), 404, "not_found")


@pytest.mark.parametrize(("method", "path"), [("GET", "/send"), ("PUT", "/messages"), ("DELETE", "/status/x")])
def test_a_wrong_method_names_the_right_ones(house: House, method: str, path: str) -> None:
    answer = house.call(method, path)
    assert is_error(answer, 405, "method_not_allowed")
    assert method not in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/status/x", "/messages/x", "/messages/0000000000000", "/messages/x/raw", "/dlq/x"])
def test_an_unknown_id(house: House, path: str) -> None:
    assert is_error(house.get(path), 404, "not_found")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=%D9%A3", "cursor=x", "status=sent", "since=yesterday",
     "since=2026-03-01T00:00:00", "until=2026-99-01T00:00:00Z", "offset=5", "tag=a&tag=b", "subject=%00"],
)  # fmt: skip
def test_a_wrong_parameter(house: House, query: str) -> None:
    answer = house.get(f"/messages?{query}")
    assert is_error(answer, 400, "validation_failed")
    assert [fault["field"] for fault in body(answer)["details"]] == [query.partition("=")[0]]


def test_all_wrong_parameters_at_once(house: House) -> None:
    answer = house.get("/messages?limit=0&status=sent&ofset=5")
    assert {fault["field"] for fault in body(answer)["details"]} == {"limit", "status", "ofset"}


def test_a_body_where_none_belongs(house: House) -> None:
    identity = house.send()
    assert is_error(house.post(f"/messages/{identity}/cancel", json={"why": "because"}), 400, "bad_request")
    assert house.post(f"/messages/{identity}/cancel", json={}).status_code == 200


def test_a_failing_database_is_503_with_retry_after(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.fill_disk()
    with caplog.at_level(logging.ERROR):
        answer = house.post("/send", json=MAIL)
    assert is_error(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert "disk is full" not in body(answer)["error"]
    assert "storage failed" in caplog.text


def test_a_surprise_is_500_and_told_in_the_log_only(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with house.client.application.app_context(), caplog.at_level(logging.ERROR):
        answer = error_response(RuntimeError("secret inside"))
    assert answer.status_code == 500
    assert "secret inside" not in answer.get_data(as_text=True)
    assert "secret inside" in caplog.text


def test_a_refusal_of_the_application_keeps_its_own_sentence() -> None:
    answer = error_response(Forbidden("Your address may not use this."))
    assert is_error(answer, 403, "forbidden")
    assert answer.get_json()["error"] == "Your address may not use this."


def test_a_question_ends_without_a_full_stop() -> None:
    assert invalid([FieldFault("form", "is not known; did you mean from?")]).sentence.endswith("mean from?")


def test_text_goes_out_as_it_is() -> None:
    answer = error_response(ApiError(409, "in_flight", "«Да».", [FieldFault("a", "ы")], {"X-A": "1"}))
    assert answer.get_json() == {
        "error": "«Да».",
        "code": "in_flight",
        "details": [{"field": "a", "message": "ы"}],
    }
    assert answer.headers["X-A"] == "1"


def test_a_sentence_is_made_of_the_first_faults() -> None:
    error = invalid([FieldFault("to", "is required"), FieldFault("body", "is required")])
    assert error.sentence == "The request is not valid: to is required; body is required."
