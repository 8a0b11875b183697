"""The dashboard: is mail going out? Figures of a period, mail over time, what waits, what failed last.

Everything comes from sums kept in rows and from the newest rows of an index, so the page costs the same however
long the history is. The living part asks for itself every five seconds and is told 204 while nothing changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import request, url_for
from flask.typing import ResponseReturnValue

from sendry.panel import chart, session, words
from sendry.panel.htmx import live
from sendry.panel.language import gettext, later, ngettext
from sendry.panel.pages import counts, panel
from sendry.panel.rows import Line, lines
from sendry.queue.lookup import Lookup
from sendry.queue.states import Status
from sendry.queue.views import MessageFilter

_ROWS: Final = 5
_OLDEST: Final = "0" * 13  # a cursor before every id


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time up to now, in equal buckets."""

    name: str
    short: str
    title: str
    before: str  # what the same stretch before it is called
    bucket: timedelta
    number: int
    marks: int  # how many words stand under the chart


PERIODS: Final = (
    Period("24h", later("24 h"), later("Last 24 hours"), later("the day before"), timedelta(hours=1), 24, 4),
    Period("7d", later("7 days"), later("Last 7 days"), later("the week before"), timedelta(hours=6), 28, 7),
    Period("30d", later("30 days"), later("Last 30 days"), later("the 30 days before"), timedelta(days=1), 30, 5),
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure, what it means, and the list behind it."""

    label: str
    figure: str
    unit: str
    sense: str
    url: str
    state: str = ""
    spark: chart.Spark | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """Mail over time: bars, the words beside and below them, the finding, and the same as a table."""

    title: str
    bars: chart.Bars
    scale: tuple[str, ...]
    marks: tuple[str, ...]
    states: tuple[str, ...]
    finding: str
    table: tuple[tuple[datetime, tuple[int, ...]], ...]


@panel.get("/dashboard")
def dashboard() -> ResponseReturnValue:
    """The page, or its living part."""
    rooms, now = session.rooms(), words.now()
    period = next((p for p in PERIODS if p.name == request.args.get("period")), PERIODS[0])
    is_sandbox = rooms.config.is_sandbox_profile
    starts = _starts(period, now)
    until = now + timedelta(hours=1)
    sums = _buckets(rooms.lookup.tallies(starts[0], until), starts)
    before = rooms.lookup.tallies(starts[0] - period.bucket * period.number, starts[0])
    is_empty = not any(sums) and not before and not counts().total
    tiles = _sandbox_tiles(sums) if is_sandbox else _tiles(period, sums, before)
    return live(
        "dashboard/index.html",
        "dashboard/_live.html",
        period=period,
        periods=PERIODS,
        is_empty=is_empty,
        tiles=tiles,
        chart=_chart(period, starts, sums, is_sandbox),
        waiting=_waiting(rooms.lookup),
        oldest=_oldest(rooms.lookup),
        failures=_newest(rooms.lookup, Status.FAILED),
        smtp=rooms.config.smtp.submission_addr or rooms.config.smtp.listen_addr,
        api=request.host_url.rstrip("/"),
        has_key=not rooms.config.allows_anonymous_api,
    )


def _starts(period: Period, now: datetime) -> list[datetime]:
    """Where the buckets begin, the last one holding `now`; days begin at the reader's midnight."""
    there = words.local(now)
    if period.bucket >= timedelta(days=1):
        last = there.replace(hour=0, minute=0, second=0, microsecond=0)
    else:
        hours = int(period.bucket / timedelta(hours=1))
        last = there.replace(hour=there.hour - there.hour % hours, minute=0, second=0, microsecond=0)
    return [last - period.bucket * back for back in range(period.number - 1, -1, -1)]


def _buckets(tallies: Iterable[tuple[datetime, str, int]], starts: Sequence[datetime]) -> list[dict[str, int]]:
    buckets: list[dict[str, int]] = [defaultdict(int) for _ in starts]
    for hour, kind, value in tallies:
        place = sum(1 for start in starts if start <= hour) - 1
        # A zone half an hour off has its first bucket begin within an hour's sum.
        buckets[max(0, place)][kind] += value
    return buckets


def _series(sums: Sequence[dict[str, int]], kind: str) -> list[int]:
    return [bucket.get(kind, 0) for bucket in sums]


def _compared(period: Period, total: int, before: int) -> str:
    if not before:
        return gettext(period.title)
    change = round((total - before) * 100 / before)
    name = gettext(period.before)
    if change == 0:
        return gettext("as many as %(period)s", period=name)
    if change > 0:
        return gettext("%(n)s%% more than %(period)s", n=words.number(change), period=name)
    return gettext("%(n)s%% fewer than %(period)s", n=words.number(-change), period=name)


def _tiles(period: Period, sums: Sequence[dict[str, int]], before: Iterable[tuple[datetime, str, int]]) -> list[Tile]:
    accepted, delivered, failed = (sum(_series(sums, kind)) for kind in ("accepted", "delivered", "failed"))
    earlier = sum(value for _, kind, value in before if kind == "accepted")
    ended = delivered + failed
    rate = words.decimal(delivered * 100 / ended) if ended else "–"
    deferred = counts().deferred
    share = (
        gettext("%(n)s%% of what ended", n=words.decimal(failed * 100 / ended)) if ended else gettext("none ended")
    )
    since = period.name
    return [
        Tile(
            gettext("Accepted"), words.number(accepted), "", _compared(period, accepted, earlier),
            url_for("panel.messages", since=since), "", chart.spark(_series(sums, "accepted")),
        ),
        Tile(
            gettext("Delivered"), rate, "%" if ended else "",
            ngettext("%(n)s recipient", "%(n)s recipients", delivered, n=words.number(delivered)),
            url_for("panel.messages", since=since, status="delivered"), "delivered",
            chart.spark(_series(sums, "delivered")),
        ),
        Tile(
            gettext("Deferred"), words.number(deferred), "",
            gettext("will be tried again") if deferred else gettext("nothing was put off"),
            url_for("panel.messages", status="deferred"), "deferred", chart.spark(_series(sums, "deferred")),
        ),
        Tile(
            gettext("Failed"), words.number(failed), "", share,
            url_for("panel.messages", since=since, status="failed"), "failed", chart.spark(_series(sums, "failed")),
        ),
    ]  # fmt: skip


def _sandbox_tiles(sums: Sequence[dict[str, int]]) -> list[Tile]:
    kept = counts()
    captured, delivered = sum(_series(sums, "captured")), sum(_series(sums, "delivered"))
    inbox = url_for("panel.inbox")
    return [
        Tile(
            gettext("Captured"), words.number(captured), "", gettext("recipients in this time"),
            inbox, "captured", chart.spark(_series(sums, "captured")),
        ),
        Tile(gettext("In the inbox"), words.number(kept.captured), "", gettext("mails kept"), inbox),
        Tile(gettext("Unread"), words.number(kept.unread), "", gettext("of those nobody has opened"), inbox),
        Tile(
            gettext("Sent out"), words.number(delivered), "",
            gettext("nothing leaves this machine") if not delivered else gettext("recipients outside"),
            url_for("panel.messages"),
        ),
    ]  # fmt: skip


def _chart(period: Period, starts: Sequence[datetime], sums: Sequence[dict[str, int]], is_sandbox: bool) -> Chart:
    states = ("captured",) if is_sandbox else ("failed", "deferred", "delivered")
    if not is_sandbox and any(_series(sums, "captured")):
        states = (*states, "captured")
    bars = chart.stacked(sums, states)
    totals = [sum(bucket.get(state, 0) for state in states) for bucket in sums]
    highest = max(totals)
    is_daily = period.bucket >= timedelta(days=1)
    title = gettext("Mail per day") if is_daily else gettext("Mail per hour")
    if period.bucket == timedelta(hours=6):
        title = gettext("Mail per 6 hours")
    finding = gettext("%(title)s: nothing in this time", title=title)
    if highest:
        finding = gettext(
            "%(title)s: %(total)s in all, most (%(highest)s) from %(when)s",
            title=title,
            total=words.number(sum(totals)),
            highest=words.number(highest),
            when=_mark(period, starts[totals.index(highest)]),
        )
    step = period.number // period.marks
    return Chart(
        title=title,
        bars=bars,
        scale=tuple(words.short_number(value) for value in bars.scale),
        marks=(*(_mark(period, starts[place * step]) for place in range(period.marks)), gettext("now")),
        states=tuple(reversed(states)),
        finding=finding,
        table=tuple(
            (start, tuple(bucket.get(state, 0) for state in reversed(states)))
            for start, bucket in zip(reversed(starts), reversed(sums), strict=True)
        ),
    )


def _mark(period: Period, start: datetime) -> str:
    return start.strftime("%H:%M") if period.name == "24h" else words.day(start)


def _newest(lookup: Lookup, status: Status) -> list[Line]:
    return lines(lookup.messages(MessageFilter(status=status), limit=_ROWS).items)


def _waiting(lookup: Lookup) -> list[Line]:
    """What was put off, the newest first; failing that what has not been tried yet."""
    return _newest(lookup, Status.DEFERRED) or _newest(lookup, Status.PENDING)


def _oldest(lookup: Lookup) -> datetime | None:
    """When the longest waiting message was accepted: the first of an index, not a walk over the line."""
    found = [
        lookup.messages(MessageFilter(status=status), _OLDEST, 1, newer=True).items
        for status in (Status.DEFERRED, Status.PENDING)
    ]
    return min((rows[0].created_at for rows in found if rows), default=None)
