from __future__ import annotations

import binascii
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.words import LINE, decode_header_text, encode_phrase, encode_text, first_control, fold_plain

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b" plain ", "plain"),
        (b" a\r\n\tb", "a b"),
        (b"=?utf-8?q?Caf=C3=A9_au_lait?=", "Café au lait"),
        (b"=?UTF-8?B?0Y8=?= =?utf-8?b?0Y8=?=", "яя"),
        (b"=?utf-8?b?0Y8=?=\r\n =?utf-8?b?0Y8=?= end", "яя end"),
        (b"=?utf-8?b?0Q==?= =?utf-8?b?jw==?=", "я"),
        (b"a =?koi8-r?q?=D1?= b", "a я b"),
        (b"=?utf-8*en?q?x?=", "x"),
        (b"=?windows-1251?Q?=CF=F0=E8=E2=E5=F2?=", "Привет"),
        (b"=?gb2312?B?xOO6ww==?=", "你好"),
        (b"=?iso-2022-jp?B?GyRCNEE7ehsoQg==?=", "漢字"),
        (b"=?nonsense?q?=D1=8F?=", "я"),
        (b"=?utf-8?q?=ZZ?=", "=ZZ"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?utf-8?q?a=0D=0ABcc:_x?=", "a  Bcc: x"),
        (b"\xd1\x8f raw", "я raw"),
        (b"caf\xe9 raw", "café raw"),
        (b"a\0b\x1bc", "a b c"),
        (b"=?base64?q?x?= =?idna?q?xn--a?= =?unicode_escape?q?=5Cx41?=", "xxn--a\\x41"),
        (b"", ""),
    ],
)
def test_header_text_is_shown_as_it_was_meant(value: bytes, text: str) -> None:
    assert decode_header_text(value) == text


def test_only_so_much_of_a_value_is_looked_at() -> None:
    assert decode_header_text(b"x" * 100, 10) == "x" * 10


@given(st.binary(max_size=200) | st.text(alphabet="=?utf-8bqBQ_ABC \r\n*", max_size=80).map(str.encode))
def test_reading_never_fails_and_shows_no_control(value: bytes) -> None:
    text = decode_header_text(value)
    assert first_control(text) is None


@given(TEXT, st.integers(5, 60))
def test_written_text_reads_back_here_and_in_the_standard_library(text: str, used: int) -> None:
    written = encode_text(text, used)
    unfolded = written.replace("\r\n", "")
    assert decode_header_text(written.encode("ascii")) == text.strip()
    assert str(make_header(decode_header(unfolded))).strip() == text.strip()
    first, *rest = written.split("\r\n")
    assert used + len(first) <= max(LINE, used + 24)
    assert all(line.startswith(" ") and line.strip() and len(line) <= 900 for line in rest)


def test_text_that_looks_encoded_is_encoded() -> None:
    assert decode_header_text(encode_text("=?utf-8?q?x?=", 9).encode()) == "=?utf-8?q?x?="


def test_a_character_is_never_cut_in_two() -> None:
    for word in encode_text("漢é" * 60, 9).split("\r\n "):
        binascii.a2b_base64(word.removeprefix("=?utf-8?b?").removesuffix("?=")).decode("utf-8")


@given(TEXT)
def test_a_phrase_is_a_phrase(name: str) -> None:
    phrase = encode_phrase(name, 6)
    assert phrase.isascii()
    if not phrase.startswith(('"', "=?")):
        assert not set(phrase) & set('()<>[]:;@\\,."')


def test_names_are_quoted_only_when_they_must_be() -> None:
    assert encode_phrase("Anna Smith", 6) == "Anna Smith"
    assert encode_phrase("Smith, Anna", 6) == '"Smith, Anna"'
    assert encode_phrase('a "b" \\c', 6) == '"a \\"b\\" \\\\c"'
    assert encode_phrase("Анна", 6) == "=?utf-8?b?0JDQvdC90LA=?="
    assert encode_phrase("=?x?=", 6).startswith("=?utf-8?b?")


def test_plain_text_is_folded_at_single_blanks_only() -> None:
    text = "word " * 30 + "end"
    folded = fold_plain(text, 9)
    assert folded is not None
    assert folded.replace("\r\n", "") == text
    assert max(map(len, folded.split("\r\n"))) <= LINE
    assert fold_plain("x" * 901, 9) is None
    kept = fold_plain("a" * 70 + "  " + "b" * 20, 9)
    assert kept == "a" * 70 + "  " + "b" * 20


@pytest.mark.parametrize(
    ("text", "control"), [("a\rb", "\r"), ("\ud800", "\ud800"), ("\x85", "\x85"), ("\u2028", "\u2028")]
)
def test_the_first_control_is_told(text: str, control: str) -> None:
    assert first_control(text) == control


@pytest.mark.parametrize("text", ["", "plain", "я", "\u00a0", "😀", "\ufeff"])
def test_other_characters_are_no_controls(text: str) -> None:
    assert first_control(text) is None
