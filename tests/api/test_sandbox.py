"""Captured mail through the API: what a stranger sent is shown, and never run."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote

import pytest
from werkzeug.test import TestResponse

from tests.api.conftest import House, body

PICTURE = {"filename": "logo.png", "content": base64.b64encode(b"\x89PNG").decode(), "content_id": "logo"}
HOSTILE = (
    b'From: "<script>" <x@sandbox.example>\r\nSubject: =?utf-8?b?PHNjcmlwdD4=?=\r\nMIME-Version: 1.0\r\n'
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n<script>alert(1)</script>\r\n"
    b'--b\r\nContent-Type: text/html; name="evil.html"\r\n'
    b'Content-Disposition: attachment; filename="../../e\\"vil\r\n .html"\r\n\r\n<script>alert(2)</script>\r\n'
    b"--b\r\nContent-Type: image/svg+xml\r\n"
    b"Content-Disposition: attachment; filename*=utf-8''%D1%8B%0D%0AX-Evil:1.svg\r\n"
    b"\r\n<svg onload=alert(3)>\r\n--b--\r\n"
)


def captured(house: House, **fields: Any) -> str:
    return house.send(**{"from": "Ann <a@sandbox.example>", **fields})


def one(house: House, identity: str) -> dict[str, Any]:
    return body(house.get(f"/sandbox/messages/{identity}"))


def is_harmless(answer: TestResponse) -> bool:
    return (
        answer.headers["Content-Disposition"].startswith("attachment; filename=")
        and answer.headers["X-Content-Type-Options"] == "nosniff"
        and "sandbox" in answer.headers["Content-Security-Policy"]
        and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    )


class TestTheList:
    def test_shows_captured_mail_newest_first(self, house: House) -> None:
        house.send()  # in production: not here
        first = captured(house, subject="Your code", body="Your code is 482913. Go to https://example.com/x")
        second = captured(house, html="<p>Hi</p>", body=None, attachments=[{"filename": "a.txt", "content": "aGk="}])
        page = body(house.get("/sandbox/messages"))
        assert [item["id"] for item in page["items"]] == [second, first]
        assert (page["total"], page["next_cursor"]) == (2, None)
        newer, older = page["items"]
        assert (older["code"], older["link_count"], older["attachment_count"]) == ("482913", 1, 0)
        assert older["preview"].startswith("Your code is 482913")
        assert (newer["code"], newer["attachment_count"], newer["preview"]) == (None, 1, "Hi")
        assert (newer["from"], newer["header_from"]) == ("a@sandbox.example", "Ann <a@sandbox.example>")
        assert (newer["to"], newer["is_read"], newer["mode"]) == (["b@example.net"], False, "sandbox")

    def test_goes_on_by_cursor(self, house: House) -> None:
        sent = [captured(house) for _ in range(3)]
        first = body(house.get("/sandbox/messages?limit=2"))
        second = body(house.get(f"/sandbox/messages?limit=2&cursor={first['next_cursor']}"))
        assert [item["id"] for page in (first, second) for item in page["items"]] == sent[::-1]

    def test_finds_by_words(self, house: House) -> None:
        wanted = captured(house, subject="Счёт на оплату", to=["ivan@example.net"])
        captured(house, subject="Hello")
        found = body(house.get("/sandbox/messages", query_string={"query": "СЧЁТ ivan"}))
        assert [item["id"] for item in found["items"]] == [wanted]

    def test_shows_who_was_meant_where_the_mode_redirects(self, house: House) -> None:
        captured(house, **{"from": "a@redirect.example"})
        (item,) = body(house.get("/sandbox/messages"))["items"]
        assert (item["to"], item["original_to"]) == (["qa@example.com"], ["b@example.net"])

    def test_refuses_an_unknown_parameter_rather_than_delete_everything(self, house: House) -> None:
        captured(house)
        assert house.delete("/sandbox/messages?qeury=x").status_code == 400
        assert len(body(house.get("/sandbox/messages"))["items"]) == 1


class TestOneMail:
    def test_has_headers_bodies_files_codes_and_links(self, house: House) -> None:
        identity = captured(
            house,
            subject="Привет",
            headers={"X-Campaign": "spring"},
            body="Code: 482913, see https://example.com/a",
            html='<p>Code: <b>482913</b> <a href="https://example.com/b">go</a> <img src="cid:logo"></p>',
            attachments=[PICTURE, {"filename": "счёт.pdf", "content": base64.b64encode(b"%PDF-1").decode()}],
        )
        mail = one(house, identity)
        assert mail["headers"]["Subject"] == "Привет"
        assert mail["headers"]["X-Campaign"] == "spring"
        assert mail["header_fields"][0] == {"name": "From", "value": "Ann <a@sandbox.example>"}
        assert mail["body"].startswith("Code: 482913")
        assert "cid:logo" in mail["html"]
        assert mail["codes"] == ["482913"]
        assert mail["links"] == ["https://example.com/b", "https://example.com/a"]
        (file,) = mail["attachments"]
        assert (file["n"], file["filename"], file["content_type"], file["size"]) == (
            0,
            "счёт.pdf",
            "application/pdf",
            6,
        )
        assert {part["content_type"] for part in mail["parts"]} == {
            "text/plain", "text/html", "image/png", "application/pdf",
        }  # fmt: skip

    def test_is_not_marked_as_read_by_reading_it_here(self, house: House) -> None:
        identity = captured(house)
        assert one(house, identity)["is_read"] is False
        assert one(house, identity)["is_read"] is False

    def test_gives_out_its_files_and_parts_by_their_addresses(self, house: House) -> None:
        identity = captured(house, html="<p>", attachments=[PICTURE, {"filename": "a.txt", "content": "aGk="}])
        mail = one(house, identity)
        (file,) = mail["attachments"]
        answer = house.client.get(file["url"], headers={"X-API-Key": "correct horse battery staple"})
        assert (answer.data, answer.content_type, is_harmless(answer)) == (b"hi", "text/plain", True)
        logo = next(part for part in mail["parts"] if part["content_id"] == "logo")
        answer = house.get(f"/sandbox/messages/{identity}/parts/{logo['n']}")
        assert (answer.data, answer.content_type, is_harmless(answer)) == (b"\x89PNG", "image/png", True)

    def test_is_served_raw_as_it_came(self, house: House) -> None:
        identity = house.take(HOSTILE)
        answer = house.get(f"/sandbox/messages/{identity}/raw")
        assert answer.data == HOSTILE
        assert answer.content_type == "message/rfc822"
        assert is_harmless(answer)

    @pytest.mark.parametrize("place", [0, 1])
    def test_whatever_a_stranger_attached_goes_out_as_a_harmless_download(self, house: House, place: int) -> None:
        identity = house.take(HOSTILE)
        answer = house.get(f"/sandbox/messages/{identity}/attachments/{place}")
        assert answer.status_code == 200
        assert is_harmless(answer)
        assert "X-Evil" not in answer.headers
        name = unquote(answer.headers["Content-Disposition"].partition("filename*=UTF-8''")[2])
        assert not set(name) & set('/\\\r\n"')

    @pytest.mark.parametrize("path", ["attachments/9", "parts/99", "parts/-1", "attachments/x"])
    def test_has_no_other_files(self, house: House, path: str) -> None:
        assert house.get(f"/sandbox/messages/{captured(house)}/{path}").status_code == 404

    @pytest.mark.parametrize("path", ["", "/raw", "/attachments/0", "/parts/0"])
    def test_that_was_not_captured_is_404(self, house: House, path: str) -> None:
        for identity in (house.send(), "0000000000000", "x"):
            assert house.get(f"/sandbox/messages/{identity}{path}").status_code == 404


class TestDeleting:
    def test_takes_one(self, house: House) -> None:
        first, second = captured(house), captured(house)
        assert house.delete(f"/sandbox/messages/{first}").status_code == 204
        assert house.delete(f"/sandbox/messages/{first}").status_code == 404
        assert [item["id"] for item in body(house.get("/sandbox/messages"))["items"]] == [second]

    def test_takes_all(self, house: House) -> None:
        for _ in range(3):
            captured(house)
        assert body(house.delete("/sandbox/messages")) == {"deleted": 3}
        assert body(house.get("/sandbox/stats"))["total"] == 0

    def test_takes_what_a_query_finds(self, house: House) -> None:
        captured(house, subject="old one")
        kept = captured(house, subject="new one")
        assert body(house.delete("/sandbox/messages", query_string={"query": "OLD"})) == {"deleted": 1}
        assert [item["id"] for item in body(house.get("/sandbox/messages"))["items"]] == [kept]

    def test_spares_mail_that_was_never_captured(self, house: House) -> None:
        identity = house.send()
        assert house.delete(f"/sandbox/messages/{identity}").status_code == 404
        house.delete("/sandbox/messages")
        assert house.get(f"/status/{identity}").status_code == 200

    def test_of_redirected_mail_leaves_its_delivery(self, house: House) -> None:
        identity = captured(house, **{"from": "a@redirect.example"})
        assert house.delete(f"/sandbox/messages/{identity}").status_code == 204
        assert [work.address for work in house.claim()] == ["qa@example.com"]


def test_stats_tell_how_much_there_is(house: House) -> None:
    captured(house)
    captured(house, **{"from": "a@redirect.example"})
    stats = body(house.get("/sandbox/stats"))
    assert (stats["total"], stats["unread"]) == (2, 2)
    assert stats["by_domain"] == {"sandbox.example": 1, "redirect.example": 1}
    assert stats["by_mode"] == {"sandbox": 1, "redirect": 1}
    assert stats["total_size"] > 300
    assert stats["oldest_at"] <= stats["newest_at"]
