"""From DATA or BDAT to the end of the content: off the wire, through a reader, into memory or a spool file."""

from __future__ import annotations

import asyncio
import errno
import logging
from concurrent.futures import Executor
from typing import Final

from aiosmtpd.smtp import Envelope as AiosmtpdEnvelope

from sendry.listener.data import BodyReader, ChunkReader, Incoming
from sendry.listener.replies import TOO_SLOW
from sendry.listener.settings import Patience
from sendry.listener.wire import IDLE, Parting, Wire
from sendry.mail.envelope import Addressee, Content, Envelope, Origin
from sendry.mail.esmtp import MailParams
from sendry.mail.reply import LOCAL_ERROR, MESSAGE_TOO_BIG, STORAGE_FULL, Refused, Reply
from sendry.store.spool import Spool

log = logging.getLogger(__name__)

_AT_A_TIME: Final = 64 * 1024  # octets looked at before other sessions get their turn
_TOO_LONG_ALREADY: Final = 16 * 1024 * 1024  # octets beyond twice the limit at which nobody reads on


class Transaction(AiosmtpdEnvelope):
    """A sender and recipients, between MAIL and the final dot."""

    def __init__(self, sender: str, params: MailParams) -> None:
        super().__init__()
        self.sender = sender
        self.params = params
        self.smtp_utf8 = params.smtputf8
        self.recipients: list[Addressee] = []
        self.reception: Reception | None = None  # once BDAT has begun

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


class Reception:
    """One message while it comes: by DATA in one go, or by BDAT chunk after chunk.

    Whoever ends it otherwise than by handing in its content calls `discard`.
    """

    def __init__(
        self, wire: Wire, spool: Spool, disk: Executor, *, limit: int, patience: Patience, normalizes: bool
    ) -> None:
        self._wire = wire
        self._disk = disk
        self._patience = patience
        self._normalizes = normalizes
        self._chunks = ChunkReader(normalizes=normalizes)
        self._incoming = Incoming(spool, limit)
        self._too_much = 2 * limit + _TOO_LONG_ALREADY
        self._window_end = wire.loop.time() + patience.rate_window
        self._window_octets = 0
        self.is_broken = False  # a chunk was refused: nothing but the end of the transaction helps

    @property
    def is_eight_bit(self) -> bool:
        """Whether there are octets above 127 in it."""
        return not self._incoming.is_ascii

    async def data(self) -> Content:
        """Read up to the end of data; what follows it stays on the wire.

        Raises Refused when the message is not taken (read to its end all the same, so that the session can go on),
        Parting when the session must end, Gone when the peer went.
        """
        reader = BodyReader(normalizes=self._normalizes)
        while not reader.is_done:
            block = await self._next_block(_AT_A_TIME)
            try:
                octets = reader.feed(block)
            except Refused as refused:
                raise Parting(refused.reply) from None
            await self._keep(octets, is_last=reader.is_done)
        self._wire.give_back(reader.rest)
        return await self.content()

    async def chunk(self, size: int, *, is_last: bool) -> None:
        """Read a chunk of `size` octets. Raises as `data` does; behind a refused one it is only read past."""
        left = size
        while left:
            block = await self._next_block(min(left, _AT_A_TIME))
            left -= len(block)
            if self.is_broken:
                self._mind_the_pace(is_last=False)
                continue
            try:
                octets = self._chunks.feed(block)
            except Refused as refused:
                raise Parting(refused.reply) from None
            await self._keep(octets, is_last=is_last and not left)
        if is_last and not self.is_broken:
            try:
                self._incoming.add(self._chunks.finish())
            except Refused as refused:
                raise Parting(refused.reply) from None
        self.is_broken = self.is_broken or self._incoming.fault is not None

    async def content(self) -> Content:
        """All that came, on disk if it is large. Raises Refused when it is too large or cannot be stored."""
        incoming = self._incoming
        if not incoming.is_spooled:
            return incoming.close()
        try:
            return await self._wire.wait_for(
                self._wire.loop.run_in_executor(self._disk, incoming.close), self._patience.commit
            )
        except OSError as error:
            raise Refused(_storage_fault(error)) from error

    @property
    def fault(self) -> Reply | None:
        """Why nothing is kept any more, if so."""
        return self._incoming.fault

    def is_too_much(self, size: int) -> bool:
        """Whether so many octets more are not even worth reading past."""
        return self._incoming.size + size > self._too_much

    def discard(self) -> None:
        """Forget what came, the file too."""
        if self._incoming.is_spooled:
            self._disk.submit(self._incoming.discard)

    async def _next_block(self, most: int) -> bytes:
        wire, patience = self._wire, self._patience
        if wire.has_input:
            await asyncio.sleep(0)  # a peer that is always ahead of us must not have the loop for itself
        else:
            await wire.more(patience.block, IDLE)
        block = wire.take_block(most)
        self._window_octets += len(block)
        return block

    async def _keep(self, octets: bytes, *, is_last: bool) -> None:
        incoming, patience = self._incoming, self._patience
        incoming.add(octets)
        if incoming.wants_writing:
            try:
                await self._wire.wait_for(
                    self._wire.loop.run_in_executor(self._disk, incoming.write), patience.commit
                )
            except TimeoutError:
                raise Parting(LOCAL_ERROR) from None
            except OSError as error:
                incoming.give_up(_storage_fault(error))
        if incoming.size > self._too_much:
            raise Parting(MESSAGE_TOO_BIG)
        self._mind_the_pace(is_last=is_last)

    def _mind_the_pace(self, *, is_last: bool) -> None:
        patience = self._patience
        now = self._wire.loop.time()
        if now >= self._window_end:
            if self._window_octets < patience.minimum_rate * patience.rate_window and not is_last:
                raise Parting(TOO_SLOW)
            self._window_end, self._window_octets = now + patience.rate_window, 0


def _storage_fault(error: OSError) -> Reply:
    log.error("spool does not take a message", extra={"error": error.strerror or str(error)})
    return STORAGE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else LOCAL_ERROR
