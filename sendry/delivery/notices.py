"""Telling the sender: which results are worth a delivery status notification, and sending it (RFC 3461, RFC 3464).

Composes off the loop and hands in through intake like any mail. Promise: never a notice about a notice (null sender),
never against NOTIFY, one for all recipients of a message that came to the same end in one turn; it is on disk before
the result it tells of is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from sendry.delivery.content import Store
from sendry.delivery.deliver import Done
from sendry.delivery.settings import Settings
from sendry.logs import about
from sendry.mail import headers
from sendry.mail.dsn import MAX_RETURNED, Action, ReportedRecipient, compose_dsn
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.mail.outcome import Outcome, Verdict
from sendry.mail.reply import Refused
from sendry.queue.work import Work
from sendry.store.ids import to_text

log = logging.getLogger(__name__)

DELAY_TOLD_AFTER: Final = timedelta(hours=4)


class Door(Protocol):
    """The one method of intake that is used here."""

    def accept(self, envelope: Envelope, now: datetime) -> Future[str]: ...


class Notices:
    """Sends notices. `clock` gives aware UTC time."""

    def __init__(
        self, settings: Settings, door: Door, store: Store, executor: Executor, clock: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._door = door
        self._store = store
        self._executor = executor
        self._clock = clock

    async def send(self, told: Sequence[tuple[Done, Action]]) -> None:
        """Notices for these results, on disk when this returns. Raises what keeps intake from writing."""
        by_message: dict[tuple[int, Action], list[Done]] = {}
        for done, action in told:
            by_message.setdefault((done.result.work.message_id, action), []).append(done)
        loop = asyncio.get_running_loop()
        for (_, action), group in by_message.items():
            envelope = await loop.run_in_executor(self._executor, self._composed, group, action)
            try:
                accepted = self._door.accept(envelope, self._clock())
            except Refused as refused:
                with about(to_text(group[0].result.work.message_id)):
                    log.warning("notice not accepted", extra={"reply": str(refused.reply)})
                continue
            await asyncio.wrap_future(accepted)

    def _composed(self, group: Sequence[Done], action: Action) -> Envelope:
        first = group[0].result.work
        head, full = self._original(first, wants_full=first.ret == "FULL" and action is Action.FAILED)
        host = self._settings.hostname
        now = self._clock()
        octets = compose_dsn(
            reporting_mta=host,
            original_sender=first.sender,
            original_headers=head,
            recipients=[self._reported(done, action) for done in group],
            arrived_at=first.created_at,
            message_id=f"<{to_text(first.recipient_id)}.{action}.{int(now.timestamp())}@{host}>",
            now=now,
            original_full=full,
            envid=first.envid,
        )
        notice_head, body = headers.split(octets)
        return Envelope(
            sender="",
            recipients=(Addressee(first.sender),),
            content=Content(notice_head, body),
            origin=Origin(OriginKind.SENDRY, may_relay=True),
            smtputf8=not first.sender.isascii(),
            eight_bit=not octets.isascii(),
        )

    def _original(self, work: Work, *, wants_full: bool) -> tuple[bytes, bytes | None]:
        """The head of the message, and all of it where that is wanted and small enough."""
        octets = work.small
        if octets is None:
            reader = self._store.open_content(work.message_id)
            if reader is None:
                return b"\r\n", None
            blocks = reader.chunks()
            octets = next(blocks, b"")
            is_small = work.size <= MAX_RETURNED
            for block in blocks:
                if b"\r\n\r\n" in octets and not (wants_full and is_small):
                    break
                octets += block
        head, _ = headers.split(octets)
        return head, octets if wants_full and len(octets) == work.size else None

    def _reported(self, done: Done, action: Action) -> ReportedRecipient:
        work, verdict = done.result.work, done.verdict
        orcpt = work.orcpt or (f"rfc822;{work.original}" if work.original and work.original.isascii() else "")
        tried = done.result.tried
        return ReportedRecipient(
            address=work.address,
            action=action,
            enhanced=verdict.enhanced,
            diagnostic=_diagnostic(verdict),
            remote_mta=done.host if verdict.code else "",
            orcpt=orcpt,
            last_attempt_at=tried[-1].started_at if tried else None,
            will_retry_until=work.created_at + self._settings.horizon if action is Action.DELAYED else None,
        )


def action_for(done: Done, now: datetime) -> Action | None:
    """Which notice a result calls for, if any (RFC 3461 sections 4.1 and 5.2.2)."""
    work, outcome = done.result.work, done.verdict.kind
    if not work.sender or work.notify == "NEVER":
        return None
    if outcome is Outcome.FAILED:
        return Action.FAILED if not work.notify or "FAILURE" in work.notify else None
    if outcome is Outcome.DELIVERED:
        # Where the next host takes DSN, it tells the rest.
        return Action.RELAYED if "SUCCESS" in work.notify and not done.passed_dsn_on else None
    if "DELAY" in work.notify and not work.is_delay_told and now - work.created_at >= DELAY_TOLD_AFTER:
        return Action.DELAYED
    return None


def marked(done: Done, action: Action | None) -> Done:
    """The result that says with it that the delay has been told."""
    if action is not Action.DELAYED:
        return done
    return replace(done, result=replace(done.result, is_delay_told=True))


def _diagnostic(verdict: Verdict) -> str:
    if not verdict.code:
        return verdict.text
    return f"{verdict.code} {verdict.enhanced} {verdict.text}"
