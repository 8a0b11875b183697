"""Values that travel between the queue and its users: new messages in, work out, results back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sendry.mail.envelope import Content, Origin
from sendry.queue.states import Route


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """One recipient row to be. By Route.CAPTURE nothing is delivered: it ends as delivered at once."""

    address: str
    destination: str
    route: Route
    original: str = ""
    notify: str = ""
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class NewCapture:
    """An inbox entry to be."""

    recipients: tuple[str, ...]
    original_to: tuple[str, ...] = ()
    mailbox: str = ""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """Everything `Queue.enqueue` writes in one transaction. `id` comes from `Queue.ids`."""

    id: int
    sender: str
    header_from: str
    subject: str
    header_id: str
    domain: str
    mode: str
    origin: Origin
    content: Content
    recipients: tuple[NewRecipient, ...]
    due: datetime  # when the first attempt may start
    now: datetime
    priority: int = 0
    smtputf8: bool = False
    eight_bit: bool = False
    ret: str = ""
    envid: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    capture: NewCapture | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed recipient with what delivery needs of its message. The lease is held until settled."""

    recipient_id: int
    message_id: int
    address: str
    destination: str
    route: Route
    original: str
    attempts: int  # finished before this one
    is_possible_duplicate: bool
    notify: str
    orcpt: str
    is_delay_told: bool
    created_at: datetime
    sender: str
    domain: str  # own domain, decides on source address
    header_from: str
    origin_kind: str
    priority: int
    size: int
    smtputf8: bool
    eight_bit: bool
    ret: str
    envid: str
    recipient_count: int  # of the whole message
    small: bytes | None  # the whole content when it is small, else read it by Queue.open_content(message_id)
    lease: int = 0  # which of the node's leases on this recipient it is


@dataclass(frozen=True, slots=True)
class Tried:
    """What is kept of one try at one host."""

    started_at: datetime
    duration_ms: int
    host: str = ""
    ip: str = ""
    source_ip: str = ""
    tls: str = ""
    tls_verified: str = ""
    code: int = 0
    enhanced: str = ""
    response: str = ""
    bounce_class: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How one claimed recipient's turn ended; `Queue.settle` writes it.

    `outcome`: delivered, deferred, failed, or unknown (connection lost after the final dot: it is deferred
    and marked). `next_attempt_at` is set exactly for deferred and unknown. `counts`: whether it uses up one of
    the attempts.
    """

    work: Work
    outcome: str
    tried: tuple[Tried, ...]
    next_attempt_at: datetime | None = None
    counts: bool = True
    is_delay_told: bool = False  # a delay warning goes out with this result
