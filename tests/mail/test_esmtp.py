"""Parameters of MAIL and RCPT: taken with care, refused with the right code."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendry.mail.esmtp import (
    MailParams,
    RcptParams,
    decode_xtext,
    encode_orcpt,
    encode_xtext,
    parse_mail_params,
    parse_rcpt_params,
)
from sendry.mail.reply import Refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", MailParams()),
        ("SIZE=1234", MailParams(size=1234)),
        ("size=0012 body=8bitmime", MailParams(size=12, body="8BITMIME")),
        ("BODY=7BIT", MailParams()),
        ("SMTPUTF8", MailParams(smtputf8=True)),
        ("  SIZE=1   SMTPUTF8 ", MailParams(size=1, smtputf8=True)),
        ("RET=hdrs ENVID=Qq314159", MailParams(ret="HDRS", envid="Qq314159")),
        ("RET=FULL", MailParams(ret="FULL")),
        ("ENVID=a+2Bb+3Dc+20d", MailParams(envid="a+b=c d")),
        ("AUTH=<>", MailParams()),
        ("AUTH=User+2Bx@Example.com", MailParams(auth="User+x@Example.com")),
        ("ENVID=" + "x" * 100, MailParams(envid="x" * 100)),
    ],
)
def test_mail_parameters_are_read(text: str, expected: MailParams) -> None:
    assert parse_mail_params(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", RcptParams()),
        ("NOTIFY=NEVER", RcptParams(notify="NEVER")),
        ("notify=delay,success", RcptParams(notify="SUCCESS,DELAY")),
        ("NOTIFY=FAILURE,FAILURE", RcptParams(notify="FAILURE")),
        ("NOTIFY=DELAY,FAILURE,SUCCESS", RcptParams(notify="SUCCESS,FAILURE,DELAY")),
        ("ORCPT=rfc822;Bob+2B1@Example.com", RcptParams(orcpt="rfc822;Bob+1@Example.com")),
        ("ORCPT=RFC822;b@x NOTIFY=SUCCESS", RcptParams(notify="SUCCESS", orcpt="rfc822;b@x")),
        ("ORCPT=rfc822;+22a+20b+22@x", RcptParams(orcpt='rfc822;"a b"@x')),
        ("ORCPT=utf-8;\\x{03B4}@x", RcptParams(orcpt="utf-8;δ@x")),
        ("ORCPT=utf-8;δ@x", RcptParams(orcpt="utf-8;δ@x")),
        ("ORCPT=utf-8;a\\x{2B}b@x", RcptParams(orcpt="utf-8;a+b@x")),
        ("ORCPT=x400;/C=US", None),
        ("ORCPT=x400;/C+3DUS", RcptParams(orcpt="x400;/C=US")),
    ],
)
def test_rcpt_parameters_are_read(text: str, expected: RcptParams | None) -> None:
    if expected is None:
        with pytest.raises(Refused):
            parse_rcpt_params(text)
    else:
        assert parse_rcpt_params(text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("FOO=bar", 555),
        ("FOO", 555),
        ("NOTIFY=NEVER", 555),
        ("HOLDFOR=60", 555),
        ("SIZE=1 size=2", 555),
        ("SMTPUTF8 SMTPUTF8", 555),
        ("SIZE", 501),
        ("SIZE=", 501),
        ("SIZE=-1", 501),
        ("SIZE=1k", 501),
        ("SIZE=" + "1" * 21, 501),
        ("SIZE=١", 501),
        ("ſIZE=1", 501),
        ("BODY", 501),
        ("BODY=BINARYMIME", 501),
        ("BODY=8BıTMIME", 501),
        ("SMTPUTF8=1", 501),
        ("SMTPUTF8=", 501),
        ("RET=ALL", 501),
        ("RET", 501),
        ("ENVID", 501),
        ("ENVID=", 501),
        ("ENVID=" + "x" * 101, 501),
        ("ENVID=a+b", 501),
        ("ENVID=a+2b", 501),
        ("ENVID=a=b", 501),
        ("ENVID=+0D+0A", 501),
        ("ENVID=+FF", 501),
        ("AUTH", 501),
        ("AUTH=", 501),
        ("AUTH=a+0Ab", 501),
        ("=1", 501),
        ("-A=1", 501),
        ("SIZE=1\tBODY=7BIT", 501),
        ("SIZE=1\r\nRCPT TO:<x@y>", 501),
        ("SIZE=1\x00", 501),
    ],
)
def test_wrong_mail_parameters_are_refused(text: str, code: int) -> None:
    with pytest.raises(Refused) as refused:
        parse_mail_params(text)
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (code, "5.5.4")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SIZE=1", 555),
        ("NOTIFY=NEVER NOTIFY=NEVER", 555),
        ("NOTIFY", 501),
        ("NOTIFY=", 501),
        ("NOTIFY=NEVER,FAILURE", 501),
        ("NOTIFY=NEVER,NEVER", 501),
        ("NOTIFY=FAILURE,", 501),
        ("NOTIFY=ALWAYS", 501),
        ("ORCPT", 501),
        ("ORCPT=", 501),
        ("ORCPT=bob@example.com", 501),
        ("ORCPT=rfc822;", 501),
        ("ORCPT=;bob@example.com", 501),
        ("ORCPT=rfc 822;bob", 501),
        ("ORCPT=rfc822;bob+0D+0ARCPT", 501),
        ("ORCPT=rfc822;δ@x", 501),
        ("ORCPT=utf-8;\\x{0D}\\x{0A}", 501),
        ("ORCPT=utf-8;\\x{110000}", 501),
        ("ORCPT=utf-8;\\x{D800}", 501),
        ("ORCPT=utf-8;a\\b", 501),
        ("ORCPT=utf-8;a=b", 501),
        ("ORCPT=rfc822;" + "x" * 494, 501),
    ],
)
def test_wrong_rcpt_parameters_are_refused(text: str, code: int) -> None:
    with pytest.raises(Refused) as refused:
        parse_rcpt_params(text)
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (code, "5.5.4")


def test_control_characters_are_called_by_their_name() -> None:
    with pytest.raises(Refused, match="Control characters"):
        parse_rcpt_params("NOTIFY=NEVER\tX")


def test_an_orcpt_of_full_length_is_taken() -> None:
    assert parse_rcpt_params("ORCPT=rfc822;" + "x" * 493).orcpt == "rfc822;" + "x" * 493


def test_smtputf8_is_unknown_where_it_was_not_offered() -> None:
    with pytest.raises(Refused) as refused:
        parse_mail_params("SMTPUTF8", smtputf8_offered=False)
    assert refused.value.reply.code == 555


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
@example("a+b=c d\\")
def test_xtext_comes_back_as_it_went_and_needs_no_quoting(text: str) -> None:
    written = encode_xtext(text)
    assert " " not in written
    assert "=" not in written
    assert decode_xtext(written) == text


@pytest.mark.parametrize("text", ["δ", "a\nb", "a\x7f"])
def test_only_printable_ascii_becomes_xtext(text: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        encode_xtext(text)


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40))
@example("a b\\+=δ💌")
def test_an_orcpt_of_any_address_can_be_sent_on_in_ascii(address: str) -> None:
    orcpt = f"utf-8;{address}"
    written = encode_orcpt(orcpt)
    assert written.isascii()
    assert " " not in written
    if len(written) <= 500:
        assert parse_rcpt_params(f"ORCPT={written}").orcpt == orcpt


def test_an_ascii_orcpt_is_sent_on_as_xtext() -> None:
    assert encode_orcpt("rfc822;a+b@x") == "rfc822;a+2Bb@x"


WORDS = st.sampled_from(
    ["SIZE=", "BODY=", "8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=", "AUTH=", "NOTIFY=", "NEVER", "ORCPT=rfc822;",
     "ORCPT=utf-8;", "\\x{41}", "+0A", "+20", " ", "=", ",", "\r\n", "\x00", "1", "δ"]
)  # fmt: skip


@given(st.lists(WORDS | st.text(max_size=5), max_size=12).map("".join))
def test_hostile_parameters_are_read_or_refused_and_never_carry_controls(text: str) -> None:
    with contextlib.suppress(Refused):
        mail = parse_mail_params(text)
        assert all(value.isprintable() for value in (mail.envid, mail.auth, mail.ret, mail.body))
    with contextlib.suppress(Refused):
        rcpt = parse_rcpt_params(text)
        assert (rcpt.notify + rcpt.orcpt).isprintable()
