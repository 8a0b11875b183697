"""The states of a recipient and of a message, and the kinds of events."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Status(StrEnum):
    """State of one recipient delivery, and, derived, of a message."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"


WAITING = (Status.PENDING, Status.DEFERRED)
# A message shows the first of these that any of its recipients is in.
_PRECEDENCE = (
    Status.SENDING, Status.PENDING, Status.DEFERRED, Status.FAILED, Status.CANCELLED, Status.SUPPRESSED,
)  # fmt: skip


class EventKind(StrEnum):
    """What can happen to a message; the history of the panel, the API and webhooks."""

    ACCEPTED = "accepted"
    ATTEMPTED = "attempted"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    FAILED = "failed"
    CAPTURED = "captured"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    QUARANTINED = "quarantined"


class Route(StrEnum):
    """What happens to a recipient's mail."""

    MX = "mx"
    RELAY = "relay"
    REDIRECT = "redirect"
    COPY = "copy"
    CAPTURE = "capture"


def of_message(statuses: Iterable[str]) -> Status:
    """The status of a message from those of its recipients: `delivered` only if all were."""
    seen = set(statuses)
    for status in _PRECEDENCE:
        if status in seen:
            return status
    return Status.DELIVERED
