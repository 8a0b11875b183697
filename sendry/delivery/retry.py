"""When to try again, and when to give up.

Pure. With the defaults (5m, doubling, at most 4h): 5, 10, 20, 40, 80, 160 minutes, then every 4 hours, each 10 % more
or less, so that mail deferred together does not come back together. `max_retries` counts attempts in all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from sendry.delivery.settings import Settings
from sendry.mail.envelope import OriginKind
from sendry.mail.outcome import Outcome, Verdict, expired
from sendry.queue.work import Work

_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of a recipient after an attempt: the verdict that stands, and when the next try is due."""

    verdict: Verdict
    next_attempt_at: datetime | None

    @property
    def outcome(self) -> Outcome:
        """As `Result.outcome` takes it."""
        return self.verdict.kind


def ending_of(work: Work, verdict: Verdict, now: datetime, settings: Settings, chance: random.Random) -> Ending:
    """Deferred with a time, or delivered or failed for good.

    What may have arrived is tried again like what was deferred, but campaign mail is not: twice is worse than once
    too few, and nobody looks at each of a hundred thousand.
    """
    if verdict.kind in (Outcome.DELIVERED, Outcome.FAILED):
        return Ending(verdict, None)
    if verdict.kind is Outcome.UNKNOWN and work.origin_kind == OriginKind.CAMPAIGN:
        return Ending(_failed(verdict), None)
    due = next_attempt(work.attempts + 1, now, settings, chance)
    if due is None:
        return Ending(expired(verdict, now - work.created_at), None)
    return Ending(verdict, due)


def next_attempt(attempts: int, now: datetime, settings: Settings, chance: random.Random) -> datetime | None:
    """When to try again after this many attempts; None when they are used up."""
    if attempts >= settings.max_retries:
        return None
    first, longest = settings.retry_interval.total_seconds(), settings.retry_max_interval.total_seconds()
    wait = min(first * 2.0 ** min(attempts - 1, 100), longest)
    return now + timedelta(seconds=wait * chance.uniform(1 - _JITTER, 1 + _JITTER))


def is_overdue(work: Work, failing_since: datetime, now: datetime, settings: Settings) -> bool:
    """Whether mail that waits for a host to come back has waited as long as all its attempts would have taken."""
    waited = now - max(work.created_at, failing_since)
    return waited > settings.horizon + timedelta(minutes=1)


def _failed(verdict: Verdict) -> Verdict:
    return Verdict(Outcome.FAILED, verdict.code, "5.4.2", verdict.text, verdict.bounce_class)
