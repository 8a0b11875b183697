"""The blueprint of the panel and what every page of it shows: navigation, the queue's figure, who is here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from flask import Blueprint, Flask, current_app, g, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from sendry import __version__
from sendry.config.values import DomainMode
from sendry.panel import language, session, words
from sendry.panel.language import gettext, ngettext
from sendry.queue.views import Counts

THEME_COOKIE: Final = "theme"
THEMES: Final = ("light", "dark")

V = TypeVar("V", bound=Callable[..., ResponseReturnValue])

panel = Blueprint("panel", __name__)
_FREE: set[str] = set()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the side bar. `key` is the letter that follows G on the keyboard."""

    endpoint: str
    url: str
    text: str
    icon: str
    count: int = 0
    key: str = ""


@dataclass(frozen=True, slots=True)
class Badge:
    """The queue's figure in the top bar."""

    waiting: int
    is_slow: bool
    title: str


@panel.before_request
def _before() -> ResponseReturnValue | None:
    return None if request.endpoint in _FREE else session.check()


@panel.context_processor
def _shell() -> dict[str, Any]:
    if request.endpoint in _FREE:
        return {}
    return {
        "navigation": navigation(),
        "badge": badge(),
        "person": session.person(),
        "may_act": session.may_act(),
    }


def free(view: V) -> V:
    """Mark a view as open to strangers."""
    _FREE.add(f"panel.{view.__name__}")
    return view


def counts() -> Counts:
    """The sums of this request, read once."""
    found: Counts | None = getattr(g, "counts", None)
    if found is None:
        found = g.counts = session.rooms().lookup.counts()
    return found


def has_inbox() -> bool:
    """Whether mail is captured here: the inbox is in the side bar then."""
    rooms = session.rooms()
    captures = (DomainMode.SANDBOX, DomainMode.REDIRECT)
    if rooms.config.is_sandbox_profile or counts().captured:
        return True
    return any(domain.mode in captures for domain in rooms.directory.own())


def navigation() -> list[tuple[str, list[Entry]]]:
    """The side bar, group by group; only what is there and what this person may open."""
    sums = counts()
    top = [Entry("panel.dashboard", url_for("panel.dashboard"), gettext("Dashboard"), "layout-dashboard", key="D")]
    if has_inbox():
        inbox = gettext("Sandbox inbox")
        top.append(Entry("panel.inbox", url_for("panel.inbox"), inbox, "inbox", sums.unread, "I"))
    mail = [
        Entry("panel.messages", url_for("panel.messages"), gettext("Messages"), "send", key="M"),
        Entry("panel.queue", url_for("panel.queue"), gettext("Queue"), "list-ordered", sums.waiting, "Q"),
        Entry("panel.dead_letters", url_for("panel.dead_letters"), gettext("Dead letters"), "archive-x", sums.dead),
    ]
    return [("", top), (gettext("Mail"), mail)]


def badge() -> Badge:
    """What the top bar says of the queue."""
    sums = counts()
    if not sums.waiting:
        return Badge(0, False, gettext("Nothing waits"))
    title = ngettext("%(num)d recipient waits", "%(num)d recipients wait", sums.waiting)
    if sums.deferred:
        title += ", " + gettext("%(n)s deferred", n=words.number(sums.deferred))
    return Badge(sums.waiting, sums.deferred > 0, title)


def theme() -> str:
    """What the reader chose, or "" for whatever the system says."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else ""


def asset(name: str) -> str:
    """The address of a static file; it changes with the file, so browsers may keep it for good."""
    versions: dict[str, str] = current_app.extensions.setdefault("asset_versions", {})
    version = versions.get(name)
    if version is None or current_app.debug:
        stat = (Path(current_app.static_folder or "") / name).stat()
        version = versions[name] = f"{stat.st_mtime_ns // 1_000_000:x}"
    return url_for("static", filename=name, v=version)


def icon(name: str, more: str = "") -> Markup:
    """A line icon of the sprite, hidden from screen readers: the word beside it speaks."""
    classes = f"i {more}" if more else "i"
    return Markup('<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>').format(
        classes, asset("img/icons.svg"), name
    )


def glyph(state: str) -> Markup:
    """The shape of a state."""
    return Markup('<svg class="{}" aria-hidden="true"><use href="{}#st-{}"/></svg>').format(
        state, asset("img/icons.svg"), state
    )


def init_app(app: Flask) -> None:
    """Give every template the words and parts it needs."""
    config = app.extensions["sendry"].config
    app.jinja_env.globals.update(
        asset=asset,
        icon=icon,
        glyph=glyph,
        theme=theme,
        language=language.current,
        languages=language.LANGUAGES,
        zone=words.zone_name,
        version=__version__,
        hostname=config.server.hostname,
        is_sandbox=config.is_sandbox_profile,
        state_word=words.state_word,
        mode_word=words.mode_word,
    )
    app.jinja_env.filters.update(
        number=words.number,
        short=words.short_number,
        size=words.size,
        span=words.span,
        when=words.when,
        exactly=words.exactly,
        until=words.until,
        clock=words.clock,
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
