"""Requests: every fault is named with its field, in words that say what is allowed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendry.api.errors import ApiError
from sendry.api.reading import path_of, read, read_batch
from sendry.api.schema import MOST_IN_BATCH, SendRequest
from sendry.mail.address import Mailbox

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MAIL: dict[str, Any] = {"from": "a@example.com", "to": ["b@example.net"], "body": "Hello"}


def sent(**fields: Any) -> SendRequest:
    return read(SendRequest, json.dumps({**MAIL, **fields}).encode(), NOW)


def refused(body: bytes | dict[str, Any]) -> ApiError:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ApiError) as caught:
        read(SendRequest, octets, NOW)
    return caught.value


def faults(**fields: Any) -> dict[str, str]:
    error = refused({**MAIL, **fields})
    assert error.status == 400
    return {fault.field: fault.message for fault in error.details}


class TestAMail:
    def test_comes_out_with_its_types(self) -> None:
        mail = sent(
            cc=["Ann <ann@EXAMPLE.net>"],
            reply_to="desk@example.com",
            attachments=[{"filename": "a.txt", "content": "aGk=", "content_type": "text/plain"}],
            send_at="2026-03-01T16:00:00+03:00",
            tags=["welcome"],
            metadata={"order": "17"},
        )
        assert mail.sender == Mailbox("", "a@example.com")
        assert mail.cc == [Mailbox("Ann", "ann@example.net")]
        assert mail.reply_to == Mailbox("", "desk@example.com")
        assert mail.attachments is not None
        assert mail.attachments[0].content == b"hi"
        assert mail.send_at == NOW + timedelta(hours=1)
        assert mail.metadata == {"order": "17"}

    @pytest.mark.parametrize(
        "name", ["from", "cc", "bcc", "reply_to", "subject", "html", "headers", "attachments", "send_at", "tags"]
    )
    def test_takes_null_for_a_field_left_out(self, name: str) -> None:
        assert sent(**{name: None}).to == [Mailbox("", "b@example.net")]

    def test_names_all_faults_at_once(self) -> None:
        found = faults(
            to=["b@example.net", "nobody"],
            subject="a\nBcc: c@example.net",
            attachments=[{"filename": "x", "content": "%%"}, {"filename": "y"}],
            metadata={"n": 1},
            tmeplate="x",
        )
        assert set(found) == {
            "to[1]", "subject", "attachments[0].content", "attachments[1].content", "metadata.n", "tmeplate",
        }  # fmt: skip

    def test_says_in_the_sentence_what_is_wrong(self) -> None:
        error = refused({**MAIL, "to": [], "subject": 1})
        assert error.code == "validation_failed"
        assert error.sentence == "The request is not valid: to must have at least 1 entry; subject must be text."

    def test_shortens_a_long_sentence_but_not_the_details(self) -> None:
        error = refused({**MAIL, **{f"f{number}": 1 for number in range(9)}})
        assert error.sentence.endswith("and 6 more.")
        assert len(error.details) == 9


class TestJson:
    @pytest.mark.parametrize("body", [b"", b"{", b'{"to": ["a"]', b"x", b'{"to": "\xff"}', b'{"to":"\\ud800"}'])
    def test_that_is_broken_is_told_apart(self, body: bytes) -> None:
        error = refused(body)
        assert (error.status, error.code) == (400, "invalid_json")

    @pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"1"])
    def test_that_is_no_object_is_refused(self, body: bytes) -> None:
        error = refused(body)
        assert (error.status, error.code) == (400, "validation_failed")
        assert error.sentence == "The mail must be a JSON object."

    def test_that_is_nested_without_end_is_refused(self) -> None:
        assert refused(b"[" * 100_000).code == "invalid_json"


class TestFields:
    @pytest.mark.parametrize(("wrong", "near"), [("form", "from"), ("attachement", "attachments"), ("text", "")])
    def test_unknown_ones_are_refused_with_the_nearest_known(self, wrong: str, near: str) -> None:
        message = faults(**{wrong: "x"})[wrong]
        assert message.startswith("is not a known field")
        assert ("did you mean" in message) == bool(near)
        assert near in message

    def test_unknown_ones_of_an_attachment_are_compared_with_its_own(self) -> None:
        found = faults(attachments=[{"filename": "a", "content": "", "contentid": "x"}])
        assert found["attachments[0].contentid"] == "is not a known field; did you mean content_id?"

    @pytest.mark.parametrize(
        ("name", "value"),
        [("template_id", "t1"), ("template_name", "welcome"), ("data", {"a": 1}), ("track_opens", True)],
    )
    def test_of_a_later_release_are_refused_by_name(self, name: str, value: Any) -> None:
        error = refused({**MAIL, name: value})
        assert error.code == "not_yet_available"
        assert name in error.sentence
        assert [fault.field for fault in error.details] == [name]

    @pytest.mark.parametrize("name", ["track_opens", "track_clicks"])
    def test_that_ask_for_nothing_are_taken(self, name: str) -> None:
        assert sent(**{name: False})

    def test_a_missing_content_is_named_beside_other_faults(self) -> None:
        error = refused({"from": "a@example.com", "to": []})
        assert {fault.field for fault in error.details} == {"to", "body"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("to", "b@example.net"), ("to", None), ("to", [1]), ("subject", 5), ("headers", ["a"]),
            ("attachments", {}), ("tags", "x"), ("metadata", []), ("from", ["a@example.com"]), ("body", {}),
        ],
    )  # fmt: skip
    def test_of_the_wrong_type_are_refused(self, name: str, value: Any) -> None:
        (path,) = faults(**{name: value})
        assert path.startswith(name)

    @pytest.mark.parametrize("address", ["", "b", "b@", "@c", "b@c d.net", "b@c.net\r\nBcc: d@e.f", "a b@c.net"])
    def test_addresses_that_no_mail_can_go_to_are_refused(self, address: str) -> None:
        assert faults(to=["b@example.net", address])["to[1]"]

    @pytest.mark.parametrize("subject", ["a\nb", "a\rb", "a\0b", "a\x1bb", "a\u2028b", "x" * 2001])
    def test_a_subject_is_one_line(self, subject: str) -> None:
        assert "subject" in faults(subject=subject)

    def test_a_subject_may_have_any_other_character(self) -> None:
        assert sent(subject="Привет 👋🏽 \u200d{why} ümlaut").subject == "Привет 👋🏽 \u200d{why} ümlaut"


class TestHeaders:
    @pytest.mark.parametrize(
        "name",
        ["From", "to", "BCC", "Subject", "Date", "Message-ID", "Sender", "Return-Path", "Received", "DKIM-Signature",
         "MIME-Version", "Content-Type", "Resent-To", "ARC-Seal", "Reply-To", "X-Sendry-Id"],
    )  # fmt: skip
    def test_that_are_ours_are_refused(self, name: str) -> None:
        assert f"headers.{name}" in faults(headers={name: "x"})

    @pytest.mark.parametrize("name", ["", "a b", "a:b", "a\nb", "é", "x" * 77])
    def test_need_a_name_that_is_one(self, name: str) -> None:
        assert "is no header name" in faults(headers={name: "x"})[f"headers.{name}" if name else "headers."]

    @pytest.mark.parametrize("value", ["a\r\nBcc: x@y.z", "a\nb", "a\0"])
    def test_need_a_value_of_one_line(self, value: str) -> None:
        assert "headers.X-A" in faults(headers={"X-A": value})

    def test_of_ones_own_are_taken(self) -> None:
        own = {"X-Campaign": "spring", "List-Unsubscribe": "<https://example.com/u>", "In-Reply-To": "<a@b>"}
        assert sent(headers=own).headers == own


class TestAttachments:
    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "../etc/passwd", "a\nb", "x" * 256, "ы" * 128])
    def test_need_a_plain_file_name(self, name: str) -> None:
        assert "attachments[0].filename" in faults(attachments=[{"filename": name, "content": ""}])

    @pytest.mark.parametrize("content", ["a", "aGk", "aG k=", "aGk=\n", "aGk=aGk=", "a_b-", "%", "ы"])
    def test_need_strict_base64(self, content: str) -> None:
        assert "attachments[0].content" in faults(attachments=[{"filename": "a", "content": content}])

    @pytest.mark.parametrize(
        "kind", ["", "text", "text/", "text/plain\r\nX: y", "a/b; c", "multipart/mixed", "Message/rfc822"]
    )
    def test_need_a_media_type_that_can_be_attached(self, kind: str) -> None:
        found = faults(attachments=[{"filename": "a", "content": "", "content_type": kind}])
        assert "attachments[0].content_type" in found

    @pytest.mark.parametrize("kind", ["application/pdf", "text/csv; charset=utf-8", 'text/plain; name="a b.txt"'])
    def test_may_have_parameters(self, kind: str) -> None:
        assert sent(attachments=[{"filename": "a", "content": "", "content_type": kind}])

    @pytest.mark.parametrize("identity", ["", "a b", "a>b<", "é", "a\r\nb"])
    def test_need_a_content_id_that_can_be_referred_to(self, identity: str) -> None:
        found = faults(attachments=[{"filename": "a", "content": "", "content_id": identity}])
        assert "attachments[0].content_id" in found


class TestSendAt:
    @pytest.mark.parametrize(
        "moment",
        ["2026-03-01T12:00:00Z", "2026-02-01T12:00:00Z", "2026-05-01T12:00:01Z", "2026-03-02T12:00:00", "tomorrow",
         "2026-13-01T12:00:00Z", "2026-03-02", "2026-03-02T25:00:00Z", "1772366400", "0001-01-01T00:00:00+23:59", ""],
    )  # fmt: skip
    def test_must_be_a_time_with_zone_in_the_next_60_days(self, moment: str) -> None:
        assert "send_at" in faults(send_at=moment)

    @pytest.mark.parametrize(
        "moment", ["2026-03-01T12:00:01Z", "2026-04-30T12:00:00Z", "2026-03-02t00:00:00.5-05:00"]
    )
    def test_is_taken_within_them(self, moment: str) -> None:
        assert sent(send_at=moment).send_at


class TestTagsAndMetadata:
    @pytest.mark.parametrize("tag", ["", " ", "a\nb", "x" * 101])
    def test_a_tag_is_a_short_line(self, tag: str) -> None:
        assert "tags[0]" in faults(tags=[tag])

    def test_there_may_be_twenty_tags(self) -> None:
        assert sent(tags=[str(number) for number in range(20)])
        assert "tags" in faults(tags=[str(number) for number in range(21)])

    @pytest.mark.parametrize("metadata", [{"": "x"}, {"a": "\0"}, {"a": "x" * 9000}, {str(n): "" for n in range(51)}])
    def test_metadata_is_bounded_text(self, metadata: dict[str, str]) -> None:
        assert "metadata" in faults(metadata=metadata)


class TestABatch:
    def batch(self, *mails: Any) -> list[SendRequest | ApiError]:
        return read_batch(json.dumps({"messages": mails}).encode(), NOW)

    def test_of_good_mails_is_all_typed(self) -> None:
        assert all(isinstance(mail, SendRequest) for mail in self.batch(MAIL, MAIL))

    def test_keeps_the_good_ones_beside_the_bad(self) -> None:
        good, bad, none, late = self.batch(MAIL, {**MAIL, "to": ["x"], "subjcet": ""}, 5, {**MAIL, "html": "<p>ы"})
        assert isinstance(good, SendRequest)
        assert isinstance(bad, ApiError)
        assert [fault.field for fault in bad.details] == ["to[0]", "subjcet"]
        assert bad.details[1].message == "is not a known field; did you mean subject?"
        assert isinstance(none, ApiError)
        assert none.sentence == "The mail must be a JSON object."
        assert isinstance(late, SendRequest)
        assert late.html == "<p>ы"

    @pytest.mark.parametrize(
        "body", [{}, {"messages": []}, {"messages": {}}, {"messages": [MAIL], "x": 1}, [], {"messages": None}]
    )
    def test_that_is_none_is_refused_as_a_whole(self, body: Any) -> None:
        with pytest.raises(ApiError) as caught:
            read_batch(json.dumps(body).encode(), NOW)
        assert caught.value.status == 400

    def test_takes_a_thousand_and_no_more(self) -> None:
        assert len(self.batch(*[MAIL] * MOST_IN_BATCH)) == 1000
        with pytest.raises(ApiError) as caught:
            self.batch(*[MAIL] * (MOST_IN_BATCH + 1))
        assert caught.value.details[0].message == "may have at most 1000 entries"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = [field.alias or name for name, field in SendRequest.model_fields.items()]


class TestHostileInput:
    @settings(deadline=None)
    @given(fields=st.dictionaries(st.sampled_from(NAMES), ANY_JSON))
    def test_is_either_typed_or_refused_with_fields_it_has(self, fields: dict[str, Any]) -> None:
        mail = {**MAIL, **fields}
        error: ApiError | None = None
        try:
            read(SendRequest, json.dumps(mail, ensure_ascii=True).encode(), NOW)
        except ApiError as found:
            error = found
        if error is not None:
            assert error.status == 400
            assert error.code == "invalid_json" or error.details
            json.dumps(error.body())

    @settings(deadline=None)
    @given(body=st.binary(max_size=200))
    def test_of_any_octets_never_ends_otherwise(self, body: bytes) -> None:
        with pytest.raises(ApiError) as caught:
            read(SendRequest, body, NOW)
        assert caught.value.status == 400


def test_a_path_reads_as_in_javascript() -> None:
    assert path_of(("attachments", 0, "content")) == "attachments[0].content"
    assert path_of(("headers", "X-A", "[key]")) == "headers.X-A"
    assert path_of(()) == ""
