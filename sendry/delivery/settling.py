"""Results on their way back to the queue: gathered while the one before is written, notices first.

Runs on the delivery loop. Promise: a result that was handed in is written, however often the database has to be
asked, until the loop itself is stopped; then its lease runs out and the queue recovers it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from sendry.delivery.deliver import Done
from sendry.delivery.notices import Notices, action_for, marked
from sendry.logs import about
from sendry.mail.dsn import Action
from sendry.queue.work import Result
from sendry.store.ids import to_text

log = logging.getLogger(__name__)

GATHER: Final = 0.01
"""Seconds results are gathered before they are written: a transaction costs as much as ten of them."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
MOST_TRIES: Final = 8
"""Tries to write a notice before the result is written without it."""


class Settles(Protocol):
    """The one method of the queue that is used here."""

    def settle_soon(self, results: Sequence[Result], now: datetime) -> asyncio.Future[list[int]]: ...


class Settling:
    """Writes results. `on_settled` is told what has been written."""

    def __init__(
        self,
        queue: Settles,
        notices: Notices,
        clock: Callable[[], datetime],
        on_settled: Callable[[Sequence[Result]], None],
    ) -> None:
        self._queue = queue
        self._notices = notices
        self._clock = clock
        self._on_settled = on_settled
        self._ready: list[Result] = []
        self._writing: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()

    def add(self, done: Sequence[Done]) -> None:
        """Hand results in."""
        now = None
        told: list[tuple[Done, Action]] = []
        for item in done:
            work = item.result.work
            if not work.sender or (not work.notify and item.result.outcome != "failed"):
                self._ready.append(item.result)  # nearly all mail: nothing to tell
                continue
            now = now or self._clock()
            action = action_for(item, now)
            if action is None:
                self._ready.append(item.result)
            else:
                told.append((marked(item, action), action))
        if told:
            task = asyncio.ensure_future(self._tell(told))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        self._write_soon()

    @property
    def is_idle(self) -> bool:
        """Everything handed in is written."""
        return not self._ready and self._writing is None and not self._telling

    async def drained(self) -> None:
        """Wait until it is."""
        while not self.is_idle:
            waiting = [*self._telling, *([self._writing] if self._writing is not None else [])]
            if waiting:
                await asyncio.wait(waiting)
            await asyncio.sleep(0)

    async def _tell(self, told: list[tuple[Done, Action]]) -> None:
        pause = FIRST_PAUSE
        for attempt in range(1, MOST_TRIES + 1):
            try:
                await self._notices.send(told)
                break
            except Exception:
                log.exception("notice not written", extra={"attempt": attempt})
                if attempt < MOST_TRIES:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
        # A result that stays unwritten would be delivered again: that is worse than a notice less.
        self._ready.extend(done.result for done, _ in told)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None and self._ready:
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        pause = FIRST_PAUSE
        try:
            while self._ready:
                await asyncio.sleep(GATHER)
                batch, self._ready = self._ready, []
                while True:
                    try:
                        await self._queue.settle_soon(batch, self._clock())
                        break
                    except Exception:
                        log.exception("results not written, tried again", extra={"results": len(batch)})
                        await asyncio.sleep(pause)
                        pause = min(pause * 2, LONGEST_PAUSE)
                pause = FIRST_PAUSE
                for result in batch:
                    if result.outcome != "delivered":
                        _log_trouble(result)
                self._on_settled(batch)
        finally:
            self._writing = None


def _log_trouble(result: Result) -> None:
    """Deliveries stand in the history alone; what an operator may look for stands in the log too."""
    work = result.work
    last = result.tried[-1] if result.tried else None
    with about(to_text(work.message_id)):
        log.info(
            "recipient %s",
            result.outcome,
            extra={
                "recipient": work.address,
                "attempts": work.attempts + 1,
                "host": last.host if last else "",
                "code": last.code if last else 0,
                "enhanced": last.enhanced if last else "",
                "response": last.response if last else "",
                "next_attempt_at": result.next_attempt_at,
            },
        )
