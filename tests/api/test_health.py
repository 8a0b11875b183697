"""Health: what a load balancer asks without a key. Lives in `sendry.public`; wants the rooms of the API."""

from __future__ import annotations

import logging

import pytest

from sendry import __version__
from sendry.delivery.workers import DeliveryLoop
from tests.api.conftest import House, body


@pytest.mark.parametrize("path", ["/health", "/api/v1/health"])
def test_tells_figures_without_a_key(house: House, path: str) -> None:
    house.send()
    answer = house.client.get(path)
    found = body(answer)
    assert answer.status_code == 200
    assert set(found) == {"status", "version", "uptime", "queue"}
    assert (found["status"], found["version"]) == ("ok", __version__)
    assert found["uptime"] >= 0
    assert found["queue"] == {"pending": 1, "sending": 0, "delivered": 0, "failed": 0, "deferred": 0, "total": 1}


def test_is_503_when_the_database_does_not_answer(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.service.store.writer.call(lambda tx: tx.execute("ALTER TABLE counter RENAME TO away")).result()
    with caplog.at_level(logging.ERROR):
        answer = house.client.get("/health")
    assert (answer.status_code, body(answer)["status"], body(answer)["down"]) == (503, "error", ["database"])
    house.service.store.writer.call(lambda tx: tx.execute("ALTER TABLE away RENAME TO counter")).result()


def test_is_not_kept_by_anybody_between(house: House) -> None:
    assert house.client.get("/health").headers["Cache-Control"] == "no-store"


def test_is_503_when_listeners_or_delivery_have_ended(house: House) -> None:
    service = house.service
    service.delivery = DeliveryLoop(service.config, service.queue, service.directory, service.intake)
    assert body(house.client.get("/health"))["down"] == ["delivery"]
    service.delivery.start()
    assert house.client.get("/health").status_code == 200
    service.delivery.stop(1)
    answer = house.client.get("/health")
    assert (answer.status_code, body(answer)["down"]) == (503, ["delivery"])
