"""The commands of an SMTP session (RFC 5321, with 1870, 2034, 2920, 3030, 3207, 3461, 4954, 6152, 6531).

The methods bear aiosmtpd's names and replace all of them. Promise: 250 after the final dot is sent when intake has
the message on disk, and only then.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import ClassVar, Final

from typing_extensions import override

from sendry.listener import replies
from sendry.listener.conversation import Command, Conversation
from sendry.listener.doors import Doors
from sendry.listener.login import SIGNED_IN, ask_credentials, sign_in
from sendry.listener.receiving import Reception, Transaction
from sendry.listener.settings import ListenerKind, SessionSettings
from sendry.listener.wire import Gone, Parting
from sendry.mail.address import BadAddress, parse_path
from sendry.mail.envelope import Addressee, Content, Origin, OriginKind
from sendry.mail.esmtp import parse_mail_params, parse_rcpt_params
from sendry.mail.headers import received_field
from sendry.mail.reply import AUTH_REQUIRED, BYE, MESSAGE_TOO_BIG, TOO_MANY_RECIPIENTS, Refused

_LENGTH: Final = re.compile(r"[0-9]{1,20}")


class SmtpProtocol(Conversation):
    """One client on one listener, and what it may say."""

    envelope: Transaction | None

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: SessionSettings,
        doors: Doors,
        on_end: Callable[[Conversation], None],
    ) -> None:
        super().__init__(loop, settings, doors, on_end)
        self.envelope = None
        self._login = ""
        self._origin = Origin(OriginKind.SMTP)

    # -- greeting, TLS, AUTH

    @override
    async def smtp_HELO(self, hostname: str) -> None:
        self._greet(hostname, is_extended=False)
        self.say(f"250 {self.settings.hostname}\r\n".encode("ascii"))

    @override
    async def smtp_EHLO(self, hostname: str) -> None:
        if self.has_input:  # the last of a group, RFC 2920 section 3.1
            raise Parting(replies.EARLY_TALKER)
        self._greet(hostname, is_extended=True)
        lines = [self.settings.hostname, "PIPELINING", f"SIZE {self.settings.limits.max_message_bytes}"]
        if not self.is_tls and self.doors.contexts.context is not None:
            lines.append("STARTTLS")
        if self._offers_auth and not self._login:
            lines.append("AUTH PLAIN LOGIN")
        lines += ["ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN"]
        last = lines.pop()
        self.say("".join([*(f"250-{line}\r\n" for line in lines), f"250 {last}\r\n"]).encode("ascii"))

    def _greet(self, hostname: str, *, is_extended: bool) -> None:
        name = hostname.partition(" ")[0]
        if not name or len(name) > 255 or not name.isprintable():
            raise Refused(replies.HELLO_NEEDS_NAME)
        self._pass_time()
        self.session.host_name, self.session.extended_smtp = name, is_extended
        self._forget_transaction()
        self._settle_origin()

    def _settle_origin(self) -> None:
        may_relay = bool(self._login) or self._is_trusted
        self._origin = Origin(OriginKind.SMTP, self._login, self._ip, may_relay)

    @override
    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            raise Refused(replies.NO_ARGUMENT)
        if self.is_tls:
            raise Refused(replies.TLS_ALREADY)
        if self.doors.contexts.context is None:
            raise Refused(replies.TLS_UNAVAILABLE)
        self.say(replies.READY_FOR_TLS_WIRE)
        await self._encrypt()

    @override
    async def _encrypt(self, *, is_implicit: bool = False) -> None:
        context = self.doors.contexts.context
        if context is None:
            raise Gone
        await self.start_tls(context, is_implicit=is_implicit)
        self.doors.counters.encrypted()
        # Nothing said in clear text counts any more (RFC 3207 section 4.2).
        self.session.host_name, self.session.extended_smtp = None, False
        self.session.authenticated, self._login = None, ""
        self._forget_transaction()
        self._settle_origin()

    @property
    def _offers_auth(self) -> bool:
        is_safe = self.is_tls or self._is_loopback or self.settings.allows_plaintext_auth
        return is_safe and self.doors.logins.is_open

    @override
    async def smtp_AUTH(self, arg: str) -> None:
        if not self.session.extended_smtp:
            raise Refused(replies.HELLO_FIRST)
        if not self.doors.logins.is_open:
            raise Refused(replies.AUTH_UNAVAILABLE)
        if self._login:
            raise Refused(replies.AUTH_ALREADY)
        if self.envelope is not None:
            raise Refused(replies.AUTH_IN_TRANSACTION)
        if not self._offers_auth:
            raise Refused(replies.AUTH_NEEDS_TLS)
        words = arg.split()
        if not 1 <= len(words) <= 2:
            raise Refused(replies.AUTH_SYNTAX)
        initial = words[1] if len(words) == 2 else None
        name, password = await ask_credentials(self, words[0].upper(), initial)
        failures_left = self.settings.limits.max_auth_failures - self._auth_failures
        try:
            await sign_in(self, self.doors, self._ip, name, password, failures_left)
        except Refused:
            self._auth_failures += 1
            raise
        self.session.authenticated, self._login = True, name
        self._settle_origin()
        self._note_progress()
        self.say(SIGNED_IN.wire())

    # -- the transaction

    @override
    async def smtp_MAIL(self, arg: str | None) -> None:
        arg = arg or ""
        if self.session.host_name is None:
            raise Refused(replies.HELLO_FIRST)
        if self.settings.requires_auth and not self._origin.may_relay:
            raise Refused(AUTH_REQUIRED)
        if self.envelope is not None:
            raise Refused(replies.NESTED_MAIL)
        if arg[:5].upper() != "FROM:":
            raise Refused(replies.MAIL_SYNTAX)
        try:
            is_utf8 = not arg.isascii() and "SMTPUTF8" in arg.upper()
            sender, rest = parse_path(arg[5:], allow_null=True, smtputf8=is_utf8)
        except BadAddress as fault:
            raise Refused(fault.reply) from None
        params = parse_mail_params(rest)
        if params.size > self.settings.limits.max_message_bytes:
            raise Refused(MESSAGE_TOO_BIG)
        try:
            self.doors.intake.check_sender(self._origin, sender)
        except Refused as refused:
            self._turn_down(refused)
            return
        self.envelope = Transaction(sender, params)
        self.say(replies.SENDER_OK_WIRE)

    @override
    async def smtp_RCPT(self, arg: str | None) -> None:
        arg = arg or ""
        transaction = self.envelope
        if transaction is None:
            raise Refused(replies.MAIL_FIRST)
        if transaction.reception is not None:
            raise Refused(replies.BDAT_BEGUN)
        if len(transaction.recipients) >= self.settings.limits.max_recipients:
            self._turn_down(Refused(TOO_MANY_RECIPIENTS))
            return
        if arg[:3].upper() != "TO:":
            raise Refused(replies.RCPT_SYNTAX)
        try:
            address, rest = parse_path(
                arg[3:], allow_null=False, smtputf8=transaction.smtp_utf8, allow_postmaster=True
            )
        except BadAddress as fault:
            raise Refused(fault.reply) from None
        params = parse_rcpt_params(rest)
        try:
            self.doors.intake.check_recipient(self._origin, transaction.sender, address)
        except Refused as refused:
            self._turn_down(refused)
            return
        transaction.recipients.append(Addressee(address, params.notify, params.orcpt))
        self.say(replies.RECIPIENT_OK_WIRE)

    @override
    async def smtp_DATA(self, arg: str) -> None:
        transaction = self.envelope
        if arg:
            raise Refused(replies.NO_ARGUMENT)
        if transaction is None:
            raise Refused(replies.MAIL_FIRST)
        if self.has_input:  # the last of a group, RFC 2920 section 3.1
            raise Parting(replies.EARLY_TALKER)
        if not transaction.recipients:
            raise Refused(replies.NO_RECIPIENTS)
        if transaction.reception is not None:
            raise Refused(replies.BDAT_BEGUN)
        self.say(replies.START_MAIL_INPUT_WIRE)
        reception = self._reception()
        await self._hand_in(transaction, reception, reception.data())

    async def smtp_BDAT(self, arg: str) -> None:  # noqa: N802 - named like its siblings, which aiosmtpd named
        """A chunk of a message (RFC 3030). It is read to its end whatever the reply, so as not to be taken for
        commands; where its length is not to be understood, the session ends.
        """
        words = arg.split()
        if not 1 <= len(words) <= 2 or not _LENGTH.fullmatch(words[0]) or words[1:] not in ([], ["LAST"], ["last"]):
            raise Parting(replies.BDAT_SYNTAX)
        size, is_last = int(words[0]), len(words) == 2
        transaction = self.envelope
        refusal = None
        if transaction is None:
            refusal = replies.MAIL_FIRST
        elif not transaction.recipients:
            refusal = replies.NO_RECIPIENTS
        elif transaction.reception is not None and transaction.reception.is_broken:
            refusal = replies.BDAT_BROKEN
        reception = transaction.reception if transaction is not None else None
        if reception is None:
            reception = self._reception()
            reception.is_broken = refusal is not None
        if transaction is not None and refusal is None:
            transaction.reception = reception
        if reception.is_too_much(size):
            raise Parting(MESSAGE_TOO_BIG)
        await reception.chunk(size, is_last=is_last)
        if refusal is not None:
            raise Refused(refusal)
        if reception.fault is not None:
            self.doors.counters.messages_refused += 1
            raise Refused(reception.fault)
        if not is_last:
            self.say(f"250 2.0.0 {size} octets received\r\n".encode("ascii"))
        elif transaction is not None:
            await self._hand_in(transaction, reception, reception.content())

    def _reception(self) -> Reception:
        return Reception(
            self,
            self.doors.spool,
            self.doors.disk,
            limit=self.settings.limits.max_message_bytes,
            patience=self._patience,
            normalizes=self.settings.normalizes_bare_lf,
        )

    async def _hand_in(self, transaction: Transaction, reception: Reception, coming: Awaitable[Content]) -> None:
        self.envelope = None  # whatever comes of it, the transaction is over
        is_kept = False
        try:
            content = await coming
            now = self.doors.clock()
            envelope = transaction.envelope(
                content,
                self._origin,
                is_eight_bit=reception.is_eight_bit,
                is_submission=self.settings.kind is not ListenerKind.RELAY or self._origin.may_relay,
                trace=self._trace(transaction, now),
            )
            accepted = self.doors.intake.accept_soon(envelope, now)
            # From here on a row may name the file, whatever we hear of it.
            is_kept = True
            message_id = await self.wait_for(accepted, self._patience.commit)
        except Refused as refused:
            is_kept = False
            self.doors.counters.messages_refused += 1
            self.say(refused.reply.wire())
        else:
            self.doors.counters.messages_accepted += 1
            self._note_progress()
            self.say(f"250 2.0.0 Ok: queued as {message_id}\r\n".encode("ascii"))
        finally:
            if not is_kept:
                reception.discard()

    @override
    def _forget_transaction(self) -> None:
        if self.envelope is not None:
            if self.envelope.reception is not None:
                self.envelope.reception.discard()
            self.envelope = None

    def _trace(self, transaction: Transaction, now: datetime) -> bytes:
        """The Received field; "{id}" stands where intake puts the message id."""
        session = self.session
        if transaction.smtp_utf8:
            protocol = "UTF8SMTP"
        else:
            protocol = "ESMTP" if session.extended_smtp else "SMTP"
        return received_field(
            helo=session.host_name or "",
            ip=self._ip,
            by=self.settings.hostname,
            protocol=f"{protocol}{'S' * self.is_tls}{'A' * bool(self._login)}",
            message_id="{id}",
            date=now,
            recipient=transaction.recipients[0].address if len(transaction.recipients) == 1 else "",
        )

    @override
    async def smtp_RSET(self, arg: str) -> None:
        self._pass_time()
        self._forget_transaction()
        self.say(replies.OK_WIRE)

    # -- the rest

    @override
    async def smtp_NOOP(self, arg: str) -> None:
        self._pass_time()
        self.say(replies.OK_WIRE)

    @override
    async def smtp_VRFY(self, arg: str) -> None:
        self._pass_time()
        self.say(replies.VRFY_WIRE)

    @override
    async def smtp_EXPN(self, arg: str) -> None:
        raise Refused(replies.EXPN_REFUSED)

    @override
    async def smtp_HELP(self, arg: str | None) -> None:
        self._pass_time()
        self.say(replies.HELP_WIRE)

    @override
    async def smtp_QUIT(self, arg: str) -> None:
        raise Parting(BYE)

    commands: ClassVar[dict[str, Command]] = {
        "HELO": smtp_HELO,
        "EHLO": smtp_EHLO,
        "STARTTLS": smtp_STARTTLS,
        "AUTH": smtp_AUTH,
        "MAIL": smtp_MAIL,
        "RCPT": smtp_RCPT,
        "DATA": smtp_DATA,
        "BDAT": smtp_BDAT,
        "RSET": smtp_RSET,
        "NOOP": smtp_NOOP,
        "VRFY": smtp_VRFY,
        "EXPN": smtp_EXPN,
        "HELP": smtp_HELP,
        "QUIT": smtp_QUIT,
    }
