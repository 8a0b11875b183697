from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail import headers
from sendry.mail.headers import HeaderError

NOON = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC)

HEAD = (
    b"Received: from a.example ([192.0.2.1])\r\n\tby mx.example; Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"received: from b.example\r\n"
    b"From: =?utf-8?b?0JDQvdC90LA=?= <anna@Example.COM>\r\n"
    b"To: Bob <bob@example.org>,\r\n Carol <carol@example.net>\r\n"
    b"SUBJECT: =?utf-8?q?Caf=C3=A9?=\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"X-Empty:\r\n"
    b"\r\n"
)


def head_with_from(*values: bytes) -> bytes:
    return b"".join(b"From: " + value + b"\r\n" for value in values) + b"Subject: x\r\n\r\n"


# --- split, join, mend ---


def test_a_message_is_split_behind_its_first_empty_line() -> None:
    assert headers.split(b"A: 1\r\n\r\nbody\r\n\r\nmore") == (b"A: 1\r\n\r\n", b"body\r\n\r\nmore")


@pytest.mark.parametrize(
    ("message", "head", "body"),
    [
        (b"", b"\r\n", b""),
        (b"\r\nbody", b"\r\n", b"body"),
        (b"\r\n\r\nbody", b"\r\n", b"\r\nbody"),
        (b"A: 1\r\n", b"A: 1\r\n\r\n", b""),
        (b"A: 1", b"A: 1\r\n\r\n", b""),
    ],
)
def test_a_message_without_one_part_still_has_a_head_with_its_empty_line(
    message: bytes, head: bytes, body: bytes
) -> None:
    assert headers.split(message) == (head, body)


@given(st.binary())
def test_split_loses_nothing_but_adds_the_missing_end_of_the_head(message: bytes) -> None:
    head, body = headers.split(message)
    assert head.endswith(b"\r\n")
    assert (head + body).startswith(message)
    assert headers.join(head, body) == head + body


def test_a_mended_head_starts_its_body_at_the_first_line_that_is_no_field() -> None:
    head, body = headers.mend(*headers.split(b"A: 1\r\nno field here\r\nB: 2\r\n\r\nbody"))
    assert head == b"A: 1\r\n\r\n"
    assert body == b"no field here\r\nB: 2\r\n\r\nbody"


def test_a_mended_head_has_lost_its_mbox_line() -> None:
    head, body = headers.mend(*headers.split(b">From x@y Sun Nov 22\r\nFrom x@y\r\nA: 1\r\n\r\nbody"))
    assert (head, body) == (b"A: 1\r\n\r\n", b"body")


@given(st.lists(st.sampled_from([b"A: 1", b"From x", b"junk", b" fold", b"\r\n", b"\n", b"\r", b":"])).map(b"".join))
def test_after_mending_every_head_is_well_formed(message: bytes) -> None:
    head, _ = headers.mend(*headers.split(message))
    assert headers.scan(head).is_well_formed


# --- scan ---


def test_scan_tells_the_facts_of_a_head() -> None:
    facts = headers.scan(HEAD)
    assert facts.from_domain == "example.com"
    assert facts.from_fault == ""
    assert facts.from_raw == "=?utf-8?b?0JDQvdC90LA=?= <anna@Example.COM>"
    assert facts.subject == "Café"
    assert facts.message_id == "<1@example.com>"
    assert facts.has_date
    assert facts.has_message_id
    assert facts.received_count == 2
    assert facts.header_size == len(HEAD)
    assert facts.is_well_formed
    assert headers.scan(HEAD[:-2]).is_well_formed


def test_scan_of_an_empty_head_says_what_is_missing() -> None:
    facts = headers.scan(b"\r\n")
    assert facts.from_domain is None
    assert "no From field" in facts.from_fault
    assert not facts.has_date
    assert not facts.has_message_id
    assert facts.message_id is None
    assert facts.is_well_formed


@pytest.mark.parametrize("line", [b"no field\r\n", b": empty name\r\n", b"Bad Name: x\r\n", b"B: a\nC: d\r\n"])
def test_scan_sees_a_line_that_is_no_field(line: bytes) -> None:
    assert not headers.scan(b"A: 1\r\n" + line + b"\r\n").is_well_formed
    assert not headers.scan(b"A: 1\r\n" + line).is_well_formed


def test_a_blank_before_the_colon_is_still_a_field() -> None:
    facts = headers.scan(b"From : a@example.com\r\nSubject\t: hello\r\n\r\n")
    assert facts.is_well_formed
    assert (facts.from_domain, facts.subject) == ("example.com", "hello")


def test_a_message_id_field_without_an_id_counts_as_given_but_has_no_value() -> None:
    facts = headers.scan(b"Message-ID: nonsense\r\n\r\n")
    assert facts.has_message_id
    assert facts.message_id is None
    assert not headers.scan(b"Message-ID: \r\n\r\n").has_message_id


def test_a_name_inside_a_value_is_not_a_field() -> None:
    facts = headers.scan(b"Subject: x\r\n From: evil@example.net\r\nX: From: evil@example.net\r\n\r\n")
    assert facts.from_domain is None
    assert facts.subject == "x From: evil@example.net"


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (b"a@example.com", "example.com"),
        (b"<a@example.com>", "example.com"),
        (b"A B <a@example.com>", "example.com"),
        (b'"B, A" <a@EXAMPLE.com>', "example.com"),
        (b'"own@example.com" <a@evil.example>', "evil.example"),
        (b"own@example.com <a@evil.example>", "evil.example"),
        (b"(own@example.com) a@evil.example", "evil.example"),
        (b"(a (nested) <x@y>) A <a@example.com>", "example.com"),
        (b'"odd\\" name" <a@example.com>', "example.com"),
        (b'"a b@c"@example.com', "example.com"),
        (b"a@example.com, b@example.com", "example.com"),
        (b"Group: a@example.com;", "example.com"),
        (b"A\r\n <a@example.com>", "example.com"),
        (b"<@route.example,@x.example:a@example.com>", "example.com"),
        ("a@почта.рф".encode(), "xn--80a1acny.xn--p1ai"),
        (b"a@example.com.", "example.com"),
        (b"a@[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_the_author_domain_is_that_of_the_address(value: bytes, domain: str) -> None:
    assert headers.scan(head_with_from(value)).from_domain == domain


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([b"a@example.com", b"b@example.com"], "more than one From field"),
        ([b"a@example.com, b@example.net"], "different domains"),
        ([b"<a@example.com> <b@example.net>"], "different domains"),
        ([b"a@example.com, nobody"], "different domains"),
        ([b"nobody"], "no valid address"),
        ([b""], "no valid address"),
        ([b"<>"], "no valid address"),
        ([b"a@"], "no valid address"),
        ([b"@example.com"], "no valid address"),
        ([b"a@exam ple..com"], "no valid address"),
        ([b"x" * 5000 + b" <a@example.com>"], "longer than 4096"),
        ([b"undisclosed:;"], "no valid address"),
        ([b"=?utf-8?q?a=40example.com?="], "no valid address"),
    ],
)
def test_an_author_that_cannot_be_told_has_no_domain_but_a_reason(values: list[bytes], reason: str) -> None:
    facts = headers.scan(head_with_from(*values))
    assert facts.from_domain is None
    assert reason in facts.from_fault
    with pytest.raises(HeaderError, match=reason) as caught:
        headers.from_address(head_with_from(*values))
    assert caught.value.field == "From"


def test_the_author_address_has_its_decoded_name() -> None:
    author = headers.from_address(HEAD)
    assert (author.name, author.address) == ("Анна", "anna@Example.COM")


@given(st.binary(max_size=300))
def test_scan_never_fails(head: bytes) -> None:
    facts = headers.scan(head)
    assert facts.header_size == len(head)
    facts.subject.encode("utf-8")
    facts.from_raw.encode("utf-8")


@given(st.text(alphabet='"\\(),:;<>@[] \tab=?.\r\nFrom', max_size=60))
def test_scan_never_fails_on_odd_addresses(value: str) -> None:
    headers.scan(head_with_from(value.encode()))


# --- looking up, adding, removing ---


def test_fields_are_listed_in_order_with_their_raw_values() -> None:
    listed = headers.fields(HEAD)
    assert [name for name, _ in listed] == [
        b"Received", b"received", b"From", b"To", b"SUBJECT", b"Message-ID", b"Date", b"X-Empty",
    ]  # fmt: skip
    assert listed[3][1] == b" Bob <bob@example.org>,\r\n Carol <carol@example.net>"
    assert listed[-1][1] == b""


def test_fields_are_found_and_counted_in_any_case() -> None:
    assert headers.find(HEAD, "subject") == b" =?utf-8?q?Caf=C3=A9?="
    assert headers.find(HEAD, "X-None") is None
    assert headers.count(HEAD, "RECEIVED") == 2
    assert headers.find_all(HEAD, "Date") == [b" Sun, 22 Nov 2026 12:00:00 +0000"]


def test_addresses_of_a_folded_list_are_read() -> None:
    assert [str(entry) for entry in headers.addresses(HEAD, "To")] == [
        "Bob <bob@example.org>",
        "Carol <carol@example.net>",
    ]


def test_removing_takes_whole_folded_fields_and_no_others() -> None:
    head = headers.remove_fields(HEAD, ["to", "Received"])
    assert [name for name, _ in headers.fields(head)] == [
        b"From", b"SUBJECT", b"Message-ID", b"Date", b"X-Empty",
    ]  # fmt: skip
    assert headers.scan(head).is_well_formed


def test_prepended_fields_stand_on_top_in_order() -> None:
    assert headers.prepend(b"C: 3\r\n\r\n", b"A: 1\r\n", b"B: 2\r\n") == b"A: 1\r\nB: 2\r\nC: 3\r\n\r\n"


# --- check_block ---


def test_a_clean_block_passes_and_tells_its_names() -> None:
    assert headers.check_block(b"Subject: a\r\n b\r\nX-Y: \xd1\x8f\r\n") == ["subject", "x-y"]
    assert headers.check_block(b"Subject:\r\n a\r\n\r\n") == ["subject"]
    assert headers.check_block(b"") == []


@pytest.mark.parametrize(
    "block",
    [
        b"A: 1",
        b"A: 1\n",
        b"A: 1\r",
        b"A: 1\r\n\r\nB: 2\r\n",
        b"\r\nA: 1\r\n",
        b"A: 1\nB: 2\r\n",
        b"A: 1\rB: 2\r\n",
        b"A: \0\r\n",
        b"A: \x7f\r\n",
        b"A : 1\r\n",
        b" A: 1\r\n",
        b"A B: 1\r\n",
        b": 1\r\n",
        b"A: 1\r\n \t \r\nB: 2\r\n",
        b"A\xd1: 1\r\n",
        b"no colon\r\n",
    ],
)
def test_a_block_that_another_reader_could_take_otherwise_is_refused(block: bytes) -> None:
    with pytest.raises(HeaderError):
        headers.check_block(block)


def test_a_line_may_have_998_octets_and_no_more() -> None:
    assert headers.check_block(b"A: " + b"x" * 995 + b"\r\n b\r\n") == ["a"]
    with pytest.raises(HeaderError, match="longer than 998"):
        headers.check_block(b"A: " + b"x" * 996 + b"\r\n")
    with pytest.raises(HeaderError, match="longer than 998"):
        headers.check_block(b"A: 1\r\n " + b"x" * 998 + b"\r\n")


def test_a_field_that_was_not_asked_for_is_refused_by_name() -> None:
    with pytest.raises(HeaderError, match="bcc") as caught:
        headers.check_block(b"Subject: a\r\nBcc: b@example.com\r\n", {"subject"})
    assert caught.value.field == "bcc"


@given(st.lists(st.sampled_from([b"A", b":", b" ", b"\t", b"\r\n", b"\r", b"\n", b"\0", b"x: y"]), max_size=20))
def test_what_check_block_lets_pass_has_as_many_fields_for_every_reader(pieces: list[bytes]) -> None:
    block = b"".join(pieces)
    try:
        names = headers.check_block(block)
    except HeaderError:
        return
    body = block.removesuffix(b"\r\n\r\n") + b"\r\n" if block.endswith(b"\r\n\r\n") else block
    lines = [line for line in body.splitlines() if line[:1] not in b" \t"] if body.strip() else []
    assert [line.partition(b":")[0].lower().decode() for line in lines] == names


# --- what we write ---


def test_the_received_field_names_client_host_protocol_id_and_time() -> None:
    field = headers.received_field(
        helo="client.example", ip="192.0.2.1", by="mx.example.com", protocol="ESMTPSA",
        message_id="abc", recipient="bob@example.org", date=NOON,
    )  # fmt: skip
    assert field == (
        b"Received: from client.example ([192.0.2.1])\r\n\tby mx.example.com with ESMTPSA id abc\r\n"
        b"\tfor <bob@example.org>;\r\n\tSun, 22 Nov 2026 12:00:05 +0000\r\n"
    )
    assert headers.check_block(field) == ["received"]


@given(st.text(), st.text())
def test_a_hostile_greeting_cannot_break_the_received_field(helo: str, recipient: str) -> None:
    field = headers.received_field(
        helo=helo, ip="2001:db8::1", by="mx.example.com", protocol="ESMTP",
        message_id="{id}", recipient=recipient, date=NOON,
    )  # fmt: skip
    assert headers.check_block(field) == ["received"]
    assert b"([IPv6:2001:db8::1])" in field


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-720, 720))  # noqa: DTZ001  hypothesis wants naive bounds
def test_a_date_is_written_in_utc_as_the_standard_library_writes_it(at: datetime, offset: int) -> None:
    aware = at.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert headers.format_date(aware) == format_datetime(aware.astimezone(UTC))
