"""POST /send and /send/batch: what is answered 202 is on disk, what is not says why."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from sendry.queue.states import Status
from tests.api.conftest import KEY, MAIL, PRODUCTION, Build, House, body


@pytest.fixture
def small(build: Build) -> House:
    """An installation that takes small mails only."""
    return build(PRODUCTION.replace("1_000_000", "2_000"))


class TestSend:
    def test_answers_202_with_an_id_that_can_be_followed(self, house: House) -> None:
        answer = house.post("/send", json=MAIL)
        assert answer.status_code == 202
        assert set(body(answer)) == {"id", "status"}
        assert body(answer)["status"] == "pending"
        assert body(house.get(f"/status/{body(answer)['id']}"))["to"] == ["b@example.net"]

    def test_puts_the_mail_into_the_line(self, house: House) -> None:
        house.send(cc=["c@example.net"], bcc=["d@example.net"])
        work = house.claim()
        assert [item.address for item in work] == ["b@example.net", "c@example.net", "d@example.net"]
        assert {item.sender for item in work} == {"a@example.com"}

    def test_stores_the_octets_that_were_composed(self, house: House) -> None:
        raw = house.get(f"/messages/{house.send(bcc=['secret@example.net'])}/raw").data
        assert raw.startswith(b"From: a@example.com\r\nTo: b@example.net\r\nSubject: Hello\r\n")
        assert raw.endswith(b"\r\n\r\nHello, Bob\r\n")
        assert b"secret" not in raw

    def test_stores_large_mail_whole(self, house: House) -> None:
        content = bytes(range(256)) * 2000
        file = {"filename": "a.bin", "content": base64.b64encode(content).decode()}
        raw = house.get(f"/messages/{house.send(attachments=[file])}/raw")
        assert raw.content_length == len(raw.data)
        assert b"".join(base64.b64encode(content)[:76] for _ in range(1)) in raw.data
        assert house.service.store.spool.folder.exists()

    def test_waits_until_send_at(self, house: House) -> None:
        later = datetime.now(UTC) + timedelta(hours=2)
        identity = house.send(send_at=later.isoformat())
        assert house.claim() == []
        (recipient,) = body(house.get(f"/status/{identity}"))["recipients"]
        assert abs(datetime.fromisoformat(recipient["next_attempt_at"]) - later) < timedelta(milliseconds=2)

    def test_captures_in_the_mode_of_the_sender_domain(self, house: House) -> None:
        identity = house.send(**{"from": "a@sandbox.example"})
        assert body(house.get(f"/status/{identity}"))["status"] == Status.DELIVERED
        assert house.claim() == []
        assert body(house.get(f"/sandbox/messages/{identity}"))["body"] == "Hello, Bob\n"

    def test_keeps_tags_metadata_and_origin(self, house: House) -> None:
        identity = house.send(tags=["welcome", "новый"], metadata={"order": "17"})
        message = body(house.get(f"/messages/{identity}"))
        assert message["tags"] == ["welcome", "новый"]
        assert message["metadata"] == {"order": "17"}
        assert (message["origin"], message["origin_name"], message["client_ip"]) == ("api", "root", "127.0.0.1")

    def test_refuses_a_foreign_sender_domain_with_403(self, house: House) -> None:
        answer = house.post("/send", json={**MAIL, "from": "a@example.net"})
        assert (answer.status_code, body(answer)["code"]) == (403, "domain_not_allowed")
        assert body(answer)["details"][0]["field"] == "from"
        assert body(house.get("/messages"))["items"] == []

    def test_refuses_faulty_fields_with_400(self, house: House) -> None:
        answer = house.post("/send", json={**MAIL, "to": ["x"], "sbject": ""})
        assert (answer.status_code, body(answer)["code"]) == (400, "validation_failed")
        assert [detail["field"] for detail in body(answer)["details"]] == ["to[0]", "sbject"]

    def test_refuses_an_idempotency_key_rather_than_ignore_it(self, house: House) -> None:
        answer = house.post("/send", json=MAIL, headers={"Idempotency-Key": "k1"})
        assert (answer.status_code, body(answer)["code"]) == (400, "not_yet_available")
        assert body(house.get("/messages"))["items"] == []

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
    def test_takes_json_only(self, house: House, kind: str) -> None:
        answer = house.post("/send", data=json.dumps(MAIL), headers={"Content-Type": kind})
        assert (answer.status_code, body(answer)["code"]) == (415, "unsupported_media_type")

    def test_takes_json_with_a_charset(self, house: House) -> None:
        kind = {"Content-Type": "application/json; charset=utf-8"}
        assert house.post("/send", data=json.dumps(MAIL), headers=kind).status_code == 202

    def test_refuses_a_mail_above_the_limit_with_413(self, small: House) -> None:
        answer = small.post("/send", json={**MAIL, "body": "x" * 5000})
        assert (answer.status_code, body(answer)["code"]) == (413, "message_too_large")

    def test_refuses_a_request_above_any_mail_with_413(self, small: House) -> None:
        answer = small.post("/send", json={**MAIL, "body": "x" * 600_000})
        assert (answer.status_code, body(answer)["code"]) == (413, "too_large")

    def test_does_not_believe_a_length_that_was_not_told(self, small: House) -> None:
        octets = json.dumps({**MAIL, "body": "x" * 600_000}).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        environ = create_environ("/api/v1/send", method="POST", headers=headers)
        environ.pop("CONTENT_LENGTH", None)
        environ.update({"wsgi.input": io.BytesIO(octets), "wsgi.input_terminated": True})
        chunks, status, _ = run_wsgi_app(small.client.application, environ)
        assert status.startswith("413 ")
        assert json.loads(b"".join(chunks))["code"] == "too_large"

    def test_says_503_with_retry_after_when_the_database_takes_nothing(self, house: House) -> None:
        house.fill_disk()
        answer = house.post("/send", json=MAIL)
        assert (answer.status_code, body(answer)["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0

    def test_leaves_no_file_when_the_database_takes_nothing(self, house: House) -> None:
        house.fill_disk()
        house.post("/send", json={**MAIL, "html": ("y" * 70 + "\n") * 5000})
        assert list(house.service.store.spool.folder.iterdir()) == []

    def test_a_redirected_mail_is_captured_and_goes_to_the_testers(self, house: House) -> None:
        identity = house.send(**{"from": "a@redirect.example"})
        assert [work.address for work in house.claim()] == ["qa@example.com"]
        assert body(house.get(f"/status/{identity}"))["to"] == ["b@example.net"]


class TestABatch:
    def batch(self, house: House, *mails: Any) -> dict[str, Any]:
        answer = house.post("/send/batch", json={"messages": mails})
        assert answer.status_code == 202, answer.json
        return body(answer)

    def test_answers_for_every_mail_in_order(self, house: House) -> None:
        answer = self.batch(house, MAIL, {**MAIL, "subject": "2"}, {**MAIL, "subject": "3"})
        assert (answer["accepted"], answer["rejected"]) == (3, 0)
        assert [result["index"] for result in answer["results"]] == [0, 1, 2]
        subjects = [body(house.get(f"/messages/{result['id']}"))["subject"] for result in answer["results"]]
        assert subjects == ["Hello", "2", "3"]

    def test_takes_the_good_beside_the_bad(self, house: House) -> None:
        answer = self.batch(house, MAIL, {**MAIL, "to": ["x"]}, {**MAIL, "from": "a@x.example"}, 5, MAIL)
        assert (answer["accepted"], answer["rejected"]) == (2, 3)
        good, faulty, foreign, none, last = answer["results"]
        assert set(good) == {"index", "id", "status"}
        assert faulty["error"].startswith("The request is not valid: to[0] ")
        assert faulty["details"][0]["field"] == "to[0]"
        assert foreign["code"] == "domain_not_allowed"
        assert none["error"] == "The mail must be a JSON object."
        assert last["id"] != good["id"]
        assert len(body(house.get("/messages"))["items"]) == 2

    def test_is_one_transaction(self, house: House) -> None:
        before = house.service.store.writer.commits
        self.batch(house, *[MAIL] * 50)
        assert house.service.store.writer.commits == before + 1

    def test_of_nothing_but_faults_takes_nothing(self, house: House) -> None:
        answer = self.batch(house, {}, {})
        assert (answer["accepted"], answer["rejected"]) == (0, 2)
        assert body(house.get("/messages"))["items"] == []

    def test_takes_a_thousand_and_refuses_one_more(self, house: House) -> None:
        assert self.batch(house, *[MAIL] * 1000)["accepted"] == 1000
        answer = house.post("/send/batch", json={"messages": [MAIL] * 1001})
        assert answer.status_code == 400
        assert body(answer)["details"] == [{"field": "messages", "message": "may have at most 1000 entries"}]

    def test_leaves_no_file_when_the_database_takes_nothing(self, house: House) -> None:
        house.fill_disk()
        large = {**MAIL, "html": ("y" * 70 + "\n") * 5000}
        answer = house.post("/send/batch", json={"messages": [large, large]})
        assert answer.status_code == 503
        assert list(house.service.store.spool.folder.iterdir()) == []
