"""Notifications: what the standard library, as a reader of mail, finds in them."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.dsn import MAX_HEADERS, MAX_RETURNED, Action, ReportedRecipient, compose_dsn

ARRIVED = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone(timedelta(hours=3)))
ORIGINAL = b"From: ann@example.org\r\nSubject: Hello\r\nMessage-ID: <orig-1@example.org>\r\n\r\n"

BOB = ReportedRecipient(
    "bob@example.com",
    Action.FAILED,
    enhanced="5.1.1",
    diagnostic="550 5.1.1 No such user\nplease check",
    remote_mta="mx1.example.com",
    orcpt="rfc822;Bob@Example.com",
    last_attempt_at=NOW,
)


def dsn(
    *recipients: ReportedRecipient,
    sender: str = "ann@example.org",
    headers: bytes = ORIGINAL,
    full: bytes | None = None,
    envid: str = "",
    host: str = "mail.example.org",
    message_id: str = "<dsn-1@mail.example.org>",
) -> bytes:
    return compose_dsn(
        reporting_mta=host,
        original_sender=sender,
        original_headers=headers,
        original_full=full,
        envid=envid,
        arrived_at=ARRIVED,
        recipients=recipients or (BOB,),
        message_id=message_id,
        now=NOW,
    )


def parts(octets: bytes) -> tuple[Message, list[Message]]:
    report = email.message_from_bytes(octets)
    found = report.get_payload()
    assert isinstance(found, list)
    assert all(isinstance(part, Message) for part in found)
    return report, [part for part in found if isinstance(part, Message)]


def status_groups(octets: bytes) -> list[Message]:
    groups = parts(octets)[1][1].get_payload()
    assert isinstance(groups, list)
    return [group for group in groups if isinstance(group, Message)]


def text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode(part.get_content_charset() or "ascii")


def unfolded(value: str) -> str:
    return " ".join(value.split())


def assert_sound(octets: bytes, recipients: Sequence[ReportedRecipient]) -> None:
    lines = octets.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert b"\0" not in octets
    report, three = parts(octets)
    assert len(three) == 3
    assert not report.defects
    assert [name.lower() for name in report if name != "References"] == [
        "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
    ]  # fmt: skip
    groups = status_groups(octets)
    assert len(groups) == 1 + len(recipients)
    assert not set(groups[0].keys()) - {"Reporting-MTA", "Original-Envelope-Id", "Arrival-Date"}
    for group in groups[1:]:
        assert (
            group.keys().count("Final-Recipient") == group.keys().count("Status") == group.keys().count("Action") == 1
        )
        assert not set(group.keys()) - {
            "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code",
            "Last-Attempt-Date", "Will-Retry-Until",
        }  # fmt: skip


def test_a_failure_is_reported_in_three_parts() -> None:
    report, (human, status, original) = parts(dsn())
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert human.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() == "text/rfc822-headers"


def test_its_header_block_says_who_and_to_whom() -> None:
    report, _ = parts(dsn())
    assert report["From"] == "Mail Delivery System <mailer-daemon@mail.example.org>"
    assert report["To"] == "<ann@example.org>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report["MIME-Version"] == "1.0"
    assert report["Date"] == "Sun, 22 Nov 2026 09:00:00 +0000"
    assert report["Message-ID"] == "<dsn-1@mail.example.org>"
    assert report["References"] == "<orig-1@example.org>"
    assert report["Subject"] == "Your message could not be delivered"
    assert "Return-Path" not in report


def test_the_message_id_gets_its_brackets_once() -> None:
    assert parts(dsn(message_id="x@y"))[0]["Message-ID"] == "<x@y>"


def test_the_status_part_has_the_fields_of_the_standard() -> None:
    general, bob = status_groups(dsn(envid="QQ 314+159"))
    assert dict(general.items()) == {
        "Reporting-MTA": "dns; mail.example.org",
        "Original-Envelope-Id": "QQ 314+159",
        "Arrival-Date": "Fri, 20 Nov 2026 08:30:00 +0000",
    }
    assert dict(bob.items()) == {
        "Original-Recipient": "rfc822; Bob@Example.com",
        "Final-Recipient": "rfc822; bob@example.com",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx1.example.com",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user please check",
        "Last-Attempt-Date": "Sun, 22 Nov 2026 09:00:00 +0000",
    }


def test_the_human_part_is_short_and_names_the_recipient_and_the_reason() -> None:
    human = text(parts(dsn())[1][0])
    assert "mail.example.org" in human
    assert "bob@example.com" in human
    assert "mx1.example.com said: 550 5.1.1 No such user please check" in human
    assert len(human.splitlines()) < 12
    assert max(map(len, human.splitlines())) <= 80


def test_only_the_recipients_given_are_named() -> None:
    headers = b"To: carol@example.net\r\n\r\nBody with dave@example.net\r\n"
    octets = dsn(headers=headers)
    human, status, original = parts(octets)[1]
    assert "carol" not in text(human)
    assert b"carol" not in bytes(status)
    assert b"dave" not in octets
    assert "carol" in text(original)


def test_several_recipients_have_a_group_each_and_the_worst_gives_the_subject() -> None:
    late = ReportedRecipient("c@example.com", Action.DELAYED, "4.4.1", will_retry_until=NOW + timedelta(days=2))
    good = ReportedRecipient("d@example.com", Action.DELIVERED)
    passed = ReportedRecipient("e@example.com", Action.RELAYED)
    octets = dsn(good, late, BOB, passed)
    assert [group["Action"] for group in status_groups(octets)[1:]] == ["delivered", "delayed", "failed", "relayed"]
    assert [group["Status"] for group in status_groups(octets)[1:]] == ["2.0.0", "4.4.1", "5.1.1", "2.0.0"]
    report, (human, *_) = parts(octets)
    assert report["Subject"] == "Your message could not be delivered"
    assert text(human).index("bob@") < text(human).index("c@") < text(human).index("d@") < text(human).index("e@")
    assert_sound(octets, [good, late, BOB, passed])


def test_a_delay_says_until_when_it_is_tried() -> None:
    late = ReportedRecipient("c@example.com", Action.DELAYED, "4.4.1", will_retry_until=NOW + timedelta(days=2))
    octets = dsn(late)
    assert status_groups(octets)[1]["Will-Retry-Until"] == "Tue, 24 Nov 2026 09:00:00 +0000"
    assert parts(octets)[0]["Subject"] == "Your message is delayed"
    human = text(parts(octets)[1][0])
    assert "Tue, 24 Nov 2026 09:00:00 +0000" in human
    assert "need not send it again" in human


def test_our_own_reason_is_not_passed_off_as_a_reply() -> None:
    recipient = ReportedRecipient("b@nosuch.test", Action.FAILED, "5.1.2", "The domain nosuch.test does not exist")
    octets = dsn(recipient)
    assert status_groups(octets)[1]["Diagnostic-Code"] == "x-sendry; The domain nosuch.test does not exist"
    assert "Remote-MTA" not in status_groups(octets)[1]
    assert "    The domain nosuch.test does not exist" in text(parts(octets)[1][0])


def test_a_number_in_our_own_reason_makes_no_reply_of_it() -> None:
    recipient = ReportedRecipient("b@example.com", Action.DELAYED, "4.4.5", "421 recipients wait before this one")
    assert status_groups(dsn(recipient))[1]["Diagnostic-Code"].startswith("x-sendry; 421")


def test_an_endless_envelope_id_is_cut() -> None:
    assert status_groups(dsn(envid="x" * 2000))[0]["Original-Envelope-Id"] == "x" * 100


def test_a_malformed_status_gives_way_to_a_general_one() -> None:
    recipient = ReportedRecipient("b@example.com", Action.FAILED, "5.1.1\r\nX: y")
    assert status_groups(dsn(recipient))[1]["Status"] == "5.0.0"


def test_the_whole_original_comes_back_on_demand() -> None:
    whole = ORIGINAL + b"Body of the mail\r\n.\r\nend\r\n"
    original = parts(dsn(full=whole))[1][2]
    assert original.get_content_type() == "message/rfc822"
    assert whole + b"\r\n--=_" in dsn(full=whole)


@pytest.mark.parametrize(
    "whole",
    [
        ORIGINAL + b"Gr\xc3\xbc\xc3\x9fe\r\n",
        ORIGINAL + b"x" * 999 + b"\r\n",
        ORIGINAL + b"bare\nnewline\r\n",
        ORIGINAL + b"nul\x00\r\n",
        ORIGINAL + b"x\r\n" * (MAX_RETURNED // 3),
    ],
)
def test_an_original_that_is_too_big_or_not_7bit_comes_back_as_its_headers(whole: bytes) -> None:
    octets = dsn(full=whole)
    assert parts(octets)[1][2].get_content_type() == "text/rfc822-headers"
    assert octets.isascii()
    assert_sound(octets, [BOB])


def test_eight_bit_headers_come_back_unharmed_in_seven_bits() -> None:
    headers = "Subject: Привет = мир \r\nX: \x01\r\n\r\n".encode()
    octets = dsn(headers=headers)
    assert octets.isascii()
    assert text(parts(octets)[1][2]) == headers.decode()[:-2]


def test_headers_in_latin_1_with_bare_line_ends_and_long_lines_come_back_too() -> None:
    headers = b"Subject: Gr\xfc\xdfe\nX: " + b"y" * 2000 + b"\rZ: \x00\r\n"
    octets = dsn(headers=headers)
    assert parts(octets)[1][2].get_payload(decode=True) == headers.replace(b"\n", b"\r\n").replace(
        b"\rZ", b"\r\nZ"
    ).replace(b"\r\r", b"\r")
    assert_sound(octets, [BOB])


def test_endless_headers_are_cut_at_a_line() -> None:
    returned = text(parts(dsn(headers=b"X-Filler: 1234567\r\n" * 9000))[1][2])
    assert 0 < len(returned) <= MAX_HEADERS
    assert returned.endswith("1234567\r\n")


def test_no_original_at_all_still_gives_three_parts() -> None:
    octets = dsn(headers=b"")
    assert_sound(octets, [BOB])
    assert "References" not in parts(octets)[0]


def test_a_long_reply_of_many_lines_becomes_one_folded_field() -> None:
    said = "\n".join(f"550-5.7.1 line {number} of a very long story, told at length" for number in range(40))
    recipient = ReportedRecipient("b@example.com", Action.FAILED, "5.7.1", said, "mx.example.com")
    field = status_groups(dsn(recipient))[1]["Diagnostic-Code"]
    assert unfolded(field) == f"smtp; {' '.join(said.split())[:1000]}".strip()


def test_a_reply_with_unicode_is_legible_to_people_and_ascii_to_programs() -> None:
    recipient = ReportedRecipient("b@example.com", Action.FAILED, "5.1.1", "550 Нет такого", "mx.example.com")
    octets = dsn(recipient)
    assert octets.isascii()
    assert status_groups(octets)[1]["Diagnostic-Code"] == "smtp; 550 ??? ??????"
    assert "550 Нет такого" in text(parts(octets)[1][0])


def test_a_unicode_recipient_is_written_with_escapes_for_an_ascii_sender() -> None:
    recipient = ReportedRecipient("δ@xn--hxajbheg2az3al.test", Action.FAILED, orcpt="utf-8;δ@παράδειγμα.test")
    octets = dsn(recipient)
    assert octets.isascii()
    group = status_groups(octets)[1]
    assert group["Final-Recipient"] == "utf-8; \\x{3B4}@xn--hxajbheg2az3al.test"
    assert group["Original-Recipient"].startswith("utf-8; \\x{3B4}@\\x{3C0}")
    assert "δ@xn--hxajbheg2az3al.test" in text(parts(octets)[1][0])


def test_a_unicode_sender_gets_the_types_of_rfc_6533() -> None:
    recipient = ReportedRecipient("δ@example.com", Action.FAILED, "5.1.1", "550 нет", "mx.example.com")
    octets = dsn(recipient, sender="ω@example.org", headers="Subject: Привет\r\n\r\n".encode())
    report, (_, status, original) = parts(octets)
    assert "To: <ω@example.org>\r\n".encode() in octets
    assert report["Content-Transfer-Encoding"] == "8bit"
    assert status.get_content_type() == "message/global-delivery-status"
    assert "Final-Recipient: utf-8; δ@example.com\r\n".encode() in octets
    assert "Diagnostic-Code: smtp; 550 нет\r\n".encode() in octets
    assert original.get_content_type() == "message/global-headers"
    assert "\r\n\r\nSubject: Привет\r\n".encode() in octets


def test_a_unicode_sender_gets_a_unicode_original_whole() -> None:
    whole = "From: ω@example.org\r\n\r\nПривет\r\n".encode()
    octets = dsn(sender="ω@example.org", full=whole)
    assert parts(octets)[1][2].get_content_type() == "message/global"
    assert whole in octets
    latin = dsn(sender="ω@example.org", full=b"A: b\r\n\r\n\xe4\r\n")
    assert parts(latin)[1][2].get_content_type() == "text/rfc822-headers"


def test_quoted_addresses_keep_their_spaces() -> None:
    recipient = ReportedRecipient('"a  b>"@example.com', Action.FAILED)
    octets = dsn(recipient, sender='"x  y"@example.org')
    assert status_groups(octets)[1]["Final-Recipient"] == 'rfc822; "a  b>"@example.com'
    assert parts(octets)[0]["To"] == '<"x  y"@example.org>'


def test_the_boundary_is_in_no_part() -> None:
    first = re.search(rb'boundary="(=_[0-9a-f]+)"', dsn())
    assert first is not None
    octets = dsn(full=ORIGINAL + b"--" + first[1] + b"--\r\nevil\r\n")
    report, three = parts(octets)
    assert report.get_boundary() != first[1].decode()
    assert len(three) == 3


def test_the_null_sender_gets_none() -> None:
    with pytest.raises(ValueError, match="null sender"):
        dsn(sender="")


def test_a_report_about_nobody_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        compose_dsn(
            reporting_mta="m", original_sender="a@b", original_headers=b"", recipients=(), arrived_at=NOW,
            message_id="x", now=NOW,
        )  # fmt: skip


HOSTILE = st.lists(
    st.sampled_from(
        ["\r\n", "\n", "\r", "\r\n\r\n", "\x00", "--=_", "Bcc: v@v.v", "550 ", ";", ":", " ", "a", "<", ">", '"']
    )
    | st.text(max_size=4),
    max_size=20,
).map("".join)
RECIPIENT = st.builds(
    ReportedRecipient,
    HOSTILE,
    st.sampled_from(Action),
    HOSTILE | st.just("5.1.1"),
    HOSTILE | st.text(alphabet="abc д\r\n", max_size=3000),
    HOSTILE,
    HOSTILE.map(lambda value: f"rfc822;{value}") | HOSTILE.map(lambda value: f"utf-8;{value * 90}") | HOSTILE,
    st.none() | st.just(NOW),
    st.none() | st.just(NOW),
)


@given(
    recipients=st.lists(RECIPIENT, min_size=1, max_size=3),
    sender=HOSTILE.map(lambda value: "".join(ch for ch in value if ch.isascii()) + "@b"),
    headers=st.binary(max_size=300) | HOSTILE.map(lambda value: value.encode("utf-8", "surrogatepass")),
    full=st.none() | st.binary(max_size=300),
    envid=HOSTILE,
    host=HOSTILE,
    message_id=HOSTILE,
)
def test_nothing_hostile_adds_a_header_a_field_or_a_part(
    recipients: list[ReportedRecipient],
    sender: str,
    headers: bytes,
    full: bytes | None,
    envid: str,
    host: str,
    message_id: str,
) -> None:
    octets = dsn(
        *recipients, sender=sender, headers=headers, full=full, envid=envid, host=host, message_id=message_id
    )
    assert octets.isascii()
    assert_sound(octets, recipients)


@given(recipients=st.lists(RECIPIENT, min_size=1, max_size=3), headers=st.binary(max_size=300), envid=HOSTILE)
def test_nothing_hostile_breaks_the_lines_of_a_unicode_report(
    recipients: list[ReportedRecipient], headers: bytes, envid: str
) -> None:
    octets = dsn(*recipients, sender="ω@example.org", headers=headers, envid=envid)
    octets.decode("utf-8")
    lines = octets.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not re.search(rb"[\r\n\x00]", b"".join(lines))
    status = octets.partition(b"message/global-delivery-status")[2].partition(b"\r\n--=_")[0]
    assert len(re.findall(rb"^Status: [245]", status, re.MULTILINE)) == len(recipients)
    assert status.count(b"\r\n\r\n") == 1 + len(recipients)
