"""What is handed in before it is accepted: sender, recipients, content, origin. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class OriginKind(StrEnum):
    """Who handed a message in."""

    SMTP = "smtp"
    API = "api"
    CAMPAIGN = "campaign"
    SENDRY = "sendry"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message comes from and what that entitles it to."""

    kind: OriginKind
    name: str = ""  # SMTP login, API key name, campaign id
    client_ip: str = ""
    may_relay: bool = False  # authenticated, in a trusted network, or our own


@dataclass(frozen=True, slots=True)
class Addressee:
    """One envelope recipient with its DSN parameters (RFC 3461)."""

    address: str
    notify: str = ""
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """The octets of a message: head, then body, then the rest of a spool file when it is large.

    `head` is the finished header block with the empty line that ends it; line ends are CRLF throughout.
    A spool file is already synced to disk when a Content names it.
    """

    head: bytes
    body: bytes = b""
    spool: str = ""
    spool_offset: int = 0
    spool_size: int = 0  # octets from spool_offset to the end of the file

    @property
    def size(self) -> int:
        """Octets in all."""
        return len(self.head) + len(self.body) + self.spool_size


@dataclass(frozen=True, slots=True)
class Envelope:
    """One mail on its way in. `sender` is "" for the null sender."""

    sender: str
    recipients: tuple[Addressee, ...]
    content: Content
    origin: Origin
    smtputf8: bool = False
    eight_bit: bool = False
    ret: str = ""
    envid: str = ""
    priority: int = 0
    send_at: datetime | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_submission: bool = False  # Message-ID and Date are added when absent (RFC 6409 section 8)
    trace: bytes = (
        b""  # the Received field to put on top, finished with CRLF; "{id}" inside stands for the message id
    )
