"""From DATA to the end of the content: blocks off the wire, through the reader, into memory or a spool file."""

from __future__ import annotations

import errno
import logging
from concurrent.futures import Executor
from typing import Final

from aiosmtpd.smtp import Envelope as AiosmtpdEnvelope

from sendry.listener.data import BodyReader, Incoming
from sendry.listener.replies import TOO_SLOW
from sendry.listener.settings import Patience
from sendry.listener.wire import IDLE, Parting, Wire
from sendry.mail.envelope import Addressee, Content, Envelope, Origin
from sendry.mail.esmtp import MailParams
from sendry.mail.reply import LOCAL_ERROR, MESSAGE_TOO_BIG, STORAGE_FULL, Refused, Reply

log = logging.getLogger(__name__)

_TOO_LONG_ALREADY: Final = 16 * 1024 * 1024  # octets beyond twice the limit at which nobody reads on


class Transaction(AiosmtpdEnvelope):
    """A sender and recipients, between MAIL and the final dot."""

    def __init__(self, sender: str, params: MailParams) -> None:
        super().__init__()
        self.sender = sender
        self.params = params
        self.smtp_utf8 = params.smtputf8
        self.recipients: list[Addressee] = []

    def envelope(
        self, content: Content, origin: Origin, *, is_eight_bit: bool, is_submission: bool, trace: bytes
    ) -> Envelope:
        """What intake gets. Content with octets above 127 counts as 8-bit, announced or not."""
        params = self.params
        return Envelope(
            self.sender,
            tuple(self.recipients),
            content,
            origin,
            smtputf8=params.smtputf8,
            eight_bit=is_eight_bit or params.body == "8BITMIME",
            ret=params.ret,
            envid=params.envid,
            is_submission=is_submission,
            trace=trace,
        )


async def receive(wire: Wire, incoming: Incoming, patience: Patience, disk: Executor, *, normalizes: bool) -> Content:
    """Read up to the end of data; what follows it stays on the wire.

    Raises Refused when the message is not taken (read to its end all the same, so that the session can go on),
    Parting when the session must end, Gone when the peer went. The caller discards `incoming` then.
    """
    reader = BodyReader(normalizes=normalizes)
    too_much = 2 * incoming.limit + _TOO_LONG_ALREADY
    window_end, window_octets = wire.loop.time() + patience.rate_window, 0
    while not reader.is_done:
        if not wire.has_input:
            await wire.more(patience.block, IDLE)
        block = wire.take_block()
        try:
            incoming.add(reader.feed(block))
        except Refused as refused:
            raise Parting(refused.reply) from None
        if incoming.wants_writing:
            await _write(wire, incoming, patience, disk)
        if incoming.size > too_much:
            raise Parting(MESSAGE_TOO_BIG)
        window_octets += len(block)
        now = wire.loop.time()
        if now >= window_end:
            if window_octets < patience.minimum_rate * patience.rate_window and not reader.is_done:
                raise Parting(TOO_SLOW)
            window_end, window_octets = now + patience.rate_window, 0
    wire.give_back(reader.rest)
    if not incoming.is_spooled:
        return incoming.close()
    try:
        return await wire.wait_for(wire.loop.run_in_executor(disk, incoming.close), patience.commit)
    except OSError as error:
        raise Refused(_storage_fault(error)) from error


async def _write(wire: Wire, incoming: Incoming, patience: Patience, disk: Executor) -> None:
    try:
        await wire.wait_for(wire.loop.run_in_executor(disk, incoming.write), patience.commit)
    except TimeoutError:
        raise Parting(LOCAL_ERROR) from None
    except OSError as error:
        incoming.give_up(_storage_fault(error))


def _storage_fault(error: OSError) -> Reply:
    log.error("spool does not take a message", extra={"error": error.strerror or str(error)})
    return STORAGE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else LOCAL_ERROR
