"""The delivery loop: claims due work, starts lanes that carry it, writes back what came of it.

One thread with one event loop; what blocks (claims, files, notices) happens in a few threads beside it. Promise:
what is claimed is settled, given back or, when the process dies, left under its lease; new work starts at once;
`turn(now)` is one unit of work, so that tests walk through time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from sendry.config.tree import Config
from sendry.delivery.content import Contents, Keys
from sendry.delivery.deliver import Done, Gear, Lane
from sendry.delivery.doors import Line
from sendry.delivery.holding import Holding
from sendry.delivery.hosts import Hosts
from sendry.delivery.notices import Door, Notices
from sendry.delivery.pool import Pool
from sendry.delivery.session import Dialer
from sendry.delivery.settings import Settings
from sendry.delivery.settling import Settling
from sendry.delivery.sites import SOON, Group, Site
from sendry.delivery.trust import Trust
from sendry.logs import about
from sendry.queue.work import Result, Work
from sendry.resolver import Resolver
from sendry.store.ids import to_text

log = logging.getLogger(__name__)

THREADS: Final = 4
GATHER: Final = 0.01
"""Seconds between two claims, at least."""

_SWEEP: Final = 5.0
_LEAST_PAUSE: Final = 0.05


class DeliveryLoop:
    """SMTP out. `start()`, `stop()` and `wake()` from any thread; the rest runs on the loop.

    `on_settled` callbacks get each batch of results once it is on disk, on the loop: they must be quick.
    """

    def __init__(
        self,
        config: Config,
        queue: Line,
        directory: Keys,
        intake: Door,
        resolver: Resolver | None = None,
        *,
        settings: Settings | None = None,
        trust: Trust | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        ticks: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self.settings = settings = settings or Settings.of(config)
        self.on_settled: list[Callable[[Sequence[Result]], None]] = []
        self._queue = queue
        self._clock = clock
        self._ticks = ticks
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="delivery")
        chance = chance or random.Random()
        resolver = resolver or Resolver(tuple((place.host, place.port) for place in config.dns.nameservers))
        self._pool = Pool(settings.idle_kept, settings.messages_per_connection, ticks)
        notices = Notices(settings, intake, queue, self._executor, clock)
        self._settling = Settling(queue, notices, clock, self._settled)
        self._holding = Holding(
            settings, clock=clock, ticks=ticks, chance=chance, release=self._release, expire=self._settling.add
        )
        self._gear = Gear(
            settings=settings,
            hosts=Hosts(settings, resolver, chance),
            dialer=Dialer(settings, trust or Trust(), clock=clock),
            contents=Contents(queue, directory, self._executor, clock),
            pool=self._pool,
            chance=chance,
            clock=clock,
            ticks=ticks,
        )
        self._lanes: dict[asyncio.Task[None], Site] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._is_more_due = False
        self._next_due: datetime | None = None
        self._swept_at = 0.0
        self._claimed_at = 0.0
        self._patience = 0.0
        self._second_look: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._is_woken = False
        self._handed: deque[Work] = deque()
        self._is_taking = False
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # From outside

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether its thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, patience: float) -> None:
        """Take nothing new, finish what is in flight within `patience` seconds, give the rest back, end."""
        self._patience = patience
        self._is_stopping = True
        self._is_woken = False
        self.wake()
        if self._thread is not None:
            self._thread.join(patience + 10)
            self._thread = None
        self._executor.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Something is due, or over."""
        if self._is_woken or self._loop is None:
            return
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            log.debug("the delivery loop has ended")

    def has_room(self) -> bool:
        """Whether new mail may come straight here: not while older mail waits in the table for its turn."""
        holding = self._holding
        is_open = self._loop is not None and not self._is_stopping
        return is_open and not self._is_more_due and holding.room - len(self._handed) > holding.capacity // 2

    def take(self, works: Sequence[Work]) -> None:
        """New work, already under a lease of this node."""
        self._handed.extend(works)
        loop = self._loop
        if loop is not None and self._is_taking:
            return
        self._is_taking = True
        try:
            if loop is None:
                raise RuntimeError("the delivery loop has ended")
            loop.call_soon_threadsafe(self._take_handed)
        except RuntimeError:
            now = self._clock()
            self._queue.release(self._drained(), now, now)

    # On the loop

    def _drained(self) -> list[Work]:
        self._is_taking = False  # first: what comes from here on asks for a look of its own
        return [self._handed.popleft() for _ in range(len(self._handed))]

    def _take_handed(self) -> None:
        works = self._drained()
        if self._is_stopping:
            self._release(works, self._clock())
        else:
            self._holding.take_in(works)
            self._deal()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            try:
                runner.run(self.run())
            except Exception:
                log.exception("the delivery loop ended")

    async def run(self) -> None:
        """Until stop(): turn after turn, each when there is reason for it."""
        self._loop = asyncio.get_running_loop()
        self._queue.on_work.append(self.wake)
        self._queue.taker = self
        try:
            while not self._is_stopping:
                self._is_woken = False
                self._wake.clear()
                try:
                    pause = await self.turn(self._clock())
                except Exception:
                    log.exception("turn failed")
                    pause = 1.0
                if pause > 0 and not self._is_stopping:
                    await self._wait(pause)
                    await self._gather()
        finally:
            self._queue.taker = None
            self._queue.on_work.remove(self.wake)
            await self.end(self._patience)
            self._loop = None

    async def turn(self, now: datetime) -> float:
        """One unit: claim what is due, start lanes for it. Gives the seconds until the next turn is of use."""
        holding = self._holding
        if self._ticks() - self._swept_at >= _SWEEP:
            self._swept_at = self._ticks()
            self._pool.sweep()
            holding.sweep()
        least = holding.capacity // 4
        if holding.room < least:
            holding.trim()
        if holding.room >= least:
            room = holding.room
            works, self._next_due = await self._queue.claim_soon(now, room)
            self._claimed_at = self._ticks()
            self._is_more_due = len(works) >= room
            holding.take_in(works)
        self._deal()
        if self._is_more_due and holding.room >= least:
            return 0.0
        return self._until_next(now)

    async def end(self, patience: float) -> None:
        """Finish what is in flight within `patience` seconds, give the rest back, part with all hosts."""
        self._is_stopping = True
        if self._second_look is not None:
            self._second_look.cancel()
        self._holding.give_back_all()
        if self._lanes:
            _, late = await asyncio.wait(list(self._lanes), timeout=max(0.0, patience - 1.0))
            for lane in late:
                lane.cancel()
            if late:
                await asyncio.wait(late)
        self._holding.give_back_all()
        self._pool.close()
        try:
            async with asyncio.timeout(max(1.0, patience)):
                await self.idle()
        except TimeoutError:
            log.warning("stopped with results unwritten")

    async def idle(self) -> None:
        """Wait until nothing is in hand and everything is written."""
        while self._lanes or self._background or not self._settling.is_idle:
            waiting: list[asyncio.Task[None]] = [*self._lanes, *self._background]
            if waiting:
                await asyncio.wait(waiting)
            await self._settling.drained()

    # Lanes

    def _deal(self) -> None:
        if self._holding.is_patient and self._second_look is None and not self._is_stopping:
            self._second_look = asyncio.get_running_loop().call_later(SOON, self._look_again)
        while len(self._lanes) < self.settings.connections:
            site = self._holding.next_site()
            if site is None:
                return
            site.lanes += 1
            lane = asyncio.ensure_future(Lane(site, self._gear, self).run())
            self._lanes[lane] = site
            lane.add_done_callback(self._lane_ended)
            self._holding.look_at(site)

    def _look_again(self) -> None:
        self._second_look = None
        if not self._is_stopping:
            self._holding.look_again()
            self._deal()

    def _lane_ended(self, lane: asyncio.Task[None]) -> None:
        site = self._lanes.pop(lane)
        site.lanes -= 1
        if not lane.cancelled() and (error := lane.exception()) is not None:
            log.error("lane ended", exc_info=error, extra={"destination": site.key.name})
        if self._is_stopping:
            return
        if site.is_down(self._ticks()):
            self._holding.postpone(site)
        self._holding.look_at(site)
        self._deal()
        self._claim_if_room()

    def report(self, done: Sequence[Done]) -> None:
        """From a lane: results to be written. Until they are, a delivery is noted where a kill does not reach."""
        self._queue.note_delivered([d.result.work.recipient_id for d in done if d.result.outcome == "delivered"])
        self._settling.add(done)

    def give_back(self, group: Group) -> None:
        """From a lane: not tried."""
        self._holding.give_back([group], self._clock())

    def note_in_flight(self, works: Sequence[Work]) -> None:
        """From a lane: their content goes out next."""
        self._queue.note_in_flight([work.recipient_id for work in works])

    def opened(self, site: Site) -> None:
        """From a lane: the site may have more lanes than before."""
        if not self._is_stopping:
            self._holding.look_at(site)
            self._deal()

    def is_wanted_elsewhere(self) -> bool:
        """From a lane: whether another site waits and no lane is free."""
        return len(self._lanes) >= self.settings.connections and self._holding.is_waited_for

    def crashed(self, group: Group, error: Exception) -> None:
        """From a lane: an exception nobody foresaw; the queue counts them."""
        with about(to_text(group.works[0].message_id)):
            log.error("delivery crashed", exc_info=error)
        reason = f"{type(error).__name__}: {error}"
        for work in group.works:
            self._written(self._queue.crashed(work, reason, self._clock()))
        self._holding.left(len(group.works))

    # Between loop and queue

    def _claim_if_room(self) -> None:
        if self._is_more_due and self._holding.room > self._holding.capacity // 2:
            self._wake.set()

    def _settled(self, results: Sequence[Result]) -> None:
        self._holding.left(len(results))
        for result in results:
            if result.next_attempt_at is not None:
                self._note_due(result.next_attempt_at)
        for callback in self.on_settled:
            callback(results)
        self._claim_if_room()

    def _release(self, works: Sequence[Work], until: datetime) -> None:
        self._written(self._queue.release(works, until, self._clock()))
        self._note_due(until)

    def _note_due(self, moment: datetime) -> None:
        if self._next_due is None or moment < self._next_due:
            self._next_due = moment
            self._wake.set()  # the pause of now was reckoned without it

    def _written(self, change: Future[Any]) -> None:
        """A change that nobody waits for: when it fails, that is logged, and the lease runs out by itself."""

        async def watch() -> None:
            try:
                await asyncio.wrap_future(change)
            except Exception:
                log.exception("not written")

        task = asyncio.ensure_future(watch())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Time

    def _until_next(self, now: datetime) -> float:
        pause = self.settings.process_interval
        if self._next_due is not None:
            pause = min(pause, max(_LEAST_PAUSE, (self._next_due - now).total_seconds()))
        if len(self._pool) or self._holding.waits:
            pause = min(pause, _SWEEP)
        return pause

    async def _gather(self) -> None:
        """Under load, let a few messages come together: a claim costs as much as ten of them."""
        since = self._ticks() - self._claimed_at
        if since < GATHER and not self._is_stopping:
            await asyncio.sleep(GATHER - since)

    async def _wait(self, pause: float) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
