"""The octets of a message as they go out: signed, dots stuffed, CRLF only.

Reads content through the queue and keys through the directory. Promise: a message that a key should sign never goes
out unsigned, only what `sendry.mail.newlines` lets pass leaves the machine, and mail above 256 KiB is read piece by
piece, off the loop.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Final, Protocol

from sendry.delivery.seven_bit import needs_encoding, to_seven_bit
from sendry.domains.registry import KeyUnreadable
from sendry.mail import headers
from sendry.mail.bounce_class import BounceClass
from sendry.mail.dkim import SigningKey, sign
from sendry.mail.newlines import DotStuffer
from sendry.mail.outcome import Outcome, Verdict, local_failure
from sendry.queue.work import Work

WHOLE: Final = 256 * 1024
"""Octets up to which a message is held in one piece."""

_FROM: Final = re.compile(rb"^from[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)


class Reader(Protocol):
    """What `Queue.open_content` gives."""

    def chunks(self) -> Iterator[bytes]: ...


class Store(Protocol):
    """The one method of the queue that is used here."""

    def open_content(self, message_id: int) -> Reader | None: ...


class Keys(Protocol):
    """The one method of the directory that is used here."""

    def signing_keys(self, from_domain: str) -> tuple[SigningKey, ...]: ...


class NotReady(Exception):
    """The content cannot go out now, or never; `verdict` says which."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict


@dataclass(slots=True)
class Prepared:
    """One message in the form of the wire. `octets` is the whole of DATA with its final dot, or None: then
    `blocks()` gives it piece by piece.

    size: octets of the message, the signature included. is_eight_bit: octets above 127 are in it, or may be.
    """

    size: int
    is_eight_bit: bool
    has_ascii_head: bool
    octets: bytes | None
    _reader: Reader | None = None
    _signature: bytes = b""
    _executor: Executor | None = None

    async def blocks(self) -> AsyncIterator[bytes]:
        """The octets of DATA, the last block with the final dot."""
        if self.octets is not None:
            yield self.octets
            return
        assert self._reader is not None
        loop = asyncio.get_running_loop()
        stuffed = _stuffed(chain((self._signature,), self._reader.chunks()))
        while (block := await loop.run_in_executor(self._executor, next, stuffed, None)) is not None:
            yield block


class Contents:
    """Prepares messages. `clock` gives the time of a signature."""

    def __init__(self, store: Store, keys: Keys, executor: Executor, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self._executor = executor
        self._clock = clock

    async def of(self, work: Work, *, seven_bit: bool) -> Prepared:
        """The message of a piece of work; `seven_bit`: the host does not take 8-bit content. Raises NotReady."""
        if work.small is not None:
            return self.now(work, seven_bit=seven_bit)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._read, work, seven_bit)

    def now(self, work: Work, *, seven_bit: bool) -> Prepared:
        """The same at once, for a message that came along with its work."""
        assert work.small is not None
        return self._whole(work.small, seven_bit)

    def _read(self, work: Work, seven_bit: bool) -> Prepared:
        reader = self._store.open_content(work.message_id)
        if reader is None:
            raise NotReady(local_failure("The content of the message is missing"))
        if work.size <= WHOLE:
            return self._whole(b"".join(reader.chunks()), seven_bit)
        blocks = reader.chunks()
        head, rest = _head_of(blocks)
        keys = self._keys_for(head)
        signature = self._signature(head, chain((rest,), blocks), keys) if keys else b""
        # Whether a large message is 8-bit is not looked up: to say so is harmless where the host offers it, and
        # where it does not, every host known takes it all the same.
        return Prepared(len(signature) + work.size, True, head.isascii(), None, reader, signature, self._executor)

    def _whole(self, content: bytes, seven_bit: bool) -> Prepared:
        is_eight_bit = not content.isascii()
        if needs_encoding(content, seven_bit=seven_bit, is_eight_bit=is_eight_bit):
            content = to_seven_bit(content)
            is_eight_bit = not content.isascii()
        head, body = headers.split(content)
        keys = self._keys_for(head)
        if keys:
            content = self._signature(head, body, keys) + content
        stuffer = DotStuffer()
        octets = stuffer.feed(content) + stuffer.finish()
        return Prepared(len(content), is_eight_bit, not is_eight_bit or head.isascii(), octets)

    def _keys_for(self, head: bytes) -> tuple[SigningKey, ...]:
        author = _FROM.search(head)
        domain = _domain_of_author(author[0]) if author else None
        if domain is None:
            return ()
        try:
            return self._keys.signing_keys(domain)
        except KeyUnreadable as error:
            raise NotReady(local_failure(f"Not sent unsigned: {error}")) from None

    def _signature(self, head: bytes, body: bytes | Iterator[bytes], keys: tuple[SigningKey, ...]) -> bytes:
        try:
            return sign(head, body, keys, now_ts=int(self._clock().timestamp()))
        except headers.HeaderError as error:
            text = f"The message cannot be signed: {error}"
            raise NotReady(Verdict(Outcome.FAILED, 0, "5.6.0", text, BounceClass.POLICY)) from None


@lru_cache(maxsize=2048)
def _domain_of_author(field: bytes) -> str | None:
    try:
        return headers.scan(field + b"\r\n\r\n").from_domain
    except headers.HeaderError:
        return None


def _head_of(blocks: Iterator[bytes]) -> tuple[bytes, bytes]:
    """The head, with its empty line, and what came along of the body."""
    gathered = b""
    for block in blocks:
        gathered += block
        end = gathered.find(b"\r\n\r\n")
        if end >= 0:
            return gathered[: end + 4], gathered[end + 4 :]
    return headers.split(gathered)


def _stuffed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks as DATA takes them; the final dot comes with the last octets, never alone before them."""
    stuffer = DotStuffer()
    held = b""
    for block in blocks:
        if held:
            yield held
        held = stuffer.feed(block)
    yield held + stuffer.finish()
