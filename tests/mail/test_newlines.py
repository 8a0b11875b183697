from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.newlines import DotStuffer, dot_stuff, has_only_crlf, to_crlf

# The twelve ends of data of which servers disagree (bare CR, bare LF, NUL around the dot).
FORMS = [
    b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"\0", b"a", b"text"]), max_size=30).map(b"".join)


def cut(octets: bytes, sizes: list[int]) -> list[bytes]:
    blocks, at = [], 0
    for size in sizes:
        blocks.append(octets[at : at + size])
        at += size
    return [*blocks, octets[at:]]


def received(wire: bytes) -> bytes:
    """What a strict server stores: lines up to the lone dot, dots undone."""
    lines = wire.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""], "something follows the end of data"
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])


def test_crlf_text_is_returned_as_it_is() -> None:
    text = b"one\r\ntwo\r\n"
    assert to_crlf(text) is text


def test_every_bare_line_end_becomes_one_crlf() -> None:
    assert to_crlf(b"a\nb\rc\r\nd\r\r\ne\n\rf") == b"a\r\nb\r\nc\r\nd\r\n\r\ne\r\n\r\nf"


@given(HOSTILE)
def test_normalised_text_has_only_crlf_and_keeps_everything_else(octets: bytes) -> None:
    text = to_crlf(octets)
    assert has_only_crlf(text)
    assert to_crlf(text) == text
    assert text.replace(b"\r\n", b"") == octets.replace(b"\r", b"").replace(b"\n", b"")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", range(7))
def test_no_form_of_a_smuggled_end_of_data_leaves_however_it_is_cut(form: bytes, at: int) -> None:
    message = b"one" + form + b"MAIL FROM:<evil@example.com>\r\n"
    wire = b"".join(dot_stuff(cut(message, [3 + at])))
    assert b"\0" not in wire
    assert has_only_crlf(wire)
    assert wire.find(b"\r\n.\r\n") == len(wire) - 5
    assert b"MAIL FROM:<evil@example.com>\r\n" in received(wire)


@given(HOSTILE, st.lists(st.integers(0, 6), max_size=20))
def test_the_server_gets_the_normalised_text_whatever_the_blocks(octets: bytes, sizes: list[int]) -> None:
    wire = b"".join(dot_stuff(cut(octets, sizes)))
    expected = to_crlf(octets.replace(b"\0", b""))
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert received(wire) == expected


def test_dots_at_the_start_of_lines_are_doubled_and_others_left_alone() -> None:
    assert b"".join(dot_stuff([b".a\r\nb.\r\n", b"..c\r\n."])) == b"..a\r\nb.\r\n...c\r\n..\r\n.\r\n"


def test_an_empty_message_is_the_final_dot_alone() -> None:
    assert list(dot_stuff([])) == [b".\r\n"]
    assert list(dot_stuff([b"", b"\0"])) == [b".\r\n"]


def test_a_clean_block_without_dots_is_not_copied() -> None:
    block = b"line\r\n" * 1000
    assert DotStuffer().feed(block) is block


def test_a_last_line_without_its_end_gets_one() -> None:
    assert b"".join(dot_stuff([b"abc"])) == b"abc\r\n.\r\n"
    assert b"".join(dot_stuff([b"abc\r"])) == b"abc\r\n.\r\n"
