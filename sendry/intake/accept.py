"""Accepting mail: policy, routes by mode, trace fields, then one write; the answer comes when it is on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import Final

from sendry.config.tree import Config
from sendry.config.values import DomainMode
from sendry.domains.registry import Directory, SendingDomain
from sendry.intake import policy, routes
from sendry.mail import headers
from sendry.mail.address import domain_of
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.mail.reply import Refused, Reply
from sendry.queue.line import Queue
from sendry.queue.states import Route
from sendry.queue.work import NewMessage
from sendry.store.ids import to_text

log = logging.getLogger(__name__)

_RETURN_PATH: Final = b"\nreturn-path"


class Intake:
    """The door. Thread-safe; nothing here blocks, the futures wait for the commit."""

    def __init__(self, config: Config, directory: Directory, queue: Queue) -> None:
        self._config = config
        self._directory = directory
        self._queue = queue
        self._onward = Route.RELAY if config.delivery.relay else Route.MX

    def check_sender(self, origin: Origin, sender: str) -> None:
        """Early answer at MAIL. Raises Refused."""
        policy.sender_domain(self._directory, origin, sender)

    def check_recipient(self, origin: Origin, sender: str, recipient: str) -> None:  # noqa: ARG002 - part of the door
        """Early answer at RCPT: the relay rule. Raises Refused."""
        policy.check_recipient(self._directory, origin, recipient)

    def accept(self, envelope: Envelope, now: datetime) -> Future[str]:
        """Take one mail; the future gives its public id once it is on disk. Raises Refused at once."""
        return self._queue.enqueue_one(self._prepare(envelope, now))

    def accept_soon(self, envelope: Envelope, now: datetime) -> asyncio.Future[str]:
        """The same for a coroutine of the running loop."""
        return self._queue.enqueue_one_soon(self._prepare(envelope, now))

    def accept_many(self, envelopes: Sequence[Envelope], now: datetime) -> Future[list[str]]:
        """Take several mails in one transaction: all of them or, when one is refused, none."""
        return self._queue.enqueue([self._prepare(envelope, now) for envelope in envelopes])

    def _prepare(self, envelope: Envelope, now: datetime) -> NewMessage:
        content = envelope.content
        facts = headers.scan(content.head)
        if not facts.is_well_formed:
            head, body = headers.mend(content.head, b"")
            content = replace(content, head=head, body=body + content.body)
            facts = headers.scan(head)
        policy.check_hops(facts)
        if not envelope.recipients:
            raise Refused(Reply(554, "5.5.1", "No valid recipients"), "no recipients")
        addressees = routes.distinct(self._complete(a) for a in envelope.recipients)
        domain, routing = self._route(envelope, facts, addressees)
        number = self._queue.ids.next()
        header_id = facts.message_id or ""
        added = []
        if envelope.trace:
            added.append(envelope.trace.replace(b"{id}", to_text(number).encode(), 1))
        if envelope.is_submission:
            if not facts.has_message_id:
                header_id = f"<{to_text(number)}@{domain.name}>"
                added.append(f"Message-ID: {header_id}\r\n".encode())
            if not facts.has_date:
                added.append(f"Date: {headers.format_date(now)}\r\n".encode())
        head = content.head
        if _RETURN_PATH in b"\n" + head.lower():
            # It is the last server's to write (RFC 5321 section 4.4); one that came along says nothing.
            head = headers.remove_fields(head, ("Return-Path",))
        head = headers.prepend(head, *added, *routing.fields) if added or routing.fields else head
        return NewMessage(
            id=number,
            sender=envelope.sender,
            header_from=_readable(facts.from_raw),
            subject=facts.subject,
            header_id=header_id.strip("<>"),
            domain=domain.name,
            mode=domain.mode.value,
            origin=envelope.origin,
            content=Content(head, content.body, content.spool, content.spool_offset, content.spool_size),
            recipients=routing.recipients,
            due=envelope.send_at or now,
            now=now,
            priority=envelope.priority,
            smtputf8=envelope.smtputf8,
            eight_bit=envelope.eight_bit,
            ret=envelope.ret,
            envid=envelope.envid,
            tags=envelope.tags,
            metadata=envelope.metadata,
            capture=routing.capture,
        )

    def _complete(self, addressee: Addressee) -> Addressee:
        # A bare "postmaster" is ours (RFC 5321 section 4.5.1).
        if "@" in addressee.address:
            return addressee
        return replace(addressee, address=f"{addressee.address}@{self._home}")

    @property
    def _home(self) -> str:
        return self._config.smtp.domain or self._config.server.hostname

    def _route(
        self, envelope: Envelope, facts: headers.HeadFacts, addressees: tuple[Addressee, ...]
    ) -> tuple[SendingDomain, routes.Routing]:
        origin = envelope.origin
        if origin.kind is OriginKind.SENDRY:
            return self._route_notice(facts, addressees)
        for addressee in addressees:
            policy.check_recipient(self._directory, origin, addressee.address)
        if not origin.may_relay:
            # Mail from outside to the people of this server: kept in the inbox, never sent on.
            return self._own_or_home(domain_of(addressees[0].address)), routes.captured(addressees)
        domain = policy.sender_domain(self._directory, origin, envelope.sender)
        if self._config.is_sandbox_profile:
            author = self._directory.find(facts.from_domain or "")
            domain = domain or author or self._own_or_home("")
        else:
            author = policy.author_domain(self._directory, facts)
            domain = domain or author
        return domain, routes.of_mode(domain, addressees, self._onward)

    def _route_notice(
        self, facts: headers.HeadFacts, addressees: tuple[Addressee, ...]
    ) -> tuple[SendingDomain, routes.Routing]:
        # A report goes the way of the mail it reports on, whose sender it is addressed to.
        own = self._directory.find(domain_of(addressees[0].address))
        domain = own or self._own_or_home(facts.from_domain or "")
        if domain.mode is DomainMode.BCC:
            # The archive keeps what the domain sends, not what Sendry tells its senders.
            domain = replace(domain, mode=DomainMode.PRODUCTION)
        return domain, routes.of_mode(domain, addressees, self._onward)

    def _own_or_home(self, domain: str) -> SendingDomain:
        found = self._directory.find(domain) or self._directory.find(self._home)
        return found or SendingDomain(self._home, self._config.default_mode)


def _readable(raw: str) -> str:
    return headers.decode_header_text(raw.encode()) if "=?" in raw else raw
