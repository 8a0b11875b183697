from __future__ import annotations

import encodings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.charsets import codec_for, decode


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("utf-8", "я".encode(), "я"),
        ("UTF8", "я".encode(), "я"),
        ("koi8-r", b"\xd1", "я"),
        ("koi8-u", b"\xa4", "є"),
        ("cp1251", b"\xff", "я"),
        ("Windows-1251", b"\xff", "я"),
        ("iso-8859-1", b"\x93", "\u201c"),
        ("gb2312", "镕".encode("gb18030"), "镕"),
        ("ks_c_5601-1987", "힣".encode("cp949"), "힣"),
        ("shift_jis", "①".encode("cp932"), "①"),
        ("x-mac-cyrillic", b"\xdf", "я"),
        ("utf-7", b"+BE8-", "я"),
        ("utf-7", b"+2AA-", "\ufffd"),
        ("", b"caf\xe9", "café"),
        ("unknown-8bit", "я".encode(), "я"),
    ],
)
def test_octets_are_read_as_the_sender_meant_them(charset: str, octets: bytes, text: str) -> None:
    assert decode(octets, charset) == text


@pytest.mark.parametrize(
    "charset",
    ["", "nonsense", "base64", "hex", "zip", "rot13", "idna", "punycode", "unicode_escape", "undefined", "aliases",
     "a" * 41, "../x", "mbcs"],
)  # fmt: skip
def test_what_is_no_charset_of_mail_has_no_codec(charset: str) -> None:
    assert codec_for(charset) is None


@given(
    st.binary(max_size=60), st.text(max_size=20) | st.sampled_from(["utf-16", "utf-7", "utf-32", "iso-2022-kr", "hz"])
)
def test_decoding_never_fails(octets: bytes, charset: str) -> None:
    decode(octets, charset).encode("utf-8")


def test_unknown_names_do_not_fill_the_cache_of_codecs() -> None:
    before = len(encodings._cache)
    for number in range(100):
        decode(b"x", f"nonsense-{number}")
    assert len(encodings._cache) == before
