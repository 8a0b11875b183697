"""The schedule, and who is not tried again."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.delivery.retry import ending_of, is_overdue, next_attempt
from sendry.mail.bounce_class import BounceClass
from sendry.mail.outcome import Outcome, Verdict
from tests.delivery.make import NOW, settings, work

LATER = Verdict(Outcome.DEFERRED, 451, "4.3.0", "later", BounceClass.UNKNOWN)
UNKNOWN = Verdict(Outcome.UNKNOWN, 0, "4.4.2", "lost", BounceClass.CONNECT)


def test_the_waits_double_up_to_the_cap() -> None:
    usual = settings(max_retries=40)
    waits = []
    for attempts in range(1, 10):
        due = next_attempt(attempts, NOW, usual, random.Random(attempts))
        assert due is not None
        waits.append((due - NOW) / timedelta(minutes=1))

    for wait, middle in zip(waits, [5, 10, 20, 40, 80, 160, 240, 240, 240], strict=True):
        assert middle * 0.9 <= wait <= middle * 1.1


def test_mail_deferred_together_does_not_come_back_together() -> None:
    chance = random.Random(7)

    assert len({next_attempt(1, NOW, settings(), chance) for _ in range(50)}) == 50


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_no_number_of_attempts_overflows(attempts: int, most: int) -> None:
    due = next_attempt(attempts, NOW, settings(max_retries=most), random.Random(1))

    assert (due is None) is (attempts >= most)
    assert due is None or due - NOW <= timedelta(hours=4.4)


def test_the_last_attempt_ends_the_mail_and_keeps_what_was_said() -> None:
    ending = ending_of(work(attempts=4), LATER, NOW + timedelta(hours=3), settings(), random.Random(1))

    assert ending.next_attempt_at is None
    assert (ending.verdict.kind, ending.verdict.code, ending.verdict.bounce_class) == (
        Outcome.FAILED, 451, BounceClass.EXPIRED,
    )  # fmt: skip


def test_what_may_have_arrived_is_tried_again_but_campaign_mail_is_not() -> None:
    usual = ending_of(work(), UNKNOWN, NOW, settings(), random.Random(1))
    campaign = ending_of(work(origin_kind="campaign"), UNKNOWN, NOW, settings(), random.Random(1))

    assert usual.verdict.kind is Outcome.UNKNOWN
    assert usual.next_attempt_at is not None
    assert (campaign.verdict.kind, campaign.next_attempt_at) == (Outcome.FAILED, None)


@pytest.mark.parametrize(("hours_old", "hours_failing", "is_late"), [(5, 5, True), (5, 1, False), (1, 5, False)])
def test_mail_is_overdue_when_both_it_and_the_failure_are_old(
    hours_old: int, hours_failing: int, is_late: bool
) -> None:
    item = work(created_at=NOW - timedelta(hours=hours_old))

    assert is_overdue(item, NOW - timedelta(hours=hours_failing), NOW, settings()) is is_late
