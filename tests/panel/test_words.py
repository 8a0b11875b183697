from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask, g

from sendry.panel import words

NOW = datetime(2026, 3, 18, 14, 32, 11, tzinfo=UTC)


@pytest.fixture
def app() -> Flask:
    return Flask("words")


@contextmanager
def reader(app: Flask, language: str = "en", zone: str = "") -> Iterator[None]:
    """A request of somebody who reads that language in that zone."""
    with app.test_request_context(headers={"Cookie": f"lang={language}; zone={zone}"}):
        g.now = NOW
        yield


@pytest.mark.parametrize(
    ("language", "value", "written"),
    [("en", 41320, "41,320"), ("ru", 41320, "41\u202f320"), ("en", 7, "7"), ("ru", 1284, "1\u202f284")],
)
def test_thousands_are_parted_as_the_reader_is_used_to(app: Flask, language: str, value: int, written: str) -> None:
    with reader(app, language):
        assert words.number(value) == written


@pytest.mark.parametrize(
    ("language", "value", "written"),
    [
        ("en", 9999, "9,999"),
        ("en", 39_812, "39.8k"),
        ("ru", 39_812, "39,8к"),
        ("en", 12_000, "12k"),
        ("en", 2_500_000, "2.5m"),
    ],
)
def test_large_figures_are_short_where_room_is_scarce(app: Flask, language: str, value: int, written: str) -> None:
    with reader(app, language):
        assert words.short_number(value) == written


@pytest.mark.parametrize(
    ("octets", "english", "russian"),
    [(1, "1 byte", "1 байт"), (3, "3 bytes", "3 байта"), (86_016, "84 KB", "84 КБ"), (2_621_440, "2.5 MB", "2,5 МБ")],
)
def test_sizes(app: Flask, octets: int, english: str, russian: str) -> None:
    with reader(app):
        assert words.size(octets) == english
    with reader(app, "ru"):
        assert words.size(octets) == russian


@pytest.mark.parametrize(
    ("length", "written"),
    [
        (timedelta(milliseconds=840), "0.8 s"),
        (timedelta(seconds=30), "30 s"),
        (timedelta(minutes=4), "4 min"),
        (timedelta(hours=2, minutes=10), "2 h 10 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
        (timedelta(seconds=-5), "0 s"),
    ],
)
def test_a_length_of_time_is_told_in_its_two_greatest_parts(app: Flask, length: timedelta, written: str) -> None:
    with reader(app):
        assert words.span(length) == written


def test_what_is_due_is_now(app: Flask) -> None:
    with reader(app):
        assert words.until(NOW + timedelta(minutes=4)) == "in 4 min"
        assert words.until(NOW - timedelta(minutes=4)) == "now"


@pytest.mark.parametrize(
    ("zone", "moment", "shown"),
    [
        ("", NOW, ">14:32<"),
        ("Asia/Yekaterinburg", NOW, ">19:32<"),
        ("America/New_York", NOW - timedelta(hours=12), ">17 March<"),
        ("", NOW - timedelta(days=2), ">16 March<"),
        ("", NOW - timedelta(days=365), ">18 March 2025<"),
    ],
)
def test_a_time_is_the_readers_and_its_title_is_utc(app: Flask, zone: str, moment: datetime, shown: str) -> None:
    with reader(app, zone=zone):
        element = str(words.when(moment))
        assert shown in element
        assert f'title="{moment:%Y-%m-%d %H:%M:%S} UTC"' in element
        assert f'datetime="{moment:%Y-%m-%dT%H:%M:%S}Z"' in element


@pytest.mark.parametrize("zone", ["Nowhere/City", "../../etc/passwd", "/etc/passwd", "x" * 500, "Europe"])
def test_a_zone_that_is_none_is_utc(app: Flask, zone: str) -> None:
    with reader(app, zone=zone):
        assert words.zone_name() == "UTC"
        assert ">14:32<" in str(words.when(NOW))


def test_the_exact_time_of_one_thing(app: Flask) -> None:
    with reader(app):
        assert ">today, 14:32:11<" in str(words.exactly(NOW))
    with reader(app, "ru"):
        assert ">сегодня, 14:32:11<" in str(words.exactly(NOW))
        assert ">17 марта, 14:32:11<" in str(words.exactly(NOW - timedelta(days=1)))


def test_a_trail_names_the_day_where_it_changes(app: Flask) -> None:
    with reader(app):
        assert ">14:32:11<" in str(words.clock(NOW, NOW))
        assert ">19 March 14:32<" in str(words.clock(NOW + timedelta(days=1), NOW))
