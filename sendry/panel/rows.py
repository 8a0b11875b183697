"""Messages as lists show them: one line each, worded for people. Pure but for the reader's language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sendry.config.values import DomainMode
from sendry.panel.language import gettext
from sendry.queue.states import Route, Status
from sendry.queue.views import MessageRow, RecipientRow


@dataclass(frozen=True, slots=True)
class Line:
    """One message in a list."""

    id: str
    state: str
    subject: str
    has_subject: bool
    to: str
    more: int  # recipients beside the first
    origin: str
    tries: int
    accepted_at: datetime
    next_attempt_at: datetime | None
    code: int
    reply: str


def lines(rows: Iterable[MessageRow]) -> list[Line]:
    """The rows in their order."""
    return [line(row) for row in rows]


def line(row: MessageRow) -> Line:
    """One row."""
    return Line(
        id=row.id,
        state=state_of(row),
        subject=row.subject or gettext("(no subject)"),
        has_subject=bool(row.subject),
        to=row.first_recipient,
        more=max(0, row.recipient_count - 1),
        origin=origin_words(row),
        tries=row.attempts,
        accepted_at=row.created_at,
        next_attempt_at=row.next_attempt_at,
        code=row.last_code,
        reply=row.last_response,
    )


def state_of(row: MessageRow) -> str:
    """The state that is shown: mail of a sandbox domain that «was delivered» was captured."""
    if row.mode == DomainMode.SANDBOX and row.status is Status.DELIVERED:
        return "captured"
    return row.status.value


def state_of_recipient(recipient: RecipientRow) -> str:
    """The same for one recipient."""
    if recipient.route == Route.CAPTURE and recipient.status is Status.DELIVERED:
        return "captured"
    return recipient.status.value


def origin_words(row: MessageRow) -> str:
    """Who handed it in."""
    name = row.origin_name
    if row.origin == "api" and name == "panel":
        return gettext("Panel")
    if row.origin == "smtp":
        return gettext("SMTP: %(name)s", name=name) if name else gettext("SMTP")
    if row.origin == "api":
        return gettext("API key: %(name)s", name=name) if name else gettext("API")
    if row.origin == "campaign":
        return gettext("Campaign: %(name)s", name=name)
    return gettext("Sendry")
