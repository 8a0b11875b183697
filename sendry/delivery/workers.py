"""The delivery loop: claims due work, deals it out to lanes, writes back what came of it.

One thread with one event loop; everything that blocks (claims, files, notices) happens in a few threads beside it.
Promise: what is claimed is reported, given back or, when the process dies, left under its lease; no destination
holds more than its share of the memory and of the lanes while others wait; `turn(now)` is one unit of work, so that
tests walk through time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from sendry.config.tree import Config
from sendry.config.values import RelayTls
from sendry.delivery.content import Contents, Keys, Reader
from sendry.delivery.deliver import Done, Gear, Lane
from sendry.delivery.hosts import Hosts
from sendry.delivery.notices import Door, Notices
from sendry.delivery.pool import Pool
from sendry.delivery.retry import is_overdue
from sendry.delivery.session import Dialer
from sendry.delivery.settings import Settings
from sendry.delivery.settling import Settling
from sendry.delivery.sites import Group, Site, SiteKey
from sendry.delivery.trust import Trust
from sendry.mail.outcome import Verdict, expired
from sendry.queue.work import Result, Tried, Work
from sendry.resolver import Resolver

log = logging.getLogger(__name__)

MOST_HELD: Final = 1000
"""Claimed recipients in memory, at least as many as there may be connections."""

MOST_HELD_OF_SITE: Final = 200
"""Of them, those of one site that does not get on."""

SLOW_AFTER: Final = 2.0
"""Seconds that the oldest group of a site has waited when the site counts as slow."""

HELD_LONGEST: Final = 240.0
"""Seconds a group may wait in memory: with an attempt of the longest kind it must end before the lease does."""

MOST_RECIPIENTS: Final = 100
"""Recipients of one transaction (RFC 5321 section 4.5.3.1.8)."""

FIRST_OVERFLOW: Final = 5.0
LONGEST_OVERFLOW: Final = 60.0
_SITE_FORGOTTEN: Final = 3600.0
_SWEEP: Final = 5.0


class Line(Protocol):
    """What delivery needs of the queue."""

    on_work: list[Callable[[], None]]

    def claim(self, now: datetime, limit: int) -> list[Work]: ...
    def settle(self, results: Sequence[Result], now: datetime) -> Future[list[int]]: ...
    def release(self, work: Sequence[Work], until: datetime, now: datetime) -> Future[int]: ...
    def crashed(self, work: Work, reason: str, now: datetime) -> Future[bool]: ...
    def next_due(self) -> datetime | None: ...
    def note_in_flight(self, recipient_ids: Sequence[int]) -> None: ...
    def open_content(self, message_id: int) -> Reader | None: ...


class DeliveryLoop:
    """SMTP out. `start()` and `stop()` from any thread; the rest runs on the loop.

    `on_settled` callbacks get each batch of results after it is on disk, on the loop: they must be quick.
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
        self.settings = settings or Settings.of(config)
        self.on_settled: list[Callable[[Sequence[Result]], None]] = []
        self._queue = queue
        self._clock = clock
        self._ticks = ticks
        self._chance = chance or random.Random()
        self._resolver = resolver or Resolver(tuple((place.host, place.port) for place in config.dns.nameservers))
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="delivery")
        self._most_held = max(MOST_HELD, self.settings.connections)
        self._sites: dict[SiteKey, Site] = {}
        self._hungry: dict[Site, None] = {}
        self._hungry_bulk: dict[Site, None] = {}
        self._lanes: dict[asyncio.Task[None], Site] = {}
        self._held = 0
        self._is_more_due = False
        self._next_due: datetime | None = None
        self._is_stopping = False
        self._is_woken = False
        self._wake: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._patience = 0.0
        self._swept_at = 0.0
        self._pool = Pool(self.settings.idle_kept, self.settings.messages_per_connection, ticks)
        notices = Notices(self.settings, intake, queue, self._executor, clock)
        self._settling = Settling(queue, notices, clock, self._settled)
        self._gear = Gear(
            settings=self.settings,
            hosts=Hosts(self.settings, self._resolver, self._chance),
            dialer=Dialer(self.settings, trust or Trust(), clock=clock),
            contents=Contents(queue, directory, self._executor, clock),
            pool=self._pool,
            chance=self._chance,
            clock=clock,
            ticks=ticks,
        )

    # Start and stop, from outside

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Take nothing new, finish what is in flight within `patience` seconds, give the rest back, end."""
        self._patience = patience
        self._is_stopping = True
        self.wake()
        if self._thread is not None:
            self._thread.join(patience + 10)
            self._thread = None
        self._executor.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Something is due, or over. From any thread."""
        if self._is_woken or self._loop is None or self._wake is None:
            return
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._wake.set)
        except RuntimeError:
            log.debug("the delivery loop has ended")

    # On the loop

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            try:
                runner.run(self.run())
            except Exception:
                log.exception("the delivery loop ended")

    async def run(self) -> None:
        """Until stop(): turn after turn, each when there is reason for it."""
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._queue.on_work.append(self.wake)
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
        finally:
            self._queue.on_work.remove(self.wake)
            await self._end(self._patience)
            self._loop = None

    async def turn(self, now: datetime) -> float:
        """One unit: claim what is due, deal it out, start lanes. Gives the seconds until the next is of use."""
        self._sweep()
        room = self._most_held - self._held
        if room < self._most_held // 4 and self._trim():
            room = self._most_held - self._held
        if room >= self._most_held // 4:
            works, self._next_due = await self._in_thread(self._claim, now, room)
            self._is_more_due = len(works) >= room
            self._take_in(works)
        self._deal()
        if self._is_more_due and self._most_held - self._held >= self._most_held // 4:
            return 0.0
        return self._until_next(now)

    def _claim(self, now: datetime, room: int) -> tuple[list[Work], datetime | None]:
        works = self._queue.claim(now, room)
        return works, self._queue.next_due() if len(works) < room else None

    async def idle(self) -> None:
        """Wait until nothing is in hand and all results are written. For tests and for the end."""
        while self._lanes or not self._settling.is_idle or self._background:
            waiting: list[asyncio.Future[Any]] = [*self._lanes, *self._background]
            if waiting:
                await asyncio.wait(waiting)
            await self._settling.drained()

    # Taking in

    def _take_in(self, works: Iterable[Work]) -> None:
        groups: dict[tuple[int, SiteKey], Group] = {}
        ticks = self._ticks()
        for work in works:
            key = self._key_of(work)
            group = groups.get((work.message_id, key))
            if group is None or len(group.works) >= MOST_RECIPIENTS:
                group = groups[(work.message_id, key)] = Group([work], ticks)
                self._site(key).put(group)
            else:
                group.works.append(work)
            self._held += 1
        for site in {self._sites[key]: None for _, key in groups}:
            if site.is_down(ticks):
                self._postpone(site)
            elif self._is_slow(site, ticks):
                self._give_back_excess(site, MOST_HELD_OF_SITE)
            self._look_at(site)

    def _key_of(self, work: Work) -> SiteKey:
        if self.settings.relay is not None:
            return SiteKey("", self.settings.relay.tls)
        return SiteKey(work.destination, RelayTls(self.settings.tls_for(work.destination).value))

    def _site(self, key: SiteKey) -> Site:
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = Site(key, self.settings.connections_per_destination)
        return site

    # Dealing out

    def _deal(self) -> None:
        """Start lanes for sites that want them, in turns, those with transactional mail first."""
        ticks = self._ticks()
        while len(self._lanes) < self.settings.connections:
            line = self._hungry or self._hungry_bulk
            if not line:
                return
            site = next(iter(line))
            del line[site]
            if site.wants_lane(ticks):
                self._start_lane(site)
                self._look_at(site)

    def _start_lane(self, site: Site) -> None:
        site.lanes += 1
        task = asyncio.ensure_future(Lane(site, self._gear, self).run())
        self._lanes[task] = site
        task.add_done_callback(self._lane_ended)

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        site = self._lanes.pop(task)
        site.lanes -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("lane ended", exc_info=error, extra={"destination": site.key.name})
        if self._is_stopping:
            return
        if site.is_down(self._ticks()):
            self._postpone(site)
        self._look_at(site)
        self._deal()
        self._claim_if_room()

    def _look_at(self, site: Site) -> None:
        """Put a site into the line for lanes, or take it out."""
        wants = site.wants_lane(self._ticks())
        self._hungry.pop(site, None)
        self._hungry_bulk.pop(site, None)
        if wants:
            (self._hungry if site.waiting else self._hungry_bulk)[site] = None

    def _claim_if_room(self) -> None:
        if self._is_more_due and self._wake is not None and self._held < self._most_held // 2:
            self._wake.set()

    # What lanes say

    def report(self, done: Sequence[Done]) -> None:
        self._settling.add(done)

    def give_back(self, group: Group) -> None:
        self._release([group], self._clock())

    def note_in_flight(self, works: Sequence[Work]) -> None:
        self._queue.note_in_flight([work.recipient_id for work in works])

    def is_wanted_elsewhere(self) -> bool:
        return len(self._lanes) >= self.settings.connections and bool(self._hungry or self._hungry_bulk)

    def crashed(self, group: Group, error: Exception) -> None:
        log.error("delivery crashed", exc_info=error, extra={"message": group.works[0].message_id})
        reason = f"{type(error).__name__}: {error}"
        for work in group.works:
            self._watch(asyncio.wrap_future(self._queue.crashed(work, reason, self._clock())))
        self._held -= len(group.works)

    def _settled(self, results: Sequence[Result]) -> None:
        self._held -= len(results)
        for callback in self.on_settled:
            callback(results)
        self._claim_if_room()

    # Giving back

    def _is_slow(self, site: Site, ticks: float) -> bool:
        oldest = site.oldest()
        return oldest is not None and ticks - oldest > SLOW_AFTER

    def _trim(self) -> bool:
        """Memory is full: sites that do not get on give back what is beyond their share. True when any did."""
        ticks = self._ticks()
        slow = [site for site in self._sites.values() if self._is_slow(site, ticks)]
        if not slow:
            return False
        share = max(self.settings.connections_per_destination, self._most_held // (2 * len(slow)))
        return sum(self._give_back_excess(site, min(share, MOST_HELD_OF_SITE)) for site in slow) > 0

    def _give_back_excess(self, site: Site, keep: int) -> int:
        excess = list(site.drop_newest(keep))
        if excess:
            site.overflow_delay = min(max(site.overflow_delay * 2, FIRST_OVERFLOW), LONGEST_OVERFLOW)
            self._release(
                excess, self._clock() + timedelta(seconds=site.overflow_delay * self._chance.uniform(1, 1.5))
            )
        return len(excess)

    def _postpone(self, site: Site) -> None:
        """The site is being left alone: what waits for it waits in the queue, or has waited long enough."""
        groups = list(site.drop_newest(0))
        if not groups:
            return
        now = self._clock()
        wait = max(0.0, site.down_until - self._ticks())
        if site.failing_since is not None and site.failure is not None:
            since, failure = site.failing_since, site.failure
            overdue = [w for group in groups for w in group.works if is_overdue(w, since, now, self.settings)]
            if overdue:
                self._settling.add([self._expired(work, failure, now) for work in overdue])
                gone = {work.recipient_id for work in overdue}
                groups = [Group(left, g.taken_at) for g in groups if (left := _without(g, gone))]
        # The probe goes first: who comes back much later finds the site up, or down again.
        spread = self._chance.uniform(0, max(1.0, wait / 4))
        self._release(groups, now + timedelta(seconds=wait + spread))

    def _expired(self, work: Work, failure: Verdict, now: datetime) -> Done:
        verdict = expired(failure, now - work.created_at)
        tried = Tried(
            now, 0, code=verdict.code, enhanced=verdict.enhanced, response=verdict.text,
            bounce_class=str(verdict.bounce_class),
        )  # fmt: skip
        return Done(Result(work, verdict.kind, (tried,)), verdict)

    def _release(self, groups: Sequence[Group], until: datetime) -> None:
        works = [work for group in groups for work in group.works]
        if works:
            self._held -= len(works)
            self._watch(asyncio.wrap_future(self._queue.release(works, until, self._clock())))
            if self._next_due is None or until < self._next_due:
                self._next_due = until

    def _sweep(self) -> None:
        """Part with idle sessions, give back what waited too long, forget sites nobody writes to."""
        ticks = self._ticks()
        if ticks - self._swept_at < _SWEEP:
            return
        self._swept_at = ticks
        self._pool.sweep()
        for key, site in list(self._sites.items()):
            oldest = site.oldest()
            if oldest is not None and ticks - oldest > HELD_LONGEST:
                self._release(list(site.drop_newest(0)), self._clock() + timedelta(seconds=LONGEST_OVERFLOW))
            if not site:
                site.overflow_delay = 0.0
            is_forgotten = ticks - max(site.used_at, site.down_until, site.failed_at) > _SITE_FORGOTTEN
            if not site and not site.lanes and is_forgotten:
                del self._sites[key]
            self._look_at(site)

    # Time

    def _until_next(self, now: datetime) -> float:
        pause = self.settings.process_interval
        if self._next_due is not None:
            pause = min(pause, max(0.05, (self._next_due - now).total_seconds()))
        if len(self._pool) or any(site for site in self._sites.values()):
            pause = min(pause, _SWEEP)
        return pause

    async def _wait(self, pause: float) -> None:
        assert self._wake is not None
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _in_thread(self, function: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *given)

    def _watch(self, change: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> None:
        """Something the queue writes that nobody waits for: its failure is logged, its lease runs out by itself."""

        async def watched() -> None:
            try:
                await change
            except Exception:
                log.exception("not written")

        task = asyncio.ensure_future(watched())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _end(self, patience: float) -> None:
        """Finish what is in flight, give the rest back."""
        self._is_stopping = True
        for site in self._sites.values():
            self._release(list(site.drop_newest(0)), self._clock())
        if self._lanes:
            _, late = await asyncio.wait(list(self._lanes), timeout=max(0.0, patience - 1.0))
            for lane in late:
                lane.cancel()
            if late:
                await asyncio.wait(late)
        for site in self._sites.values():
            self._release(list(site.drop_newest(0)), self._clock())
        self._pool.close()
        try:
            async with asyncio.timeout(max(1.0, patience)):
                await self.idle()
        except TimeoutError:
            log.warning("stopped with results unwritten")


def _without(group: Group, gone: set[int]) -> list[Work]:
    return [work for work in group.works if work.recipient_id not in gone]


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
