"""Lists of messages: all of them, the queue, the dead letters. Every filter is in the address; pages by cursor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask import request, url_for
from flask.typing import ResponseReturnValue

from sendry.panel import session, words
from sendry.panel.htmx import live
from sendry.panel.language import gettext, later, ngettext
from sendry.panel.pages import counts, panel
from sendry.panel.rows import Line, lines
from sendry.queue.states import Status
from sendry.queue.views import Counts, MessageFilter, Page

PAGE: Final = 50
PERIODS: Final = {
    "1h": (timedelta(hours=1), later("Last hour")),
    "24h": (timedelta(hours=24), later("Last 24 hours")),
    "7d": (timedelta(days=7), later("Last 7 days")),
    "30d": (timedelta(days=30), later("Last 30 days")),
}
_STATES: Final = ("pending", "sending", "delivered", "deferred", "failed", "cancelled")
_KEYS: Final = ("q", "status", "domain", "since", "tag")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for; what it says wrongly is left out."""

    q: str = ""
    status: str = ""
    domain: str = ""
    since: str = ""
    tag: str = ""
    before: str = ""
    after: str = ""

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Asked:
        """From the query of a request."""
        status, since = args.get("status", ""), args.get("since", "")
        return cls(
            q=args.get("q", "").strip()[:200],
            status=status if status in _STATES else "",
            domain=args.get("domain", "").strip()[:255],
            since=since if since in PERIODS else "",
            tag=args.get("tag", "").strip()[:100],
            before=args.get("before", ""),
            after=args.get("after", ""),
        )

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the place in the list is asked for."""
        return bool(self.q or self.status or self.domain or self.since or self.tag)

    @property
    def is_first_page(self) -> bool:
        """Whether this is the newest page."""
        return not (self.before or self.after)

    def wanted(self, now: datetime, *, is_waiting: bool, is_dead: bool) -> MessageFilter:
        """For the room that looks it up."""
        return MessageFilter(
            status=Status(self.status) if self.status else None,
            text=self.q,
            tag=self.tag,
            domain=self.domain,
            since=now - PERIODS[self.since][0] if self.since else None,
            is_waiting=is_waiting,
            is_dead=is_dead,
        )

    def values(self, **changed: str) -> dict[str, Any]:
        """For `url_for`: the filters, some of them changed, the place in the list forgotten."""
        kept = {key: getattr(self, key) for key in _KEYS}
        return {key: value for key, value in {**kept, **changed}.items() if value}


@dataclass(frozen=True, slots=True)
class Choice:
    """One state among the filters, with how many recipients are in it."""

    state: str
    url: str
    is_current: bool
    number: int | None


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter that has no control of its own."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list."""

    lines: list[Line]
    newer_url: str
    older_url: str
    range: str


@panel.get("/messages")
def messages() -> ResponseReturnValue:
    """Everything that was accepted."""
    return _list("messages", "panel.messages")


@panel.get("/queue")
def queue() -> ResponseReturnValue:
    """What is not finished: pending, sending, deferred."""
    return _list("queue", "panel.queue", is_waiting=True)


@panel.get("/dead-letters")
def dead_letters() -> ResponseReturnValue:
    """What was given up."""
    return _list("dead", "panel.dead_letters", is_dead=True)


def _list(kind: str, endpoint: str, *, is_waiting: bool = False, is_dead: bool = False) -> ResponseReturnValue:
    rooms, asked = session.rooms(), Asked.read(request.args)
    wanted = asked.wanted(words.now(), is_waiting=is_waiting, is_dead=is_dead)
    page = rooms.lookup.messages(wanted, asked.after or asked.before, PAGE, newer=bool(asked.after))
    own = [domain.name for domain in rooms.directory.own()]
    smtp = rooms.config.smtp.submission_addr or rooms.config.smtp.listen_addr
    return live(
        "messages/index.html",
        "messages/_list.html",
        kind=kind,
        endpoint=endpoint,
        asked=asked,
        here=url_for(endpoint, **asked.values(), before=asked.before or None),
        listing=_listing(endpoint, asked, page),
        choices=_choices(endpoint, asked) if kind == "messages" else [],
        chips=_chips(endpoint, asked),
        domains=own,
        periods=PERIODS,
        sub=_sub(kind, counts(), is_sandbox=rooms.config.is_sandbox_profile),
        is_live=asked.is_first_page and not asked.q,  # a search reads many rows: once is enough
        smtp=smtp,
        api=request.host_url.rstrip("/"),
        has_key=not rooms.config.allows_anonymous_api,
    )


def _listing(endpoint: str, asked: Asked, page: Page) -> Listing:
    shown = lines(page.items)
    older = url_for(endpoint, **asked.values(), before=page.next_cursor) if page.next_cursor else ""
    newer = url_for(endpoint, **asked.values(), after=page.previous_cursor) if page.previous_cursor else ""
    if page.total is None:
        total = gettext("%(n)s of more than 10,000", n=words.number(len(shown)))
    else:
        total = gettext("%(n)s of %(total)s", n=words.number(len(shown)), total=words.number(page.total))
    return Listing(shown, newer, older, total)


def _choices(endpoint: str, asked: Asked) -> list[Choice]:
    sums = counts()
    numbers = {"pending": sums.pending, "sending": sums.sending, "deferred": sums.deferred, "failed": sums.failed}
    return [
        Choice(
            state=state,
            url=url_for(endpoint, **asked.values(status=state)),
            is_current=asked.status == state,
            number=numbers.get(state) or None,
        )
        for state in _STATES
    ]


def _chips(endpoint: str, asked: Asked) -> list[Chip]:
    if not asked.tag:
        return []
    return [Chip(gettext("Tag: %(name)s", name=asked.tag), url_for(endpoint, **asked.values(tag="")))]


def _sub(kind: str, sums: Counts, *, is_sandbox: bool) -> str:
    if kind == "queue":
        return gettext(
            "%(waiting)s recipients wait: %(pending)s pending, %(sending)s sending, %(deferred)s deferred",
            waiting=words.number(sums.waiting),
            pending=words.number(sums.pending),
            sending=words.number(sums.sending),
            deferred=words.number(sums.deferred),
        )
    if kind == "dead":
        return gettext("%(n)s messages were given up and are kept here", n=words.number(sums.dead))
    if is_sandbox:
        return ngettext(
            "%(n)s recipient so far, kept here",
            "%(n)s recipients so far, all kept here",
            sums.total,
            n=words.number(sums.total),
        )
    return gettext(
        "%(n)s recipients so far, %(delivered)s delivered",
        n=words.number(sums.total),
        delivered=words.number(sums.delivered),
    )
