"""Following messages: status, lists, history, octets, cancelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sendry.store.ids import from_text
from tests.api.conftest import House, body


def number(identity: str) -> int:
    found = from_text(identity)
    assert found is not None
    return found


def ids(house: House, query: str = "") -> list[str]:
    return [item["id"] for item in body(house.get(f"/messages{query}"))["items"]]


class TestStatus:
    def test_of_a_mail_that_waits(self, house: House) -> None:
        identity = house.send(to=["b@example.net"], bcc=["c@example.net"])
        status = body(house.get(f"/status/{identity}"))
        assert status["id"] == identity
        assert status["status"] == "pending"
        assert status["from"] == "a@example.com"
        assert status["to"] == ["b@example.net", "c@example.net"]
        assert (status["retry_count"], status["last_error"]) == (0, None)
        assert [recipient["status"] for recipient in status["recipients"]] == ["pending", "pending"]
        assert status["recipients"][0]["last_code"] is None
        assert datetime.fromisoformat(status["created_at"]).tzinfo is not None

    def test_while_it_is_sent(self, house: House) -> None:
        identity = house.send()
        house.claim()
        assert body(house.get(f"/status/{identity}"))["status"] == "sending"

    def test_after_a_temporary_failure(self, house: House) -> None:
        identity = house.send()
        house.end("deferred", 451, "4.7.1 Try later")
        status = body(house.get(f"/status/{identity}"))
        (recipient,) = status["recipients"]
        assert status["status"] == recipient["status"] == "deferred"
        assert status["last_error"] == "451 4.7.1 Try later"
        assert (recipient["attempts"], recipient["last_code"]) == (1, 451)
        assert recipient["last_response"] == "4.7.1 Try later"
        assert datetime.fromisoformat(recipient["next_attempt_at"]) > datetime.now(UTC)

    def test_of_recipients_that_fared_differently(self, house: House) -> None:
        identity = house.send(to=["b@example.net", "c@example.net"])
        house.end("delivered", 250, "OK", number=1)
        house.end("failed", 550, "No such user")
        status = body(house.get(f"/status/{identity}"))
        assert status["status"] == "failed"
        assert [recipient["status"] for recipient in status["recipients"]] == ["delivered", "failed"]

    def test_is_found_whatever_the_case_of_the_id(self, house: House) -> None:
        identity = house.send()
        assert body(house.get(f"/status/{identity.upper()}"))["id"] == identity


class TestTheList:
    def test_is_newest_first_and_goes_on_by_cursor(self, house: House) -> None:
        sent = [house.send(subject=str(number)) for number in range(5)]
        first = body(house.get("/messages?limit=2"))
        second = body(house.get(f"/messages?limit=2&cursor={first['next_cursor']}"))
        third = body(house.get(f"/messages?limit=2&cursor={second['next_cursor']}"))
        assert [item["id"] for page in (first, second, third) for item in page["items"]] == sent[::-1]
        assert first["total"] == 5
        assert third["next_cursor"] is None

    def test_shows_what_a_person_looks_for(self, house: House) -> None:
        house.send(subject="Привет", tags=["t"], metadata={"k": "v"})
        (item,) = body(house.get("/messages"))["items"]
        assert item["subject"] == "Привет"
        assert item["to"] == ["b@example.net"]
        assert (item["tags"], item["metadata"]) == (["t"], {"k": "v"})
        assert item["message_id"].endswith("@example.com")
        assert (item["mode"], item["domain"], item["recipient_count"]) == ("production", "example.com", 1)

    @pytest.mark.parametrize(
        ("query", "fields"),
        [
            ("?subject=PRIVET", {"subject": "privet, world"}),
            ("?subject=ПРИВЕТ", {"subject": "Привет"}),
            ("?tag=welcome", {"tags": ["welcome", "x"]}),
            ("?address=z@example.net", {"to": ["y@example.net", "z@example.net"]}),
            ("?address=boss@example.com", {"from": "boss@example.com"}),
            ("?domain=SANDBOX.example", {"from": "a@sandbox.example"}),
            ("?status=delivered", {"from": "a@sandbox.example"}),
        ],
    )
    def test_is_narrowed_by_what_is_asked(self, house: House, query: str, fields: dict[str, Any]) -> None:
        house.send()
        wanted = house.send(**fields)
        house.send()
        assert ids(house, query) == [wanted]

    def test_is_narrowed_to_a_time(self, house: House) -> None:
        identity = house.send()
        created = datetime.fromisoformat(body(house.get(f"/status/{identity}"))["created_at"])
        before, after = created - timedelta(seconds=5), created + timedelta(seconds=5)
        zone = "%2B00:00"
        assert ids(house, f"?since={before.isoformat()[:19]}{zone}&until={after.isoformat()[:19]}{zone}") == [
            identity
        ]
        assert ids(house, f"?since={after.isoformat()[:19]}Z") == []
        assert ids(house, f"?until={before.isoformat()[:19]}+00:00") == []

    def test_of_nothing_is_empty(self, house: House) -> None:
        assert body(house.get("/messages")) == {"items": [], "total": 0, "next_cursor": None}


class TestOneMessage:
    def test_tells_its_history_oldest_first(self, house: House) -> None:
        identity = house.send()
        house.end("deferred", 451, "Try later")
        house.service.queue.retry(number(identity), datetime.now(UTC)).result()
        house.end("delivered", 250, "OK")
        history = body(house.get(f"/messages/{identity}/events"))
        assert [event["type"] for event in history["items"]] == ["accepted", "deferred", "retried", "delivered"]
        deferred = history["items"][1]
        assert deferred["recipient"] == "b@example.net"
        assert deferred["attempt"]["host"] == "mx.example.net"
        assert (deferred["attempt"]["code"], deferred["attempt"]["response"]) == (451, "Try later")
        assert datetime.fromisoformat(deferred["detail"]["next_attempt_at"])
        assert history["total"] == 4

    def test_is_served_raw_as_a_download(self, house: House) -> None:
        identity = house.send()
        answer = house.get(f"/messages/{identity}/raw")
        assert answer.content_type == "message/rfc822"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{identity}.eml"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.content_length == len(answer.data)

    def test_raw_is_503_when_its_file_is_gone(self, house: House) -> None:
        identity = house.send(html=("y" * 70 + "\n") * 5000)
        for file in house.service.store.spool.folder.iterdir():
            file.unlink()
        assert house.get(f"/messages/{identity}").status_code == 200
        assert house.get(f"/messages/{identity}/raw").status_code == 503


class TestCancelling:
    def test_stops_what_waits(self, house: House) -> None:
        identity = house.send(to=["b@example.net", "c@example.net"])
        answer = body(house.post(f"/messages/{identity}/cancel"))
        assert (answer["status"], answer["cancelled"]) == ("cancelled", 2)
        assert house.claim() == []

    def test_leaves_what_is_done(self, house: House) -> None:
        identity = house.send(to=["b@example.net", "c@example.net"])
        house.end("delivered", 250, "OK", number=1)
        answer = body(house.post(f"/messages/{identity}/cancel"))
        assert answer["cancelled"] == 1
        assert [recipient["status"] for recipient in answer["recipients"]] == ["delivered", "cancelled"]

    def test_comes_too_late_for_what_is_being_sent(self, house: House) -> None:
        identity = house.send()
        house.claim()
        answer = house.post(f"/messages/{identity}/cancel")
        assert (answer.status_code, body(answer)["code"]) == (409, "nothing_waits")

    def test_of_an_unknown_message_is_404(self, house: House) -> None:
        assert house.post("/messages/0000000000000/cancel").status_code == 404
