"""One mail transaction over one session: MAIL, RCPT for each recipient, DATA, and what the host says to them.

Runs on the delivery loop. Promise: every recipient comes out with one verdict of its own or in `left_over`; a
refused recipient costs the others nothing; replies that came are believed even when the host closed the connection
behind them; nothing is called delivered without a 2yz to the final dot, and what may have arrived is called unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sendry.delivery.content import Prepared
from sendry.delivery.session import Session
from sendry.delivery.settings import Settings
from sendry.delivery.wire import Lost
from sendry.mail.esmtp import encode_orcpt, encode_xtext
from sendry.mail.outcome import (
    Stage,
    Verdict,
    connection_lost,
    goes_on,
    judge,
    message_too_big,
    smtputf8_unsupported,
)
from sendry.mail.reply import Reply
from sendry.queue.work import Work

LONGEST_TRANSACTION: Final = 300.0
"""Seconds from MAIL to the final dot."""


class UnsafeAddress(ValueError):
    """An envelope address that would end the command it stands in. It can only come from a damaged row."""


class Exchange:
    """The transaction of some recipients of one message. Order of calls: start, negotiate, send, conclude.

    verdicts: by recipient id. broken_off: those among them for whom the end of the connection decided, before any
    content was sent, so that another host may do better. left_over: recipients the host had no room for in this
    transaction (RFC 5321 section 4.5.3.1.10); they belong into the next one. is_untouched: the host has answered
    nothing yet, so that another connection may begin anew as if nothing had been. seconds: for all up to the final
    dot; the reply to that has its own time.
    """

    def __init__(
        self,
        session: Session,
        works: Sequence[Work],
        content: Prepared,
        settings: Settings,
        seconds: float = LONGEST_TRANSACTION,
    ) -> None:
        self.session = session
        self.works = works
        self.content = content
        self.verdicts: dict[int, Verdict] = {}
        self.broken_off: set[int] = set()
        self.left_over: list[Work] = []
        self.accepted: list[Work] = []
        self.is_untouched = True
        self.passes_dsn_on = "DSN" in session.extensions
        self._settings = settings
        self._wire = session.wire
        self._candidates: list[Work] = []
        self._has_started = False
        self.is_dot_sent = False
        self.is_concluded = False
        self._farewell: Reply | None = None
        self._ends_at = session.wire.now() + seconds

    def start(self) -> None:
        """Find what this host can take and, where it allows pipelining, send all commands in one go."""
        self._candidates = self._acceptable()
        if not self._candidates or not self.session.is_pipelining:
            return
        self._has_started = True
        session, lines = self.session, []
        if session.needs_reset:
            lines.append(b"RSET\r\n")
        lines.append(self._mail())
        lines += map(self._rcpt, self._candidates)
        lines.append(b"DATA\r\n")
        self._wire.send(b"".join(lines))

    async def negotiate(self) -> bool:
        """Hear the replies up to DATA. True: the host waits for the content, for the recipients in `accepted`."""
        if not self._candidates:
            return False
        self.session.used += 1
        if self._has_started:
            return await self._hear_all()
        return await self._ask_one_by_one()

    async def send(self) -> None:
        """Send the content. Raises what reading it raises; the connection is dropped then, without a dot."""
        wire, session = self._wire, self.session
        if self.content.octets is not None:
            wire.send(self.content.octets)
            self.is_dot_sent = wire.lost is None
            return
        try:
            held = b""
            async for block in self.content.blocks():
                if held:
                    wire.send(held)
                    await wire.drain(self._patience())
                    if wire.replies:  # it has heard enough
                        session.is_ending = True
                        return
                held = block
            wire.send(held)
            self.is_dot_sent = wire.lost is None
        except Lost:
            return  # conclude() tells what that means
        except BaseException:
            wire.abort("the content could not be read")
            raise

    async def conclude(self) -> None:
        """Hear the reply to the content and give every accepted recipient its verdict."""
        patience = self._settings.dot_timeout if self.is_dot_sent else self._patience()
        replies = await self._wire.answers(1, patience)
        if replies:
            self._note(replies[0])
        if replies and (self.is_dot_sent or not replies[0].is_positive):
            verdict = judge(replies[0], Stage.FINAL_DOT)
        else:
            stage = Stage.FINAL_DOT if self.is_dot_sent else Stage.DATA
            verdict = self._lost(stage)
        self._give(self.accepted, verdict)
        self.is_concluded = True
        if not self.is_dot_sent:
            if not replies:
                self._break_off(self.accepted)
            self._wire.abort("the content was not sent to the end")

    def abandon(self) -> None:
        """The transaction is given up on its way: who may have got the message gets the verdict unknown."""
        if self.is_dot_sent and not self.is_concluded:
            self._wire.abort("given up before the reply to the message")
            self._give(self.accepted, self._lost(Stage.FINAL_DOT))
            self.is_concluded = True
        else:
            self._wire.abort("given up")

    @property
    def was_asked(self) -> bool:
        """Whether the host was told of anybody, or all were refused by ourselves."""
        return bool(self._candidates)

    # Commands

    def _acceptable(self) -> list[Work]:
        """The recipients this host can take at all; the others get their verdict."""
        session, content = self.session, self.content
        works = list(self.works)
        host = session.facts.host
        if session.largest and content.size > session.largest:
            self._give(works, message_too_big(host, session.largest))
            return []
        if "SMTPUTF8" in session.extensions:
            return works
        first = works[0]
        if not first.sender.isascii() or (first.smtputf8 and not content.has_ascii_head):
            self._give(works, smtputf8_unsupported(host))
            return []
        foreign = [work for work in works if not work.address.isascii()]
        if foreign:
            self._give(foreign, smtputf8_unsupported(host))
            works = [work for work in works if work.address.isascii()]
        return works

    def _mail(self) -> bytes:
        first, extensions = self.works[0], self.session.extensions
        line = f"MAIL FROM:<{_safe(first.sender)}>"
        if "SIZE" in extensions:
            line += f" SIZE={self.content.size}"
        if self.content.is_eight_bit and "8BITMIME" in extensions:
            line += " BODY=8BITMIME"
        if "SMTPUTF8" in extensions and self._needs_utf8():
            line += " SMTPUTF8"
        if self.passes_dsn_on:
            if first.ret:
                line += f" RET={_safe(first.ret)}"
            if first.envid:
                line += f" ENVID={encode_xtext(first.envid)}"
        return f"{line}\r\n".encode()

    def _needs_utf8(self) -> bool:
        first = self.works[0]
        if not first.sender.isascii() or (first.smtputf8 and not self.content.has_ascii_head):
            return True
        return any(not work.address.isascii() for work in self._candidates)

    def _rcpt(self, work: Work) -> bytes:
        line = f"RCPT TO:<{_safe(work.address)}>"
        if self.passes_dsn_on:
            if work.notify:
                line += f" NOTIFY={_safe(work.notify)}"
            if work.orcpt:
                line += f" ORCPT={encode_orcpt(work.orcpt)}"
        return f"{line}\r\n".encode()

    # Replies

    async def _hear_all(self) -> bool:
        candidates, session = self._candidates, self.session
        resets = 1 if session.needs_reset else 0
        awaited = resets + len(candidates) + 2
        replies = await self._wire.answers(awaited, self._patience())
        self.is_untouched = len(replies) <= resets
        for reply in replies:
            self._note(reply)
        if self.is_untouched:
            self._give_lost(candidates, Stage.MAIL)
            return False
        session.needs_reset = False
        heard = replies[resets:]
        if not goes_on(heard[0], Stage.MAIL):
            self._refuse_all(heard[0], Stage.MAIL)
        else:
            self._sort_out(candidates, heard[1 : 1 + len(candidates)])
        if len(replies) < awaited:
            self._give_lost(self.accepted, Stage.DATA)
            return False
        return await self._begin_or_undo(heard[-1])

    def _sort_out(self, candidates: Sequence[Work], replies: Sequence[Reply]) -> None:
        for work, reply in zip(candidates, replies, strict=False):
            if goes_on(reply, Stage.RCPT):
                self.accepted.append(work)
            elif self.accepted and _says_too_many(reply):
                self.left_over.append(work)
            else:
                self.verdicts[work.recipient_id] = judge(reply, Stage.RCPT)
            if reply.code == 421:
                self._break_off((work,))
        if len(replies) < len(candidates):
            self._give_lost(candidates[len(replies) :], Stage.RCPT)

    async def _begin_or_undo(self, reply: Reply) -> bool:
        """The reply to DATA: go on, or leave the session as if the transaction had never been."""
        if self.accepted and goes_on(reply, Stage.DATA):
            return True
        if goes_on(reply, Stage.DATA):
            # Nobody was accepted, yet it wants content: a lone dot ends that (RFC 2920 section 3.1).
            self._wire.send(b".\r\n")
            ends = await self._wire.answers(1, self._settings.dot_timeout)
            if not ends:
                return False
            self._note(ends[0])
        elif self.accepted:
            self._give(self.accepted, judge(reply, Stage.DATA))
            self.accepted = []
        self.session.needs_reset = True
        return False

    async def _ask_one_by_one(self) -> bool:
        session = self.session
        lines = [self._rcpt(work) for work in self._candidates]
        if session.needs_reset:
            if await self._ask(b"RSET\r\n") is None:
                self._give_lost(self._candidates, Stage.MAIL)
                return False
            session.needs_reset = False
        reply = await self._ask(self._mail())
        if reply is None:
            self._give_lost(self._candidates, Stage.MAIL)
            return False
        self.is_untouched = False
        if not goes_on(reply, Stage.MAIL):
            self._refuse_all(reply, Stage.MAIL)
            return False
        replies: list[Reply] = []
        for line in lines:
            reply = await self._ask(line)
            if reply is None:
                break
            replies.append(reply)
            if reply.code == 421:
                break
        self._sort_out(self._candidates, replies)
        session.needs_reset = True
        if not self.accepted:
            return False
        reply = await self._ask(b"DATA\r\n") if len(replies) == len(self._candidates) else None
        if reply is not None and goes_on(reply, Stage.DATA):
            session.needs_reset = False
            return True
        if reply is None:
            self._give_lost(self.accepted, Stage.DATA)
        else:
            self._give(self.accepted, judge(reply, Stage.DATA))
        self.accepted = []
        return False

    async def _ask(self, line: bytes) -> Reply | None:
        if self._wire.lost is not None:
            return None
        self._wire.send(line)
        replies = await self._wire.answers(1, self._patience())
        if not replies:
            return None
        self._note(replies[0])
        return replies[0]

    def _patience(self) -> float:
        return max(0.0, min(self._settings.command_timeout, self._ends_at - self._wire.now()))

    def _note(self, reply: Reply) -> None:
        if reply.code in (0, 421, 503):
            self.session.is_ending = True
        if reply.code == 421:
            self._farewell = reply

    def _refuse_all(self, reply: Reply, stage: Stage) -> None:
        self._give(self._candidates, judge(reply, stage))
        if reply.code == 421:
            self._break_off(self._candidates)

    def _give_lost(self, works: Sequence[Work], stage: Stage) -> None:
        self._give(works, self._lost(stage))
        self._break_off(works)

    def _break_off(self, works: Sequence[Work]) -> None:
        self.broken_off.update(work.recipient_id for work in works)

    def _lost(self, stage: Stage) -> Verdict:
        if self._farewell is not None and not self.is_dot_sent:
            return judge(self._farewell, stage)
        return connection_lost(stage, self.session.facts.host, self._wire.lost or "the connection was lost")

    def _give(self, works: Sequence[Work], verdict: Verdict) -> None:
        for work in works:
            self.verdicts.setdefault(work.recipient_id, verdict)


def _says_too_many(reply: Reply) -> bool:
    """The host takes fewer recipients at once than we named; the rest may come right after."""
    return (reply.code == 452 and reply.enhanced in ("", "4.5.3")) or (
        reply.code == 552 and reply.enhanced == "5.5.3"
    )


def _safe(text: str) -> str:
    """What stands inside a command, proven free of line ends and control characters."""
    if not text.isprintable():
        raise UnsafeAddress("an envelope address has control characters")
    return text
