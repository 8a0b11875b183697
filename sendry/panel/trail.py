"""The trail of each recipient of a message: what happened, in words, with the facts and the reply of every try.

Pure but for the reader's language and `now`. Newest last; the last step of one who waits is the next try.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sendry.panel import words
from sendry.panel.language import gettext, later, pgettext
from sendry.panel.rows import origin_words, state_of, state_of_recipient
from sendry.queue.states import EventKind, Status
from sendry.queue.views import AttemptRow, EventRow, MessageView, RecipientRow

_SENSE: Final = {
    "hard-address": later("no such mailbox"),
    "hard-domain": later("the domain takes no mail"),
    "mailbox-full": later("the mailbox is full"),
    "policy": later("refused by policy"),
    "reputation": later("our address or domain is not trusted"),
    "auth": later("sender authentication failed"),
    "greylist": later("greylisted"),
    "rate": later("too much at a time"),
    "tls": later("no secure connection"),
    "dns": later("a name could not be looked up"),
    "connect": later("no answer"),
    "protocol": later("the servers did not understand each other"),
    "expired": later("no more tries left"),
}
_OUTCOME: Final = {
    "delivered": ("delivered", later("Delivered")),
    "deferred": ("deferred", later("Deferred")),
    "failed": ("failed", later("Failed")),
    "unknown": ("deferred", later("Outcome unknown")),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a trail."""

    at: datetime | None
    state: str
    what: str
    sense: str = ""
    host: str = ""
    tls: str = ""
    is_secure: bool = False
    source: str = ""
    took: str = ""
    code: str = ""
    reply: str = ""
    inbox: bool = False  # links to the captured mail
    due: str = ""  # for what is still to come, instead of a time


@dataclass(frozen=True, slots=True)
class Leg:
    """One recipient and its trail."""

    number: int
    address: str
    original: str
    state: str
    end: str
    is_open: bool
    steps: tuple[Step, ...]


def legs(view: MessageView, most_tries: int) -> list[Leg]:
    """A leg for every recipient: those that are not delivered first, each group in its order."""
    made = [_leg(view, recipient, most_tries) for recipient in view.recipients]
    return sorted(made, key=lambda leg: leg.state in ("delivered", "captured"))


def _leg(view: MessageView, recipient: RecipientRow, most_tries: int) -> Leg:
    state = state_of_recipient(recipient)
    attempts = [attempt for attempt in view.attempts if attempt.recipient_number == recipient.number]
    known = {attempt.number for attempt in attempts}
    events = [
        event for event in view.events if event.recipient_number == recipient.number and event.number not in known
    ]
    accepted = Step(
        at=view.message.created_at,
        state="pending",
        what=gettext("Accepted"),
        sense=gettext("from %(origin)s", origin=origin_words(view.message)),
    )
    timed = [(attempt.started_at, attempt.number, _tried(attempt)) for attempt in attempts]
    timed += [(event.at, event.number, step) for event in events if (step := _happened(event, recipient))]
    steps = [accepted, *(step for _, _, step in sorted(timed, key=lambda entry: entry[:2]))]
    if recipient.next_attempt_at is not None:
        steps.append(_to_come(recipient, most_tries))
    return Leg(
        number=recipient.number,
        address=recipient.address,
        original=recipient.original,
        state=state,
        end=_end(view, recipient, state, attempts),
        # A single recipient has room for its whole story.
        is_open=state not in ("delivered", "captured") or len(view.recipients) <= 3,
        steps=tuple(steps),
    )


def _tried(attempt: AttemptRow) -> Step:
    state, what = _OUTCOME.get(attempt.outcome, _OUTCOME["unknown"])
    sense = _SENSE.get(attempt.bounce_class, "")
    if attempt.outcome == "unknown":
        sense = later("the connection was lost after the content; it may have arrived")
    spoke = bool(attempt.ip) and bool(attempt.code)
    return Step(
        at=attempt.started_at,
        state=state,
        what=gettext(what),
        sense=gettext(sense) if sense else "",
        host=", ".join(part for part in (attempt.host, attempt.ip) if part),
        tls=_tls(attempt) if spoke or attempt.tls else "",
        is_secure=bool(attempt.tls),
        source=attempt.source_ip,
        took=words.span(timedelta(milliseconds=attempt.duration_ms)),
        code=" ".join(part for part in (str(attempt.code or ""), attempt.enhanced if attempt.code else "") if part),
        reply=attempt.response,
    )


def _tls(attempt: AttemptRow) -> str:
    if not attempt.tls:
        return gettext("clear text")
    version = attempt.tls.replace("TLSv", "TLS ")
    if attempt.tls_verified in ("", "unverified"):
        return gettext("%(version)s, certificate not verified", version=version)
    return gettext("%(version)s, verified", version=version)


def _happened(event: EventRow, recipient: RecipientRow) -> Step | None:
    """The step of an event that no try stands behind."""
    match event.kind:
        case EventKind.CAPTURED:
            return Step(
                event.at, "captured", gettext("Captured"), gettext("kept in the sandbox, sent to nobody"), inbox=True
            )
        case EventKind.CANCELLED:
            return Step(event.at, "cancelled", gettext("Cancelled"), gettext("stopped by hand"))
        case EventKind.RETRIED:
            return Step(event.at, "pending", gettext("Retry"), gettext("put back into the line by hand"))
        case EventKind.QUARANTINED:
            reason = str(event.detail.get("reason", ""))
            return Step(
                event.at, "failed", gettext("Quarantined"), gettext("it broke our delivery three times"), reply=reason
            )
        case EventKind.DEFERRED | EventKind.FAILED | EventKind.BOUNCED | EventKind.DELIVERED:
            state, what = _OUTCOME["failed" if event.kind is EventKind.BOUNCED else event.kind.value]
            reply = str(event.detail.get("reason", "")) or recipient.last_response
            return Step(event.at, state, gettext(what), reply=reply)
        case _:
            return None


def _to_come(recipient: RecipientRow, most_tries: int) -> Step:
    assert recipient.next_attempt_at is not None
    try_number = recipient.attempts + 1
    if try_number > most_tries:
        what = gettext("Try %(n)s", n=try_number)
    else:
        what = gettext("Try %(n)s of %(most)s", n=try_number, most=most_tries)
    sense = (
        gettext("may arrive twice: the outcome of an earlier try is unknown")
        if recipient.is_possible_duplicate
        else ""
    )
    return Step(None, "pending", what, sense, due=words.until(recipient.next_attempt_at))


def _end(view: MessageView, recipient: RecipientRow, state: str, attempts: Sequence[AttemptRow]) -> str:
    """What stands at the right of a leg's head."""
    if recipient.next_attempt_at is not None:
        return gettext("next try %(when)s", when=words.until(recipient.next_attempt_at))
    if state == "delivered" and attempts:
        took = attempts[-1].started_at - view.message.created_at + timedelta(milliseconds=attempts[-1].duration_ms)
        return pgettext("took", "in %(span)s", span=words.span(took))
    if state == "failed":
        return gettext(_SENSE[recipient.bounce_class]) if recipient.bounce_class in _SENSE else ""
    return ""


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line of the whole history, over all recipients."""

    at: datetime
    state: str
    what: str
    address: str
    detail: str


_EVENTS: Final = {
    EventKind.ACCEPTED: ("pending", later("Accepted")),
    EventKind.ATTEMPTED: ("sending", later("Tried")),
    EventKind.DELIVERED: ("delivered", later("Delivered")),
    EventKind.DEFERRED: ("deferred", later("Deferred")),
    EventKind.BOUNCED: ("failed", later("Bounced")),
    EventKind.FAILED: ("failed", later("Failed")),
    EventKind.CAPTURED: ("captured", later("Captured")),
    EventKind.CANCELLED: ("cancelled", later("Cancelled")),
    EventKind.RETRIED: ("pending", later("Retry")),
    EventKind.QUARANTINED: ("failed", later("Quarantined")),
}


def history(view: MessageView) -> list[EventLine]:
    """Every event, oldest first."""
    addresses = {recipient.number: recipient.address for recipient in view.recipients}
    return [_event_line(event, addresses.get(event.recipient_number or 0, "")) for event in view.events]


def _event_line(event: EventRow, address: str) -> EventLine:
    state, what = _EVENTS.get(event.kind, ("pending", event.kind.value))
    detail = str(event.detail.get("reason", ""))
    if event.attempt is not None:
        detail = " ".join(
            str(part) for part in (event.attempt.code or "", event.attempt.enhanced, event.attempt.response) if part
        )
    return EventLine(event.at, state, gettext(what), address, detail)


def headline(view: MessageView) -> tuple[str, str]:
    """(state, word) for the pill beside the title: the message's state, with how many recipients are in it."""
    shown = state_of(view.message)
    word, total = words.state_word(shown), len(view.recipients)
    number = sum(1 for recipient in view.recipients if state_of_recipient(recipient) == shown)
    if number == total or not number:
        return shown, word
    return shown, gettext("%(n)s of %(total)s %(state)s", n=number, total=total, state=word.lower())


def can_retry(recipients: Iterable[RecipientRow]) -> int:
    """How many recipients a retry would touch."""
    return sum(1 for r in recipients if r.status in (Status.DEFERRED, Status.FAILED) and r.route != "capture")


def can_cancel(recipients: Iterable[RecipientRow]) -> int:
    """How many recipients still wait."""
    return sum(1 for r in recipients if r.next_attempt_at is not None)
