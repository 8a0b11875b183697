"""Rewriting for hosts that take 7-bit only, and for lines too long for anybody."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.delivery.seven_bit import has_long_line, needs_encoding, to_seven_bit


def parsed(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def is_sendable(octets: bytes) -> bool:
    return octets.isascii() and not has_long_line(octets) and octets.count(b"\n") == octets.count(b"\r\n")


HEAD = b"From: a@example.com\r\nMIME-Version: 1.0\r\n"
TEXT = "Привет, мир = 100 % .\r\n.\r\nконец \t\r\n".encode()


@pytest.mark.parametrize(
    ("octets", "is_long"),
    [
        (b"", False),
        (b"x" * 998 + b"\r\n", False),
        (b"x" * 999 + b"\r\n", True),
        (b"x" * 998, False),
        (b"x" * 999, True),
        (b"x" * 1000, True),
        (b"a\r\n" * 2000, False),
        (b"a\r\n" * 2000 + b"x" * 999 + b"\r\nb\r\n", True),
        (b"a\r\n" * 2000 + b"x" * 998 + b"\r\nb\r\n", False),
    ],
)
def test_a_line_may_have_998_octets(octets: bytes, is_long: bool) -> None:
    assert has_long_line(octets) is is_long


@given(st.lists(st.integers(0, 2100), max_size=6), st.booleans())
def test_the_jump_over_lines_agrees_with_looking_at_each(lengths: list[int], is_ended: bool) -> None:
    octets = b"\r\n".join(b"x" * length for length in lengths) + (b"\r\n" if is_ended else b"")

    assert has_long_line(octets) is any(length > 998 for length in lengths)


def test_only_what_needs_it_is_rewritten() -> None:
    assert not needs_encoding(b"a\r\n", seven_bit=True, is_eight_bit=False)
    assert not needs_encoding(TEXT, seven_bit=False, is_eight_bit=True)
    assert needs_encoding(TEXT, seven_bit=True, is_eight_bit=True)
    assert needs_encoding(b"x" * 1200, seven_bit=False, is_eight_bit=False)


def test_a_text_becomes_quoted_printable() -> None:
    whole = HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT

    converted = to_seven_bit(whole)

    assert is_sendable(converted)
    assert parsed(converted)["Content-Transfer-Encoding"] == "quoted-printable"
    assert parsed(converted).get_payload(decode=True) == TEXT


def test_a_text_without_mime_gets_its_version() -> None:
    converted = to_seven_bit(b"Subject: x\r\n\r\n" + TEXT)

    assert parsed(converted)["MIME-Version"] == "1.0"
    assert parsed(converted).get_payload(decode=True) == TEXT


def test_what_is_no_text_becomes_base64() -> None:
    octets = bytes(range(256)) * 9
    whole = HEAD + b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + octets

    converted = to_seven_bit(whole)

    assert is_sendable(converted)
    assert parsed(converted).get_payload(decode=True) == octets


def test_long_lines_become_short_ones_that_say_the_same() -> None:
    html = b"<p>" + b"word " * 4000 + b"</p>\r\n"

    converted = to_seven_bit(HEAD + b"Content-Type: text/html\r\n\r\n" + html)

    assert is_sendable(converted)
    assert parsed(converted).get_payload(decode=True) == html


MULTIPART = (
    HEAD + b'Content-Type: multipart/mixed;\r\n boundary="b=1"\r\nContent-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n'
    b"--b=1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + TEXT + b"\r\n"
    b"--b=1 \r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
    b"--b=1\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n" + TEXT + b"\r\n--b=1--\r\nepilogue\r\n"
)


def test_each_part_of_a_multipart_is_rewritten_by_itself() -> None:
    converted = to_seven_bit(MULTIPART)

    assert is_sendable(converted)
    first, second, third = parsed(converted).iter_parts()
    assert first.get_payload(decode=True) == TEXT
    assert second.as_bytes() == b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nAAAA"
    assert third.get_content().get_payload(decode=True) == TEXT
    assert b"preamble\r\n--b=1\r\n" in converted
    assert converted.endswith(b"\r\n--b=1--\r\nepilogue\r\n")


def test_a_signed_part_is_left_alone() -> None:
    whole = HEAD + b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n" + TEXT + b"\r\n--s--\r\n"

    assert to_seven_bit(whole) == whole


@pytest.mark.parametrize(
    "whole",
    [
        HEAD + b"Content-Type: multipart/mixed\r\n\r\n" + TEXT,
        HEAD + b"Content-Type: multipart/mixed; boundary=zz\r\n\r\n" + TEXT,
        HEAD + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-unknown\r\n\r\n" + TEXT,
        HEAD + b"Content-Type: message/external-body\r\n\r\n" + TEXT,
        b"Subject: " + TEXT[:4] + b"\r\n\r\nplain\r\n",
    ],
)
def test_what_cannot_be_rewritten_stays_as_it_was(whole: bytes) -> None:
    assert to_seven_bit(whole) == whole


def test_nesting_without_end_is_left_alone() -> None:
    whole = b"x: y\r\n\r\n" + TEXT
    for _ in range(60):
        whole = b"Content-Type: message/rfc822\r\n\r\n" + whole

    assert to_seven_bit(whole) == whole


@given(st.binary(max_size=3000))
def test_any_octets_come_out_sendable_or_unchanged(body: bytes) -> None:
    whole = HEAD + b"Content-Type: application/octet-stream\r\n\r\n" + body

    converted = to_seven_bit(whole)

    assert converted == whole or is_sendable(converted)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=2000))
def test_any_text_reads_the_same_afterwards(text: str) -> None:
    body = text.replace("\n", "\r\n").encode()
    whole = HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body

    converted = to_seven_bit(whole)

    if converted != whole:
        assert is_sendable(converted)
        assert parsed(converted).get_payload(decode=True) == body
