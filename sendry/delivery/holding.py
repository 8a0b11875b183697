"""Claimed work in memory: sorted by site, dealt to lanes in turns, given back when a site has more than its share.

Runs on the delivery loop, no network. Promise: everything taken in leaves by a lane, by `release` or by `expire`; a
site that does not get on holds at most its share while others wait; transactional mail is dealt out first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sendry.config.values import RelayTls
from sendry.delivery.deliver import Done
from sendry.delivery.retry import is_overdue
from sendry.delivery.settings import Settings
from sendry.delivery.sites import Group, Site, SiteKey
from sendry.mail.outcome import Verdict, expired
from sendry.queue.work import Result, Tried, Work

MOST_HELD: Final = 1000
"""Claimed recipients in memory, or as many as there may be connections, if that is more."""

MOST_HELD_OF_SITE: Final = 200
"""Of them, those of one site that does not get on."""

SLOW_AFTER: Final = 2.0
"""Seconds that the oldest group of a site has waited when the site counts as slow."""

HELD_LONGEST: Final = 120.0
"""Seconds a group may wait in memory for its lane."""

MOST_RECIPIENTS: Final = 100
"""Recipients of one transaction (RFC 5321 section 4.5.3.1.8)."""

FIRST_OVERFLOW: Final = 5.0
LONGEST_OVERFLOW: Final = 60.0
"""Seconds that excess work of a slow site stays away: doubling from the first to the longest."""

_SITE_FORGOTTEN: Final = 3600.0


class Holding:
    """What is in memory. `release(works, until)` gives work back, `expire(done)` ends it; `held` is kept by both
    sides: add by `take_in`, subtract by `release` here and by `left(n)` for what lanes have finished.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        ticks: Callable[[], float],
        chance: random.Random,
        release: Callable[[Sequence[Work], datetime], None],
        expire: Callable[[Sequence[Done]], None],
    ) -> None:
        self.capacity = max(MOST_HELD, settings.connections)
        self.held = 0
        self._settings = settings
        self._clock = clock
        self._ticks = ticks
        self._chance = chance
        self._release = release
        self._expire = expire
        self._sites: dict[SiteKey, Site] = {}
        self._hungry: dict[Site, None] = {}
        self._hungry_bulk: dict[Site, None] = {}
        self._patient: dict[Site, None] = {}

    @property
    def room(self) -> int:
        """How many more recipients may be taken in."""
        return max(0, self.capacity - self.held)

    @property
    def is_waited_for(self) -> bool:
        """Whether a site waits for a lane."""
        return bool(self._hungry or self._hungry_bulk)

    @property
    def is_patient(self) -> bool:
        """Whether a site could have more lanes than it wants for now: then `look_again` before long."""
        return bool(self._patient)

    @property
    def waits(self) -> bool:
        """Whether any group waits for its lane."""
        return any(self._sites.values())

    def left(self, recipients: int) -> None:
        """So many were settled, or are no longer ours."""
        self.held -= recipients

    # In

    def take_in(self, works: Iterable[Work]) -> None:
        """Sort claimed work into groups: recipients of one message at one site share a transaction."""
        groups: dict[tuple[int, SiteKey], Group] = {}
        touched: dict[Site, None] = {}
        ticks = self._ticks()
        for work in works:
            key = self._key_of(work)
            group = groups.get((work.message_id, key))
            if group is None or len(group.works) >= MOST_RECIPIENTS:
                group = groups[(work.message_id, key)] = Group([work], ticks)
                site = self._site(key)
                site.put(group)
                touched[site] = None
            else:
                group.works.append(work)
            self.held += 1
        for site in touched:
            if site.is_down(ticks):
                self.postpone(site)
            elif self._is_slow(site, ticks):
                self._give_back_excess(site, MOST_HELD_OF_SITE)
            self.look_at(site)

    def _key_of(self, work: Work) -> SiteKey:
        if self._settings.relay is not None:
            return SiteKey("", self._settings.relay.tls)
        return SiteKey(work.destination, RelayTls(self._settings.tls_for(work.destination).value))

    def _site(self, key: SiteKey) -> Site:
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = Site(key, self._settings.connections_per_destination)
            site.used_at = self._ticks()
        return site

    # Out to lanes

    def look_at(self, site: Site) -> None:
        """Put a site at the end of the line for lanes, or take it out."""
        self._hungry.pop(site, None)
        self._hungry_bulk.pop(site, None)
        self._patient.pop(site, None)
        if site.wants_lane(self._ticks()):
            (self._hungry if site.waiting else self._hungry_bulk)[site] = None
        elif site and site.has_lanes_left:
            self._patient[site] = None

    def look_again(self) -> None:
        """At the sites that were left to the lanes they had: by now they may want more."""
        for site in list(self._patient):
            self.look_at(site)

    def next_site(self) -> Site | None:
        """The site whose turn it is to get a lane: those with transactional mail first."""
        ticks = self._ticks()
        while line := self._hungry or self._hungry_bulk:
            site = next(iter(line))
            del line[site]
            if site.wants_lane(ticks):
                return site
        return None

    # Back to the queue

    def give_back(self, groups: Sequence[Group], until: datetime) -> None:
        """These were not tried and are due again at `until`."""
        works = [work for group in groups for work in group.works]
        if works:
            self.held -= len(works)
            self._release(works, until)

    def give_back_all(self) -> None:
        """All that waits, due at once: another node, or the next start, takes it."""
        for site in self._sites.values():
            self.give_back(list(site.drop_newest(0)), self._clock())
            self.look_at(site)

    def postpone(self, site: Site) -> None:
        """The site is being left alone: what waits for it waits in the queue, or has waited long enough."""
        groups = list(site.drop_newest(0))
        if not groups:
            return
        now = self._clock()
        if site.failing_since is not None and site.failure is not None:
            groups = self._without_overdue(groups, site.failing_since, site.failure, now)
        wait = max(0.0, site.down_until - self._ticks())
        # The probe goes first: who comes a little later finds the site up again, or down.
        spread = self._chance.uniform(0, max(1.0, wait / 4))
        self.give_back(groups, now + timedelta(seconds=wait + spread))

    def _without_overdue(
        self, groups: Sequence[Group], since: datetime, failure: Verdict, now: datetime
    ) -> list[Group]:
        overdue = [w for group in groups for w in group.works if is_overdue(w, since, now, self._settings)]
        if not overdue:
            return list(groups)
        self._expire([_expired(work, failure, now) for work in overdue])
        gone = {work.recipient_id for work in overdue}
        rest = []
        for group in groups:
            group.works = [work for work in group.works if work.recipient_id not in gone]
            if group.works:
                rest.append(group)
        return rest

    def trim(self) -> bool:
        """Memory is full: sites that do not get on give back what is beyond their share. True when any did."""
        ticks = self._ticks()
        slow = [site for site in self._sites.values() if self._is_slow(site, ticks)]
        if not slow:
            return False
        share = max(self._settings.connections_per_destination, self.capacity // (2 * len(slow)))
        return sum(self._give_back_excess(site, min(share, MOST_HELD_OF_SITE)) for site in slow) > 0

    def sweep(self) -> None:
        """Give back what waited too long, and forget sites nobody writes to."""
        ticks = self._ticks()
        for key, site in list(self._sites.items()):
            oldest = site.oldest()
            if oldest is not None and ticks - oldest > HELD_LONGEST:
                self.give_back(list(site.drop_newest(0)), self._clock() + timedelta(seconds=LONGEST_OVERFLOW))
            if not site:
                site.overflow_delay = 0.0
                last_seen = max(site.used_at, site.down_until, site.failed_at)
                if not site.lanes and ticks - last_seen > _SITE_FORGOTTEN:
                    del self._sites[key]
            self.look_at(site)

    def _is_slow(self, site: Site, ticks: float) -> bool:
        oldest = site.oldest()
        return oldest is not None and ticks - oldest > SLOW_AFTER

    def _give_back_excess(self, site: Site, keep: int) -> int:
        excess = list(site.drop_newest(keep))
        excess.reverse()  # the oldest come back first
        if site.pace and site.lanes and site.is_open:
            # It gets on, only slowly: each comes back when its turn will be near, so that the site never idles.
            each = site.pace / site.lanes
            away = [
                min(LONGEST_OVERFLOW, max(1.0, round((keep + place) * each * 0.8))) for place in range(len(excess))
            ]
        else:
            if excess:
                site.overflow_delay = min(max(site.overflow_delay * 2, FIRST_OVERFLOW), LONGEST_OVERFLOW)
            away = [site.overflow_delay * self._chance.uniform(1, 1.5)] * len(excess)
        now = self._clock()
        for delay in dict.fromkeys(away):
            some = [group for group, own in zip(excess, away, strict=True) if own == delay]
            self.give_back(some, now + timedelta(seconds=delay))
        return len(excess)


def _expired(work: Work, failure: Verdict, now: datetime) -> Done:
    verdict = expired(failure, now - work.created_at)
    tried = Tried(
        now, 0, code=verdict.code, enhanced=verdict.enhanced, response=verdict.text,
        bounce_class=str(verdict.bounce_class),
    )  # fmt: skip
    return Done(Result(work, verdict.kind, (tried,)), verdict)
