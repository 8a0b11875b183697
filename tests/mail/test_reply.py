"""Replies: what we send cannot be misread, what remotes send can always be read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail import reply as replies
from sendry.mail.reply import MAX_TEXT, Refused, Reply, ends_reply

WIRE_LINE = re.compile(rb"[0-9]{3}[ -][ -~]*\r\n")


def test_a_short_reply_is_one_line() -> None:
    assert Reply(550, "5.1.1", "No such user").wire() == b"550 5.1.1 No such user\r\n"


def test_a_reply_without_enhanced_code_has_none_on_the_wire() -> None:
    assert replies.START_MAIL_INPUT.wire() == b"354 End data with <CR><LF>.<CR><LF>\r\n"


def test_every_line_of_a_long_reply_carries_both_codes() -> None:
    assert Reply(550, "5.7.1", "Not you\nNot today").wire() == b"550-5.7.1 Not you\r\n550 5.7.1 Not today\r\n"


def test_a_long_line_is_cut_between_words() -> None:
    lines = Reply(550, "5.7.1", "word " * 300).wire().splitlines(keepends=True)
    assert [len(line) <= 512 for line in lines] == [True] * 3
    assert all(line.rstrip().endswith(b"word") for line in lines)


def test_an_empty_text_still_makes_a_reply() -> None:
    assert Reply(250, "", "").wire() == b"250 \r\n"
    assert Reply(250, "2.0.0", "").wire() == b"250 2.0.0\r\n"


def test_line_ends_in_the_text_cannot_forge_a_second_reply() -> None:
    assert Reply(250, "", "a\r\n550 b\x00\x1b").wire() == b"250-a\r\n250 550 b??\r\n"


@given(
    st.integers(200, 599),
    st.sampled_from(["", "5.1.1", "4.999.999"]),
    st.text(max_size=3000) | st.text(alphabet="ab \n", min_size=500, max_size=3000),
)
def test_any_text_goes_out_as_short_ascii_lines_with_one_code(code: int, enhanced: str, text: str) -> None:
    lines = Reply(code, enhanced, text).wire().splitlines(keepends=True)
    opening = f"{code}".encode()
    assert all(WIRE_LINE.fullmatch(line) and len(line) <= 512 for line in lines)
    assert all(line.startswith(opening + b"-" + enhanced.encode()) for line in lines[:-1])
    assert lines[-1].startswith(opening + b" " + enhanced.encode())


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=400))
def test_what_we_send_is_read_back_the_same(word: str) -> None:
    sent = Reply(451, "4.3.0", f"x{word} y\nz")
    assert Reply.parse(sent.wire().splitlines(keepends=True)) == sent


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_whatever_a_remote_sends_is_read(lines: list[bytes]) -> None:
    reply = Reply.parse(lines)
    assert reply.code == 0 or 100 <= reply.code <= 599
    assert all(ch.isprintable() or ch == "\n" for ch in reply.text)
    assert len(reply.text) <= MAX_TEXT
    reply.wire()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"250 OK\r\n"], Reply(250, "", "OK")),
        ([b"250\r\n"], Reply(250, "", "")),
        ([b"250 "], Reply(250, "", "")),
        ([b"250-first\r\n", b"250 second\r\n"], Reply(250, "", "first\nsecond")),
        ([b"250 2.1.5 OK x123-20020a\r\n"], Reply(250, "2.1.5", "OK x123-20020a")),
        ([b"550-5.1.1 The account", b"550-5.1.1 does not", b"550 5.1.1 exist. x"],
         Reply(550, "5.1.1", "The account\ndoes not\nexist. x")),
        ([b"550 5.1.1: no such user"], Reply(550, "5.1.1", "no such user")),
        ([b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"],
         Reply(553, "5.7.1", "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)")),
        ([b"550 #5.1.0 Address rejected."], Reply(550, "5.1.0", "#5.1.0 Address rejected.")),
        ([b"550-no enhanced here", b"550 5.2.1 but here"], Reply(550, "5.2.1", "no enhanced here\nbut here")),
        ([b"550-one", b"554 two"], Reply(554, "", "one\ntwo")),
        ([b"550-one", b"stray", b"550 two"], Reply(550, "", "one\nstray\ntwo")),
        ([b"250-yes", b"550 no"], Reply(0, "", "250-yes\n550 no")),
        ([b"SSH-2.0-OpenSSH_9.2"], Reply(0, "", "SSH-2.0-OpenSSH_9.2")),
        ([b"2500 odd"], Reply(0, "", "2500 odd")),
        ([b"999 odd"], Reply(0, "", "999 odd")),
        ([], Reply(0, "", "")),
        ([b"550 \xd0\x9d\xd0\xb5\xd1\x82"], Reply(550, "", "Нет")),
        ([b"550 \xe4rger"], Reply(550, "", "ärger")),
        ([b"550 a\x00b\tc\x1b[31m"], Reply(550, "", "a?b c?[31m")),
        ([b"550 10.1.1.1 is not an enhanced code"], Reply(550, "", "10.1.1.1 is not an enhanced code")),
        ([b"554 5.7.1.2 nor is this"], Reply(554, "", "5.7.1.2 nor is this")),
        (["421 4.7.0 text lines too"], Reply(421, "4.7.0", "text lines too")),
    ],
)  # fmt: skip
def test_replies_of_remotes(lines: list[bytes], expected: Reply) -> None:
    assert Reply.parse(lines) == expected


def test_an_endless_reply_is_cut() -> None:
    text = Reply.parse([b"550-" + b"x" * 500] * 100 + [b"550 end"]).text
    assert len(text) == MAX_TEXT
    assert text.endswith("…")


def test_a_reply_ends_with_the_line_that_has_no_hyphen() -> None:
    assert not ends_reply(b"250-PIPELINING\r\n", inside=False)
    assert ends_reply(b"250 SIZE\r\n", inside=True)
    assert ends_reply(b"250\r\n", inside=True)


def test_a_stray_line_inside_a_reply_does_not_end_it_but_stands_alone_when_it_comes_first() -> None:
    assert not ends_reply(b"stray\r\n", inside=True)
    assert ends_reply(b"SSH-2.0\r\n", inside=False)


@pytest.mark.parametrize(
    ("code", "positive", "temporary", "permanent"),
    [(250, True, False, False), (354, True, False, False), (451, False, True, False),
     (550, False, False, True), (0, False, False, False), (150, False, False, False)],
)  # fmt: skip
def test_the_first_digit_decides(code: int, positive: bool, temporary: bool, permanent: bool) -> None:
    reply = Reply(code, "", "")
    assert (reply.is_positive, reply.is_temporary, reply.is_permanent) == (positive, temporary, permanent)


@pytest.mark.parametrize("code", [-1, 1, 99, 1000])
def test_a_code_has_three_digits(code: int) -> None:
    with pytest.raises(ValueError, match="three digits"):
        Reply(code, "", "")


@pytest.mark.parametrize("enhanced", ["5", "5.1", "3.1.1", "5.1.1\r\n", "5.1.1000", " 5.1.1"])
def test_an_enhanced_code_has_its_form(enhanced: str) -> None:
    with pytest.raises(ValueError, match=r"form 5\.1\.1"):
        Reply(550, enhanced, "")


def test_the_named_replies_agree_with_their_enhanced_codes_and_leak_nothing() -> None:
    named = [value for value in vars(replies).values() if isinstance(value, Reply)]
    assert len(named) > 15
    for reply in named:
        assert reply.code == 354 or reply.enhanced[0] == str(reply.code)[0]
        assert "sendry" not in reply.text.lower()


def test_a_refusal_shows_its_reason_to_us_and_its_reply_to_the_peer() -> None:
    refused = Refused(replies.RELAY_DENIED, "10.0.0.9 is in no trusted network")
    assert str(refused) == refused.reason == "10.0.0.9 is in no trusted network"
    assert b"10.0.0.9" not in refused.reply.wire()
    assert str(Refused(replies.RELAY_DENIED)) == "550 5.7.1 Relaying denied"
