"""Figures, sizes, times and states as the panel writes them, in the language and time zone of the reader.

Pure but for the request: language and zone come from its cookies, `now` from its start. A time is always an
element whose title says it in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from flask import g, has_request_context, request
from markupsafe import Markup

from sendry.panel.language import current, gettext, later, ngettext

ZONE_COOKIE: Final = "zone"
_NARROW: Final = "\u202f"  # between thousands in Russian, as its typography asks for

_MONTHS: Final = (
    later("%(day)d January"),
    later("%(day)d February"),
    later("%(day)d March"),
    later("%(day)d April"),
    later("%(day)d May"),
    later("%(day)d June"),
    later("%(day)d July"),
    later("%(day)d August"),
    later("%(day)d September"),
    later("%(day)d October"),
    later("%(day)d November"),
    later("%(day)d December"),
)
STATES: Final = {
    "pending": later("Pending"),
    "sending": later("Sending"),
    "delivered": later("Delivered"),
    "deferred": later("Deferred"),
    "failed": later("Failed"),
    "captured": later("Captured"),
    "suppressed": later("Suppressed"),
    "cancelled": later("Cancelled"),
}
MODES: Final = {
    "production": later("Production"),
    "sandbox": later("Sandbox"),
    "redirect": later("Redirect"),
    "bcc": later("Copy (bcc)"),
}


def now() -> datetime:
    """The time this request began."""
    if has_request_context():
        began: datetime | None = getattr(g, "now", None)
        if began is None:
            began = g.now = datetime.now(UTC)
        return began
    return datetime.now(UTC)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return UTC


def zone_name() -> str:
    """The reader's time zone as the browser told it, "UTC" until it has."""
    name = request.cookies.get(ZONE_COOKIE, "") if has_request_context() else ""
    return name if 0 < len(name) <= 64 and not isinstance(_zone(name), type(UTC)) else "UTC"


def local(moment: datetime) -> datetime:
    """The moment in the reader's zone."""
    return moment.astimezone(_zone(zone_name()))


def number(value: int) -> str:
    """1284 → «1,284», in Russian «1 284»."""
    return f"{value:,}".replace(",", _NARROW if current() == "ru" else ",")


def short_number(value: int) -> str:
    """39812 → «39.8k»; below ten thousand the number itself."""
    if value < 10_000:
        return number(value)
    for edge, unit in ((1_000_000_000, gettext("bn")), (1_000_000, gettext("m")), (1_000, gettext("k"))):
        if value >= edge:
            return decimal(value / edge) + unit
    return number(value)


def decimal(value: float) -> str:
    """One digit behind the comma, none when it is nought."""
    text = f"{value:.1f}".removesuffix(".0")
    return text.replace(".", ",") if current() == "ru" else text


def size(octets: int) -> str:
    """84321 → «82 KB»."""
    if octets < 1024:
        return ngettext("%(num)d byte", "%(num)d bytes", octets)
    if octets < 1024 * 1024:
        return gettext("%(n)s KB", n=number(round(octets / 1024)))
    return gettext("%(n)s MB", n=decimal(octets / (1024 * 1024)))


def span(length: timedelta) -> str:
    """A length of time in its two greatest parts: «0.8 s», «4 min», «2 h 10 min», «3 d 4 h»."""
    seconds = max(0.0, length.total_seconds())
    if seconds < 60:
        shown = decimal(seconds) if seconds < 10 else str(round(seconds))
        return gettext("%(n)s s", n=shown)
    minutes = round(seconds / 60)
    if minutes < 60:
        return gettext("%(n)s min", n=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        text = gettext("%(n)s h", n=hours)
        return f"{text} {gettext('%(n)s min', n=minutes)}" if minutes else text
    days, hours = divmod(hours, 24)
    text = gettext("%(n)s d", n=days)
    return f"{text} {gettext('%(n)s h', n=hours)}" if hours else text


def until(moment: datetime) -> str:
    """«in 4 min», or «now» once it is due."""
    left = moment - now()
    return gettext("in %(span)s", span=span(left)) if left >= timedelta(seconds=1) else gettext("now")


def day(moment: datetime) -> str:
    """«18 March» this year, «18 March 2025» otherwise."""
    there = local(moment)
    text = gettext(_MONTHS[there.month - 1], day=there.day)
    return text if there.year == local(now()).year else f"{text} {there.year}"


def _element(moment: datetime, text: str) -> Markup:
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"), utc.strftime("%Y-%m-%d %H:%M:%S UTC"), text
    )


def when(moment: datetime) -> Markup:
    """For lists: «14:32» today, else the day."""
    there = local(moment)
    is_today = there.date() == local(now()).date()
    return _element(moment, there.strftime("%H:%M") if is_today else day(moment))


def exactly(moment: datetime) -> Markup:
    """For one thing: «today, 14:32:11», «18 March, 14:32:11»."""
    there = local(moment)
    is_today = there.date() == local(now()).date()
    date = gettext("today") if is_today else day(moment)
    return _element(moment, f"{date}, {there:%H:%M:%S}")


def clock(moment: datetime, beside: datetime | None = None) -> Markup:
    """For trails: «14:32:11», with the day before it when that is not the day of `beside`."""
    there = local(moment)
    if beside is None or there.date() == local(beside).date():
        return _element(moment, there.strftime("%H:%M:%S"))
    return _element(moment, f"{gettext(_MONTHS[there.month - 1], day=there.day)} {there:%H:%M}")


def state_word(state: str) -> str:
    """The word of a state."""
    return gettext(STATES.get(state, state))


def mode_word(mode: str) -> str:
    """The word of a domain's mode."""
    return gettext(MODES.get(mode, mode))
