"""The queue and the dead-letter queue through the API."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.api.conftest import House, body

NOBODY = "0000000000000"


class TestTheQueue:
    def test_lists_what_is_not_finished_with_the_sums_of_all(self, house: House) -> None:
        house.send()
        house.end("delivered", 250, "OK")
        house.send(subject="later")
        house.end("deferred", 451, "Try later")
        house.send(subject="now")
        queue = body(house.get("/queue"))
        assert [message["subject"] for message in queue["messages"]] == ["now", "later"]
        assert queue["stats"] == {
            "pending": 1, "sending": 0, "delivered": 1, "failed": 0, "deferred": 1, "total": 3,
        }  # fmt: skip
        assert (queue["total"], queue["next_cursor"]) == (2, None)

    def test_goes_on_by_cursor(self, house: House) -> None:
        for _ in range(3):
            house.send()
        first = body(house.get("/queue?limit=2"))
        second = body(house.get(f"/queue?limit=2&cursor={first['next_cursor']}"))
        assert len({message["id"] for page in (first, second) for message in page["messages"]}) == 3

    def test_lets_go_of_what_waits(self, house: House) -> None:
        identity = house.send()
        answer = house.delete(f"/queue/{identity}")
        assert (answer.status_code, answer.data) == (204, b"")
        assert house.claim() == []
        assert house.get(f"/status/{identity}").status_code == 404
        assert body(house.get("/queue"))["stats"]["total"] == 0

    def test_does_not_let_go_of_what_is_being_sent(self, house: House) -> None:
        identity = house.send()
        house.claim()
        answer = house.delete(f"/queue/{identity}")
        assert (answer.status_code, body(answer)["code"]) == (409, "in_flight")
        assert house.get(f"/status/{identity}").status_code == 200

    def test_knows_nothing_of_what_is_done_or_never_was(self, house: House) -> None:
        identity = house.send()
        house.end("delivered", 250, "OK")
        assert house.delete(f"/queue/{identity}").status_code == 404
        assert house.get(f"/status/{identity}").status_code == 200
        assert house.delete(f"/queue/{NOBODY}").status_code == 404


class TestDeadLetters:
    def dead(self, house: House, number: int = 1) -> list[str]:
        identities = [house.send(subject=str(each)) for each in range(number)]
        house.end("failed", 550, "No such user")
        return identities

    def test_are_listed_newest_first_with_their_figures(self, house: House) -> None:
        identities = self.dead(house, 3)
        dlq = body(house.get("/dlq?limit=2"))
        assert [message["id"] for message in dlq["messages"]] == identities[:0:-1]
        assert dlq["messages"][0]["last_error"] == "550 No such user"
        assert dlq["stats"]["count"] == 3
        assert datetime.fromisoformat(dlq["stats"]["oldest_at"]) <= datetime.fromisoformat(dlq["stats"]["newest_at"])
        rest = body(house.get(f"/dlq?cursor={dlq['next_cursor']}"))
        assert [message["id"] for message in rest["messages"]] == identities[:1]

    def test_of_none_have_no_times(self, house: House) -> None:
        assert body(house.get("/dlq"))["stats"] == {"count": 0, "oldest_at": None, "newest_at": None}

    def test_are_shown_one_by_one(self, house: House) -> None:
        (identity,) = self.dead(house)
        letter = body(house.get(f"/dlq/{identity}"))
        assert letter["recipients"][0]["last_response"] == "No such user"
        assert letter["is_dead"] is True

    def test_are_sent_again_one_by_one(self, house: House) -> None:
        first, second = self.dead(house, 2)
        answer = body(house.post(f"/dlq/{first}/retry"))
        assert (answer["id"], answer["status"], answer["retried"]) == (first, "pending", 1)
        assert len(house.claim()) == 1
        assert [message["id"] for message in body(house.get("/dlq"))["messages"]] == [second]

    def test_are_sent_again_all_at_once(self, house: House) -> None:
        self.dead(house, 3)
        assert body(house.post("/dlq/retry")) == {"retried": 3, "recipients": 3}
        assert len(house.claim()) == 3
        assert body(house.get("/dlq"))["stats"]["count"] == 0
        assert body(house.post("/dlq/retry")) == {"retried": 0, "recipients": 0}

    def test_let_delivered_recipients_alone_when_sent_again(self, house: House) -> None:
        identity = house.send(to=["b@example.net", "c@example.net"])
        house.end("delivered", 250, "OK", number=1)
        house.end("failed", 550, "No such user")
        assert body(house.post(f"/dlq/{identity}/retry"))["retried"] == 1
        assert [work.address for work in house.claim()] == ["c@example.net"]

    def test_are_let_go_but_stay_in_the_history(self, house: House) -> None:
        first, second = self.dead(house, 2)
        assert house.delete(f"/dlq/{first}").status_code == 204
        assert house.get(f"/dlq/{first}").status_code == 404
        assert body(house.get(f"/status/{first}"))["status"] == "failed"
        assert body(house.delete("/dlq")) == {"deleted": 1}
        assert house.get(f"/status/{second}").status_code == 200

    @pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/retry"), ("DELETE", "")])
    def test_that_are_none_are_404(self, house: House, method: str, path: str) -> None:
        alive = house.send()
        for identity in (alive, NOBODY, "x"):
            assert house.call(method, f"/dlq/{identity}{path}").status_code == 404
        assert len(house.claim()) == 1
