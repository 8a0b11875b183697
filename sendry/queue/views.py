"""What the line looks like to those who read it: rows of lists, one message with everything, sums."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sendry.queue.states import EventKind, Status


@dataclass(frozen=True, slots=True)
class Counts:
    """Recipient deliveries by status, and what else is counted in rows."""

    pending: int = 0
    sending: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    cancelled: int = 0
    suppressed: int = 0
    captured: int = 0
    unread: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """All recipient deliveries that are still known."""
        return (
            self.pending
            + self.sending
            + self.delivered
            + self.deferred
            + self.failed
            + self.cancelled
            + self.suppressed
        )

    @property
    def waiting(self) -> int:
        """Those that are not finished."""
        return self.pending + self.sending + self.deferred


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message as lists show it."""

    id: str
    number: int
    status: Status
    sender: str
    header_from: str
    subject: str
    header_id: str
    domain: str
    mode: str
    origin: str
    origin_name: str
    client_ip: str
    size: int
    recipient_count: int
    priority: int
    tags: tuple[str, ...]
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime
    first_recipient: str = ""
    attempts: int = 0
    last_code: int = 0
    last_response: str = ""
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecipientRow:
    """One recipient delivery."""

    number: int
    address: str
    original: str
    destination: str
    route: str
    status: Status
    attempts: int
    next_attempt_at: datetime | None
    is_possible_duplicate: bool
    last_code: int
    last_enhanced: str
    last_response: str
    bounce_class: str
    notify: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try at one host."""

    number: int
    recipient_number: int
    started_at: datetime
    duration_ms: int
    host: str
    ip: str
    source_ip: str
    tls: str
    tls_verified: str
    code: int
    enhanced: str
    response: str
    outcome: str
    bounce_class: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of the history. `attempt` is there when the event came of one."""

    id: str
    number: int
    recipient_number: int | None
    kind: EventKind
    at: datetime
    detail: dict[str, Any]
    attempt: AttemptRow | None


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message with everything known about it."""

    message: MessageRow
    recipients: tuple[RecipientRow, ...]
    attempts: tuple[AttemptRow, ...]
    events: tuple[EventRow, ...]
    is_dead: bool
    is_captured: bool


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """What a list of messages is narrowed to. Empty fields narrow nothing.

    `text` looks into subject, sender and recipients; an address with a dot and an @ is looked up exactly.
    `is_dead` keeps dead letters only.
    """

    status: Status | None = None
    address: str = ""
    subject: str = ""
    text: str = ""
    tag: str = ""
    domain: str = ""
    origin: str = ""
    header_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    is_dead: bool = False
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, newest first. `total` is None when there are more than 10,000. Cursors are message ids."""

    items: tuple[MessageRow, ...]
    next_cursor: str
    total: int | None
    previous_cursor: str = ""


@dataclass(frozen=True, slots=True)
class DeadStats:
    """The dead-letter queue in three figures."""

    count: int
    oldest_at: datetime | None
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """What waits for one destination."""

    destination: str
    waiting: int
    next_attempt_at: datetime
    oldest_at: datetime
