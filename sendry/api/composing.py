"""From a typed request to an envelope: who it is from and to, the finished message, how large it may be.

Promises: Bcc is in the envelope only; one address gets one copy; a message that would be too large, or whose sender
is none of ours, never reaches the intake. Large content is in a spool file, on disk, when the envelope names it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sendry.api.errors import ApiError, FieldFault, invalid
from sendry.api.reading import NO_CONTENT
from sendry.api.schema import AttachmentRequest, SendRequest
from sendry.config import Config
from sendry.domains.registry import Directory
from sendry.mail.address import Mailbox, domain_of, is_routed, parse_mailbox
from sendry.mail.compose import Attachment, Composed, Draft, DraftError, compose
from sendry.mail.envelope import Addressee, Content, Envelope, Origin
from sendry.store.spool import SPOOL_FROM, Spool, SpoolFile

# How a Draft calls its fields where a request calls them otherwise.
_FIELDS: Final = {"text": "body", "message_id": "from"}


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes the envelopes of one request."""

    config: Config
    directory: Directory
    spool: Spool
    origin: Origin
    now: datetime
    spooled: list[SpoolFile] = field(default_factory=list)

    def envelope(self, request: SendRequest) -> Envelope:
        """The envelope of one mail. Raises ApiError: 400, 403 or 413."""
        author = request.sender or self._default_author()
        domain = domain_of(author.address)
        if self.directory.find(domain) is None:
            raise domain_not_allowed(domain)
        if not (request.body or request.html or request.attachments):
            raise invalid([NO_CONTENT])
        to = distinct(request.to)
        cc = distinct(request.cc) if request.cc else ()
        addresses = dict.fromkeys([mailbox.address for mailbox in (*to, *cc, *(request.bcc or ()))])
        if len(addresses) > self.config.smtp.max_recipients or any(map(is_routed, addresses)):
            raise invalid(self._recipient_faults(request, len(addresses)))
        composed = self._compose(request, author, to, cc, domain)
        size = len(composed.head) + len(composed.body)
        limit = self.config.smtp.max_message_bytes
        if size > limit:
            told = f"The mail would have {size} octets, {limit} are allowed (smtp.max_message_bytes)."
            raise ApiError(413, "message_too_large", told)
        return Envelope(
            sender=author.address,
            recipients=tuple([Addressee(address) for address in addresses]),
            content=self._content(composed),
            origin=self.origin,
            smtputf8=composed.needs_smtputf8 or not all(map(str.isascii, addresses)),
            send_at=request.send_at,
            tags=tuple(dict.fromkeys(request.tags)) if request.tags else (),
            metadata=request.metadata or {},
        )

    def discard(self) -> None:
        """The mails of this request were not taken: their spool files go."""
        for file in self.spooled:
            file.discard()

    def _default_author(self) -> Mailbox:
        home = self.directory.find(self.config.smtp.domain)
        candidates = [home, *self.directory.own()] if home else self.directory.own()
        written = next((domain.default_from for domain in candidates if domain.default_from), "")
        if not written:
            raise invalid([FieldFault("from", "is required: no domain here has a default_from")])
        return parse_mailbox(written)

    def _recipient_faults(self, request: SendRequest, number: int) -> list[FieldFault]:
        limit = self.config.smtp.max_recipients
        faults = [
            FieldFault(f"{name}[{place}]", "has a routed address (with % or ! or a second @), which is not accepted")
            for name, mailboxes in (("to", request.to), ("cc", request.cc), ("bcc", request.bcc))
            for place, mailbox in enumerate(mailboxes or ())
            if is_routed(mailbox.address)
        ]
        if number > limit:
            faults.append(FieldFault("to", f"has {number} recipients with cc and bcc; {limit} are allowed"))
        return faults

    def _compose(
        self, request: SendRequest, author: Mailbox, to: tuple[Mailbox, ...], cc: tuple[Mailbox, ...], domain: str
    ) -> Composed:
        draft = Draft(
            from_=author,
            to=to,
            message_id=f"{random.getrandbits(128):032x}@{domain}",
            date=self.now,
            cc=cc,
            reply_to=(request.reply_to,) if request.reply_to else (),
            subject=request.subject or "",
            text=request.body,
            html=request.html,
            headers=tuple(request.headers.items()) if request.headers else (),
            attachments=tuple(map(_attachment, request.attachments)) if request.attachments else (),
        )
        try:
            return compose(draft)
        except DraftError as fault:
            name, dot, rest = fault.field.partition(".")
            raise invalid([FieldFault(f"{_FIELDS.get(name, name)}{dot}{rest}", fault.reason)]) from None

    def _content(self, composed: Composed) -> Content:
        if len(composed.body) <= SPOOL_FROM:
            return Content(composed.head, composed.body)
        file = self.spool.create()
        self.spooled.append(file)
        file.write(composed.body)
        file.sync()
        return Content(composed.head, b"", file.name, 0, file.size)


def distinct(mailboxes: Sequence[Mailbox]) -> tuple[Mailbox, ...]:
    """The same without repeated addresses; the first mention, with its name, stays."""
    if len(mailboxes) == 1:
        return tuple(mailboxes)
    found: dict[str, Mailbox] = {}
    for mailbox in mailboxes:
        found.setdefault(mailbox.address, mailbox)
    return tuple(found.values())


def domain_not_allowed(domain: str) -> ApiError:
    """403 for a sender domain that is none of ours."""
    return ApiError(
        403, "domain_not_allowed", f"Mail from {domain} cannot be sent here: it is not among the configured domains.",
        [FieldFault("from", f"must be of a configured domain; {domain} is none")],
    )  # fmt: skip


def _attachment(request: AttachmentRequest) -> Attachment:
    return Attachment(
        filename=request.filename,
        content_type=request.content_type or "",
        content=request.content,
        content_id=request.content_id or "",
        inline=request.content_id is not None,
    )
