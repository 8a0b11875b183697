"""The other rooms as the delivery loop sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

from sendry.delivery.content import Reader
from sendry.queue.handover import Taker
from sendry.queue.work import Result, Work


class Line(Protocol):
    """What delivery needs of the queue."""

    on_work: list[Callable[[], None]]

    taker: Taker | None

    def claim_soon(self, now: datetime, limit: int) -> asyncio.Future[tuple[list[Work], datetime | None]]: ...
    def settle_soon(self, results: Sequence[Result], now: datetime) -> asyncio.Future[list[int]]: ...
    def release(self, work: Sequence[Work], until: datetime, now: datetime) -> Future[int]: ...
    def crashed(self, work: Work, reason: str, now: datetime) -> Future[bool]: ...
    def note_in_flight(self, recipient_ids: Sequence[int]) -> None: ...
    def note_delivered(self, recipient_ids: Sequence[int]) -> None: ...
    def open_content(self, message_id: int) -> Reader | None: ...
