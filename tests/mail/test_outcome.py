"""What replies mean: a table of replies in the forms that hosts really use, and the facts without a reply."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.bounce_class import BounceClass, classify
from sendry.mail.outcome import (
    DnsFault,
    Outcome,
    Stage,
    TlsFault,
    Verdict,
    connect_failure,
    connection_lost,
    dns_failure,
    expired,
    goes_on,
    judge,
    local_failure,
    message_too_big,
    smtputf8_unsupported,
    tls_failure,
)
from sendry.mail.reply import Reply
from tests.mail.replies import (
    AUTH,
    BANNER,
    DATA,
    DEFERRED,
    DELIVERED,
    DOT,
    EHLO,
    FAILED,
    MAIL,
    QUIT,
    RCPT,
    REPLIES,
    STARTTLS,
    UNKNOWN,
)


@pytest.mark.parametrize(("stage", "lines", "kind", "bounce_class", "enhanced"), REPLIES)
def test_replies_of_the_world(stage: Stage, lines: str, kind: Outcome, bounce_class: str, enhanced: str) -> None:
    reply = Reply.parse(lines.encode().split(b"\n"))
    if stage is Stage.QUIT:
        assert goes_on(reply, stage)
        return
    verdict = judge(reply, stage)
    assert (verdict.kind, verdict.bounce_class or "", verdict.enhanced) == (kind, bounce_class, enhanced)
    assert verdict.code == reply.code
    assert verdict.text == reply.text


def test_the_table_is_thick() -> None:
    assert len(REPLIES) >= 150
    assert len({lines for _, lines, *_ in REPLIES}) >= 140


@pytest.mark.parametrize(
    ("stage", "code", "expected"),
    [
        (BANNER, 220, True), (BANNER, 354, False), (EHLO, 250, True), (STARTTLS, 220, True), (AUTH, 334, True),
        (AUTH, 235, True), (MAIL, 250, True), (RCPT, 251, True), (RCPT, 354, False), (DATA, 354, True),
        (DATA, 250, False), (DOT, 250, True), (DOT, 354, False), (QUIT, 500, True),
        (RCPT, 0, False), (MAIL, 450, False),
    ],
)  # fmt: skip
def test_which_replies_let_the_conversation_go_on(stage: Stage, code: int, expected: bool) -> None:
    assert goes_on(Reply(code, "", ""), stage) is expected


@pytest.mark.parametrize(
    ("stage", "code"), [(MAIL, 250), (RCPT, 250), (DATA, 354), (AUTH, 334), (QUIT, 221), (BANNER, 220)]
)
def test_a_conversation_that_goes_on_has_no_outcome_yet(stage: Stage, code: int) -> None:
    with pytest.raises(ValueError, match="goes on"):
        judge(Reply(code, "", ""), stage)


WORDS = st.lists(st.sampled_from(" ".join(lines for _, lines, *_ in REPLIES).split()), max_size=25).map(" ".join)
ENHANCED = st.just("") | st.builds("{}.{}.{}".format, st.sampled_from("245"), st.integers(0, 9), st.integers(0, 30))
REPLY = st.builds(Reply, st.just(0) | st.integers(100, 599), ENHANCED, WORDS)


@given(REPLY, st.sampled_from(Stage))
def test_every_reply_has_a_consistent_verdict(reply: Reply, stage: Stage) -> None:
    if goes_on(reply, stage) and stage is not DOT:
        return
    verdict = judge(reply, stage)
    digits = {DELIVERED: "2", DEFERRED: "4", FAILED: "5", UNKNOWN: "4"}
    assert verdict.enhanced[0] == digits[verdict.kind]
    assert (verdict.bounce_class is None) == (verdict.kind is DELIVERED)
    if reply.is_temporary:
        assert verdict.kind is DEFERRED
    if verdict.kind is FAILED:
        assert reply.is_permanent
        assert stage in (MAIL, RCPT, DATA, DOT)
        assert verdict.bounce_class is not BounceClass.GREYLIST
    if verdict.bounce_class in (BounceClass.HARD_ADDRESS, BounceClass.HARD_DOMAIN):
        assert verdict.kind is FAILED
        assert stage is not MAIL
        assert verdict.suppresses
    else:
        assert not verdict.suppresses


def test_only_the_address_and_its_domain_suppress() -> None:
    suppressing = {row[3] for row in REPLIES if judged(row).suppresses}
    assert suppressing == {"hard-address", "hard-domain"}


def judged(row: tuple[Stage, str, Outcome, str, str]) -> Verdict:
    reply = Reply.parse(row[1].encode().split(b"\n"))
    return judge(reply, row[0]) if row[0] is not Stage.QUIT else local_failure("")


def test_421_is_temporary_at_every_command() -> None:
    assert {judge(Reply(421, "5.7.1", ""), stage).kind for stage in Stage if stage is not QUIT} == {DEFERRED}


def test_a_diagnostic_without_basic_code_is_classified_by_its_status() -> None:
    assert classify(0, "5.1.1", "") is BounceClass.HARD_ADDRESS
    assert classify(0, "4.7.1", "please try again later") is BounceClass.GREYLIST
    assert classify(0, "5.7.1", "please try again later") is BounceClass.POLICY
    assert classify(0, "5.0.0", "mailbox is full") is BounceClass.MAILBOX_FULL
    assert classify(0, "", "") is BounceClass.UNKNOWN


@pytest.mark.parametrize(
    ("fault", "kind", "code", "enhanced", "bounce_class"),
    [
        (DnsFault.NXDOMAIN, FAILED, 0, "5.1.2", "hard-domain"),
        (DnsFault.NULL_MX, FAILED, 556, "5.1.10", "hard-domain"),
        (DnsFault.NO_HOST, FAILED, 0, "5.4.4", "hard-domain"),
        (DnsFault.NO_ADDRESS, DEFERRED, 0, "4.4.1", "dns"),
        (DnsFault.SERVFAIL, DEFERRED, 0, "4.4.3", "dns"),
        (DnsFault.TIMEOUT, DEFERRED, 0, "4.4.3", "dns"),
        (DnsFault.PROHIBITED, FAILED, 0, "5.4.4", "dns"),
        (DnsFault.LOOP, FAILED, 0, "5.4.6", "dns"),
    ],
)
def test_failures_of_dns(fault: DnsFault, kind: Outcome, code: int, enhanced: str, bounce_class: str) -> None:
    verdict = dns_failure(fault, "example.com")
    assert (verdict.kind, verdict.code, verdict.enhanced, verdict.bounce_class) == (
        kind,
        code,
        enhanced,
        bounce_class,
    )
    assert "example.com" in verdict.text


def test_a_host_that_cannot_be_reached_is_tried_again() -> None:
    verdict = connect_failure("mx.example.com", "refused")
    assert (verdict.kind, verdict.enhanced, verdict.bounce_class) == (DEFERRED, "4.4.1", "connect")
    assert verdict.text == "Connection to mx.example.com: refused"


@pytest.mark.parametrize("stage", list(Stage))
def test_a_lost_connection_leaves_open_what_became_of_the_message_only_after_the_final_dot(stage: Stage) -> None:
    verdict = connection_lost(stage, "mx.example.com")
    assert verdict.kind is (UNKNOWN if stage is DOT else DEFERRED)
    assert (verdict.enhanced, verdict.bounce_class) == ("4.4.2", "connect")


@pytest.mark.parametrize(
    ("fault", "enhanced"),
    [(TlsFault.NOT_OFFERED, "4.7.4"), (TlsFault.HANDSHAKE, "4.7.5"), (TlsFault.UNVERIFIED, "4.7.5")],
)
def test_missing_tls_defers(fault: TlsFault, enhanced: str) -> None:
    verdict = tls_failure(fault, "mx.example.com", "certificate expired")
    assert (verdict.kind, verdict.enhanced, verdict.bounce_class) == (DEFERRED, enhanced, "tls")
    assert verdict.text.endswith(": certificate expired")


def test_what_a_host_cannot_take_fails() -> None:
    assert (smtputf8_unsupported("mx").kind, smtputf8_unsupported("mx").enhanced) == (FAILED, "5.6.7")
    assert (message_too_big("mx", 5).kind, message_too_big("mx", 5).enhanced) == (FAILED, "5.3.4")
    assert not smtputf8_unsupported("mx").suppresses


def test_our_own_trouble_never_fails_a_message() -> None:
    assert (local_failure("key unreadable").kind, local_failure("").enhanced) == (DEFERRED, "4.3.0")


@pytest.mark.parametrize(
    ("after", "span"),
    [(timedelta(days=5), "5 days"), (timedelta(hours=47), "47 hours"), (timedelta(minutes=5), "the time allowed")],
)
def test_expiry_keeps_what_was_said_last(after: timedelta, span: str) -> None:
    last = judge(Reply(451, "4.3.0", "queue\nfull"), DOT)
    verdict = expired(last, after)
    assert (verdict.kind, verdict.code, verdict.enhanced, verdict.bounce_class) == (FAILED, 451, "4.4.7", "expired")
    assert verdict.text == f"Not delivered within {span}; last: queue full"
    assert not verdict.suppresses
    assert expired(None, after).text == f"Not delivered within {span}"
