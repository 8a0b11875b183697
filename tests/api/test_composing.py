"""From a request to an envelope: who gets it, what it says, and what is refused before it goes in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendry.api.composing import Composer
from sendry.api.errors import ApiError
from sendry.api.reading import read
from sendry.api.schema import SendRequest
from sendry.config import Config, loads
from sendry.domains.registry import Directory
from sendry.mail.envelope import Envelope, Origin, OriginKind
from sendry.store.spool import Spool

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ORIGIN = Origin(OriginKind.API, "root", "192.0.2.1", may_relay=True)
MAIL: dict[str, Any] = {"from": "a@example.com", "to": ["b@example.net"], "body": "Hello"}
SETTINGS = """
[smtp]
domain = "example.com"
max_message_bytes = 1_000_000
max_recipients = 4
[api]
api_key = "correct horse battery"
"""


class Desk:
    """A composer with a folder of its own."""

    def __init__(self, folder: Path, toml: str = SETTINGS) -> None:
        config: Config = loads(toml)
        self.spool = Spool(folder / "spool")
        self.composer = Composer(config, Directory(config), self.spool, ORIGIN, NOW)

    def envelope(self, **fields: Any) -> Envelope:
        given = {name: value for name, value in {**MAIL, **fields}.items() if value is not None}
        return self.composer.envelope(read(SendRequest, json.dumps(given).encode(), NOW))

    def refusal(self, **fields: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.envelope(**fields)
        return caught.value

    def message(self, **fields: Any) -> EmailMessage:
        content = self.envelope(**fields).content
        parsed = message_from_bytes(content.head + content.body, policy=default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def recipients(envelope: Envelope) -> list[str]:
    return [addressee.address for addressee in envelope.recipients]


class TestTheEnvelope:
    def test_goes_from_the_bare_address_to_everybody(self, desk: Desk) -> None:
        envelope = desk.envelope(
            **{"from": "Ann <ann@example.com>"},
            to=["Bob <b@example.net>"],
            cc=["c@example.net"],
            bcc=["d@example.net"],
        )
        assert envelope.sender == "ann@example.com"
        assert recipients(envelope) == ["b@example.net", "c@example.net", "d@example.net"]
        assert envelope.origin == ORIGIN

    def test_has_every_address_once_whatever_the_case_of_its_domain(self, desk: Desk) -> None:
        envelope = desk.envelope(
            to=["b@example.net", "Bob <b@EXAMPLE.net>"], cc=["b@Example.Net", "B@example.net"], bcc=["b@example.net"]
        )
        assert recipients(envelope) == ["b@example.net", "B@example.net"]

    def test_carries_tags_metadata_and_schedule(self, desk: Desk) -> None:
        envelope = desk.envelope(tags=["a", "b", "a"], metadata={"k": "v"}, send_at="2026-03-02T00:00:00Z")
        assert envelope.tags == ("a", "b")
        assert envelope.metadata == {"k": "v"}
        assert envelope.send_at == datetime(2026, 3, 2, tzinfo=UTC)

    def test_asks_for_smtputf8_only_where_an_address_needs_it(self, desk: Desk) -> None:
        assert not desk.envelope(to=["Борис <b@example.net>"], subject="Тема").smtputf8
        assert desk.envelope(to=["борис@example.net"]).smtputf8
        assert desk.envelope(bcc=["борис@example.net"]).smtputf8

    def test_writes_an_international_domain_as_a_labels(self, desk: Desk) -> None:
        assert recipients(desk.envelope(to=["b@пример.рф"])) == ["b@xn--e1afmkfd.xn--p1ai"]


class TestTheMessage:
    def test_shows_to_and_cc_but_never_bcc(self, desk: Desk) -> None:
        message = desk.message(to=["Bob <b@example.net>"], cc=["c@example.net"], bcc=["secret@example.net"])
        assert message["To"] == "Bob <b@example.net>"
        assert message["Cc"] == "c@example.net"
        assert message["Bcc"] is None
        assert b"secret" not in message.as_bytes()

    def test_has_all_that_was_given(self, desk: Desk) -> None:
        message = desk.message(
            subject="Привет",
            reply_to="desk@example.com",
            headers={"X-Campaign": "весна"},
            body="Текст",
            html="<p>Текст <img src='cid:logo'></p>",
            attachments=[
                {"filename": "logo.png", "content": base64.b64encode(b"\x89PNG").decode(), "content_id": "logo"},
                {"filename": "счёт.pdf", "content": base64.b64encode(b"%PDF").decode()},
            ],
        )
        assert message["Subject"] == "Привет"
        assert message["Reply-To"] == "desk@example.com"
        assert message["X-Campaign"] == "весна"
        assert message["Message-ID"].endswith("@example.com>")
        assert message["Date"].datetime == NOW
        plain, html = message.get_body(("plain",)), message.get_body(("html",))
        assert plain is not None
        assert html is not None
        assert plain.get_content().strip() == "Текст"
        assert "cid:logo" in html.get_content()
        files = {part.get_filename(): part.get_content_type() for part in message.walk() if part.get_filename()}
        assert files == {"logo.png": "image/png", "счёт.pdf": "application/pdf"}

    def test_ids_never_repeat(self, desk: Desk) -> None:
        assert len({desk.message()["Message-ID"] for _ in range(50)}) == 50

    def test_no_text_in_any_field_adds_a_header(self, desk: Desk) -> None:
        expected = [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"X-A", b"MIME-Version", b"Content-Type",
                    b"Content-Transfer-Encoding"]  # fmt: skip

        @settings(deadline=None)
        @given(text=st.text(max_size=60))
        def check(text: str) -> None:
            named = [f'"{text}" <b@example.net>']
            try:
                envelope = desk.envelope(subject=text, body=text + "x", headers={"X-A": text}, to=named)
            except ApiError:
                return
            lines = envelope.content.head.split(b"\r\n")
            names = [line.partition(b":")[0] for line in lines if line[:1].strip()]
            assert sorted(names) == sorted(expected)

        check()


class TestTheSender:
    @pytest.mark.parametrize("address", ["a@example.com", "a@mail.example.com", "a@EXAMPLE.com"])
    def test_is_of_an_own_domain(self, desk: Desk, address: str) -> None:
        assert desk.envelope(**{"from": address}).sender

    @pytest.mark.parametrize("address", ["a@example.net", "a@notexample.com", "a@com", "a@[192.0.2.1]"])
    def test_of_any_other_domain_is_not_allowed(self, desk: Desk, address: str) -> None:
        error = desk.refusal(**{"from": address})
        assert (error.status, error.code) == (403, "domain_not_allowed")
        assert [fault.field for fault in error.details] == ["from"]

    def test_is_required_where_no_domain_has_a_default(self, desk: Desk) -> None:
        error = desk.refusal(**{"from": None})
        assert (error.status, [fault.field for fault in error.details]) == (400, ["from"])

    def test_is_the_default_of_the_mail_domain_first(self, tmp_path: Path) -> None:
        settings = f"""{SETTINGS}
            [domains."other.example"]
            default_from = "x@other.example"
            [domains."example.com"]
            default_from = "desk@example.com"
            """
        assert Desk(tmp_path, settings).envelope(**{"from": None}).sender == "desk@example.com"

    def test_is_the_default_of_another_domain_else(self, tmp_path: Path) -> None:
        settings = f'{SETTINGS}\n[domains."other.example"]\ndefault_from = "x@other.example"'
        assert Desk(tmp_path, settings).envelope(**{"from": None}).sender == "x@other.example"


class TestLimits:
    def test_recipients_are_counted_over_all_lists_without_repeats(self, desk: Desk) -> None:
        four = {"to": ["b@x.example", "c@x.example"], "cc": ["d@x.example", "b@x.example"], "bcc": ["e@x.example"]}
        assert len(desk.envelope(**four).recipients) == 4
        error = desk.refusal(**{**four, "bcc": ["e@x.example", "f@x.example"]})
        assert (error.status, error.details[0].field) == (400, "to")
        assert "4 are allowed" in error.details[0].message

    def test_routed_addresses_are_refused_each_by_its_place(self, desk: Desk) -> None:
        error = desk.refusal(to=["b@example.net", "b%x.example@example.net"], bcc=["x.example!b@example.net"])
        assert [fault.field for fault in error.details] == ["to[1]", "bcc[0]"]

    def test_a_mail_above_the_limit_is_413(self, desk: Desk) -> None:
        error = desk.refusal(body="x" * 900_000, html="y" * 200_000)
        assert (error.status, error.code) == (413, "message_too_large")
        assert "1000000 are allowed" in error.sentence

    @pytest.mark.parametrize("empty", [{}, {"body": ""}, {"body": "", "html": ""}, {"attachments": []}])
    def test_a_mail_with_nothing_in_it_is_refused(self, desk: Desk, empty: dict[str, Any]) -> None:
        error = desk.refusal(**{"body": None, **empty})
        assert [fault.field for fault in error.details] == ["body"]

    def test_an_attachment_alone_is_content(self, desk: Desk) -> None:
        assert desk.envelope(body=None, attachments=[{"filename": "a", "content": "aGk="}])


class TestLargeContent:
    def test_is_in_a_file_when_the_envelope_names_it(self, desk: Desk) -> None:
        content = desk.envelope(body="x" * 70 + "\n" * 1, html=("y" * 70 + "\n") * 5000).content
        assert content.body == b""
        assert content.spool
        octets = b"".join(desk.spool.chunks(content.spool, content.spool_offset))
        assert len(octets) == content.spool_size
        assert octets.count(b"y" * 70) == 5000

    def test_is_gone_again_when_the_mail_was_not_taken(self, desk: Desk) -> None:
        desk.envelope(html=("y" * 70 + "\n") * 5000)
        assert list(desk.spool.folder.iterdir())
        desk.composer.discard()
        assert not list(desk.spool.folder.iterdir())

    def test_of_less_stays_in_memory(self, desk: Desk) -> None:
        assert desk.envelope().content.spool == ""
        assert not list(desk.spool.folder.iterdir())


class TestFaultsThatOnlyComposingFinds:
    def test_carry_the_path_of_the_request(self, desk: Desk) -> None:
        twice = [{"filename": name, "content": "", "content_id": "same"} for name in "ab"]
        error = desk.refusal(attachments=twice, html="<p>")
        assert (error.status, [fault.field for fault in error.details]) == (400, ["attachments[1].content_id"])
