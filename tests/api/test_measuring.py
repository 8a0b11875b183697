"""API requests are counted by route, so that no caller can blow up the number of series."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import MAIL, House


def samples(house: House) -> dict[tuple[str, ...], float]:
    page = house.service.metrics.page(datetime.now(UTC)).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_a_request_is_counted_and_timed(house: House) -> None:
    house.send()
    found = samples(house)
    assert found["sendry_api_requests_total", "POST", "/api/v1/send", "202"] == 1
    assert found["sendry_api_request_duration_seconds_count", "POST", "/api/v1/send"] == 1


def test_labels_are_routes_and_never_what_a_caller_wrote(house: House) -> None:
    for number in range(20):
        house.get(f"/status/{number:013}")
        house.get(f"/nothing/{number}")
        house.call(f"VERB{number}", "/messages")
    found = samples(house)
    assert found["sendry_api_requests_total", "GET", "/api/v1/status/<identity>", "404"] == 20
    assert found["sendry_api_requests_total", "GET", "unmatched", "404"] == 20
    assert found["sendry_api_requests_total", "other", "unmatched", "405"] == 20
    assert len([name for name in found if name[0] == "sendry_api_requests_total"]) == 3


def test_errors_are_counted_by_kind(house: House) -> None:
    house.post("/send", json={**MAIL, "to": []})
    house.get("/messages", key="wrong")
    house.get("/status/x")
    house.post("/send", data="x", headers={"Content-Type": "text/plain"})
    house.fill_disk()
    house.post("/send", json=MAIL)
    found = samples(house)
    for kind in ("bad_request", "auth_error", "not_found", "client_error", "server_error"):
        assert found["sendry_api_errors_total", kind] == 1


def test_pages_outside_the_api_are_not_counted(house: House) -> None:
    house.client.get("/health")
    assert not [name for name in samples(house) if name[0] == "sendry_api_requests_total"]
