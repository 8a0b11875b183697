"""One lane: a coroutine that carries groups to one site, over one connection at a time.

Runs on the delivery loop. Steps for each group: a session (kept, or a new one at the best host that gives one), the
content, the transaction, the report. While the reply to one content is on its way, the commands of the next message
go out already (RFC 2920 section 3.1). Promise: every group taken is reported, put back or given back, whatever
happens, a cancellation included.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from sendry.delivery.content import Contents, NotReady, Prepared
from sendry.delivery.exchange import LONGEST_TRANSACTION, Exchange
from sendry.delivery.hosts import Host, Hosts, Unroutable
from sendry.delivery.pool import Pool, part
from sendry.delivery.retry import ending_of
from sendry.delivery.session import Dialer, Facts, NoSession, Session
from sendry.delivery.settings import Settings
from sendry.delivery.sites import Group, Site
from sendry.mail.outcome import Outcome, Verdict
from sendry.queue.work import Result, Tried, Work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """A result with what a notice to the sender needs beside it."""

    result: Result
    verdict: Verdict
    host: str = ""
    passed_dsn_on: bool = False


class Desk(Protocol):
    """Who lanes report to."""

    def report(self, done: Sequence[Done]) -> None:
        """These recipients have come to an end for this turn."""

    def give_back(self, group: Group) -> None:
        """This group was not tried."""

    def crashed(self, group: Group, error: Exception) -> None:
        """Nobody foresaw this exception."""

    def note_in_flight(self, works: Sequence[Work]) -> None:
        """Their content goes out next."""

    def opened(self, site: Site) -> None:
        """This site may have more lanes than before."""

    def is_wanted_elsewhere(self) -> bool:
        """Whether a lane should end because another site waits for one."""


@dataclass(frozen=True, slots=True)
class Gear:
    """What every lane works with. `clock` gives aware UTC time, `ticks` monotonic seconds."""

    settings: Settings
    hosts: Hosts
    dialer: Dialer
    contents: Contents
    pool: Pool
    chance: random.Random
    clock: Callable[[], datetime]
    ticks: Callable[[], float]


@dataclass(slots=True, eq=False)
class _Run:
    """A group on its way over the session."""

    group: Group
    exchange: Exchange
    started_at: datetime
    began: float
    is_kept: bool  # the connection carried mail before


class Lane:
    """Carries the groups of one site until none waits."""

    def __init__(self, site: Site, gear: Gear, desk: Desk) -> None:
        self._site = site
        self._gear = gear
        self._desk = desk
        self._session: Session | None = None
        self._run: _Run | None = None
        self._following: _Run | None = None
        self._group: Group | None = None
        self._must_end = False
        self._is_ahead_off = False

    async def run(self) -> None:
        """Take groups until none waits or another site needs the lane more."""
        try:
            while not self._must_end:
                try:
                    if not await self._step():
                        break
                except Exception as error:
                    self._crash(error)
                if self._following is None and self._desk.is_wanted_elsewhere():
                    break
        finally:
            self._abandon()
            if self._session is not None:
                self._gear.pool.give(self._site.key, self._session)
                self._forget_session()

    async def _step(self) -> bool:
        """One group from its line to its report. False: none waits."""
        run = self._run = self._following
        self._following = None
        if run is None:
            self._group = self._site.take()
            if self._group is None:
                return False
            run = self._run = await self._begun(self._group)
            self._group = None
            if run is None:
                return True
        exchange = run.exchange
        if await exchange.negotiate():
            self._desk.note_in_flight(exchange.accepted)
            await exchange.send()
            self._following = self._begun_ahead(exchange)
            await exchange.conclude()
        self._end(run)
        self._run = None
        return True

    # A session and a transaction

    async def _begun(self, group: Group) -> _Run | None:
        """The group with its first commands sent; None when it has been dealt with otherwise."""
        session = self._session
        if session is not None and not self._gear.pool.is_good(session):
            self._drop_session()
            session = None
        if session is None:
            session = self._gear.pool.take(self._site.key) or await self._dialed(group)
            if session is None:
                return None
            self._session = session
            self._site.connected += 1
        try:
            content = await self._gear.contents.of(group.works[0], seven_bit=_wants_seven_bit(session))
        except NotReady as problem:
            self._finish(group, group.works, problem.verdict)
            return None
        return self._started(group, session, content)

    def _begun_ahead(self, exchange: Exchange) -> _Run | None:
        """The next group, begun before the reply to this content has come; None where that cannot be."""
        session, site = exchange.session, self._site
        if (
            not session.is_pipelining
            or not exchange.is_dot_sent
            or session.is_ending
            or session.wire.lost is not None
        ):
            return None
        if session.used + 1 > self._gear.settings.messages_per_connection or self._desk.is_wanted_elsewhere():
            return None
        if self._is_ahead_off:
            self._is_ahead_off = False
            return None
        group = site.take()
        if group is None:
            return None
        if group.works[0].small is None or group.avoid:
            site.put_back(group)
            return None
        try:
            content = self._gear.contents.now(group.works[0], seven_bit=_wants_seven_bit(session))
            return self._started(group, session, content)
        except Exception:
            # The message under way is innocent. What is wrong with this one comes out when its own turn is.
            site.put_back(group)
            self._is_ahead_off = True
            return None

    def _started(self, group: Group, session: Session, content: Prepared) -> _Run:
        gear = self._gear
        began = gear.ticks()
        seconds = min(LONGEST_TRANSACTION, group.seconds_left(began))
        exchange = Exchange(session, group.works, content, gear.settings, seconds)
        run = _Run(group, exchange, gear.clock(), began, session.used > 0)
        exchange.start()
        return run

    async def _dialed(self, group: Group) -> Session | None:
        """A new session with the best host that gives one; None when the group has been dealt with."""
        gear, site = self._gear, self._site
        began, tried = gear.ticks(), len(group.tried)
        try:
            hosts = await self._hosts()
        except Unroutable as nowhere:
            if nowhere.verdict.kind is Outcome.DEFERRED:
                self._note_failure(began, nowhere.verdict)
            self._finish(group, group.works, nowhere.verdict)
            return None
        relay = gear.settings.relay if not site.key.name else None
        last = group.last
        for host in hosts:
            if host.ip in group.avoid:
                continue
            started_at, started = gear.clock(), gear.ticks()
            seconds = group.seconds_left(started) - LONGEST_TRANSACTION
            if last is not None and seconds < 1:
                break
            try:
                session = await gear.dialer.open(host, site.key.tls, relay, max(1.0, seconds))
            except NoSession as failed:
                last = failed.verdict
                group.tried.append(_tried(failed.facts, last, started_at, gear.ticks() - started))
            else:
                was_open = site.is_open
                site.note_session()
                if not was_open:
                    self._desk.opened(site)
                return session
        assert last is not None  # hosts is never empty, and who is avoided left a verdict
        if group.avoid:
            self._finish(group, group.works, last, is_told=True)
        elif site.connected:
            # As many connections as the host wants: the others go on, this lane ends.
            site.note_crowded()
            del group.tried[tried:]
            site.put_back(group)
            self._must_end = True
        else:
            self._note_failure(began, last)
            self._finish(group, group.works, last, is_told=True)
        return None

    def _note_failure(self, began: float, verdict: Verdict) -> None:
        gear, site = self._gear, self._site
        site.note_failure(began, gear.ticks(), gear.clock(), verdict)
        self._must_end = site.is_down(gear.ticks())

    async def _hosts(self) -> tuple[Host, ...]:
        gear, name = self._gear, self._site.key.name
        if name:
            return await gear.hosts.of(name)
        assert gear.settings.relay is not None
        return await gear.hosts.of_relay(gear.settings.relay)

    # The end of a transaction

    def _end(self, run: _Run) -> None:
        group, exchange, site = run.group, run.exchange, self._site
        if exchange.is_untouched and exchange.was_asked and run.is_kept:
            # The host closed a kept connection meanwhile: as if it had never been.
            self._drop_session()
            site.put_back(group)
            return
        site.used_at = self._gear.ticks()
        facts = exchange.session.facts
        elapsed = self._gear.ticks() - run.began
        broken = exchange.broken_off
        settled = [work for work in group.works if work.recipient_id in exchange.verdicts]
        if broken and facts.ip not in group.avoid:
            # Another host may do better for those who have no verdict of their own.
            again = [work for work in settled if work.recipient_id in broken]
            settled = [work for work in settled if work.recipient_id not in broken]
            group.last = exchange.verdicts[again[0].recipient_id]
            retried = replace_works(group, again)
            retried.avoid.add(facts.ip)
            retried.tried.append(_tried(facts, group.last, run.started_at, elapsed))
            site.put_back(retried)
        if exchange.left_over:
            site.put_back(Group(exchange.left_over, group.taken_at))
        if settled:
            self._report(group, settled, run, elapsed)
        if exchange.is_concluded:
            allowed = site.allowed
            site.note_delivery(elapsed)
            if site.allowed > allowed and site:
                self._desk.opened(site)
        if exchange.session.is_ending or exchange.session.wire.lost is not None:
            self._drop_session()

    def _report(self, group: Group, works: Sequence[Work], run: _Run, elapsed: float) -> None:
        gear, exchange = self._gear, run.exchange
        facts = exchange.session.facts
        now = gear.clock()
        done = []
        for work in works:
            ending = ending_of(work, exchange.verdicts[work.recipient_id], now, gear.settings, gear.chance)
            verdict = ending.verdict
            tried = (*group.tried, _tried(facts, verdict, run.started_at, elapsed))
            result = Result(work, verdict.kind, tried, ending.next_attempt_at)
            done.append(Done(result, verdict, facts.host, exchange.passes_dsn_on))
        self._desk.report(done)

    def _finish(self, group: Group, works: Sequence[Work], verdict: Verdict, *, is_told: bool = False) -> None:
        """Report works that got no transaction. `is_told`: the last of `group.tried` says it already."""
        gear = self._gear
        now = gear.clock()
        done = []
        for work in works:
            ending = ending_of(work, verdict, now, gear.settings, gear.chance)
            last = ending.verdict
            if is_told and group.tried:
                ended = replace(
                    group.tried[-1], enhanced=last.enhanced, response=last.text, bounce_class=_class(last)
                )
                tried = (*group.tried[:-1], ended)
            else:
                tried = (*group.tried, _tried(Facts("", ""), last, now, 0.0))
            host = tried[-1].host
            done.append(Done(Result(work, last.kind, tried, ending.next_attempt_at), last, host))
        self._desk.report(done)

    def _crash(self, error: Exception) -> None:
        guilty = self._run.group if self._run is not None else self._group
        self._run = self._group = None
        if self._following is not None:
            self._site.put_back(self._following.group)
            self._following = None
        if self._session is not None:
            self._session.wire.abort("given up")
            self._forget_session()
        if guilty is None:
            raise error
        self._desk.crashed(guilty, error)

    def _abandon(self) -> None:
        """The lane ends; what is still in hand was cancelled on its way."""
        if self._following is not None:
            self._desk.give_back(self._following.group)
            self._following = None
        if self._group is not None:
            self._desk.give_back(self._group)
            self._group = None
        run, self._run = self._run, None
        if run is None:
            return
        run.exchange.abandon()
        settled = [work for work in run.group.works if work.recipient_id in run.exchange.verdicts]
        rest = [work for work in run.group.works if work.recipient_id not in run.exchange.verdicts]
        if settled:
            self._report(run.group, settled, run, self._gear.ticks() - run.began)
        if rest:
            self._desk.give_back(Group(rest, run.group.taken_at))

    def _drop_session(self) -> None:
        if self._session is not None:
            part(self._session)
            self._forget_session()
        if self._following is not None:
            # Begun on a connection that is gone: nothing of its content was sent.
            self._site.put_back(self._following.group)
            self._following = None

    def _forget_session(self) -> None:
        if self._session is not None:
            self._session = None
            self._site.connected -= 1


def replace_works(group: Group, works: list[Work]) -> Group:
    """A group like this one with some of its recipients."""
    return Group(works, group.taken_at, list(group.tried), set(group.avoid), group.last)


def _wants_seven_bit(session: Session) -> bool:
    return "8BITMIME" not in session.extensions


def _class(verdict: Verdict) -> str:
    return str(verdict.bounce_class) if verdict.bounce_class is not None else ""


def _tried(facts: Facts, verdict: Verdict, started_at: datetime, seconds: float) -> Tried:
    return Tried(
        started_at, int(seconds * 1000), facts.host, facts.ip, facts.source_ip, facts.tls, facts.tls_verified,
        verdict.code, verdict.enhanced, verdict.text, _class(verdict),
    )  # fmt: skip
