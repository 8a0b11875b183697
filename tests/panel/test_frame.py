from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendry.panel import frame

PNG = b"\x89PNG\r\n\x1a\n"
_PIECES = ("<img", " src=", "url(", "cid:", "<style>", "</style>", "media=", "https://", *"<>\"'=/: ;()@{}\\&#\n")
HOSTILE = st.lists(st.sampled_from(_PIECES), max_size=60).map("".join)


def policy(**choices: bool) -> str:
    answer = frame.page("<p>Hello</p>", {}, **{"is_dark": False, "is_remote": False, **choices})
    return answer.headers["Content-Security-Policy"]


def test_the_frame_may_run_nothing_and_load_nothing() -> None:
    found = policy()
    assert found.startswith("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:;")
    for word in (
        "allow-scripts",
        "allow-same-origin",
        "allow-forms",
        "allow-top-navigation",
        "http:",
        "https:",
        "'self'; ",
    ):
        assert word not in found
    assert "form-action 'none'; base-uri 'none'; frame-ancestors 'self'" in found


def test_remote_content_is_loaded_when_asked_for_and_still_runs_nothing() -> None:
    found = policy(is_remote=True)
    assert "img-src data: http: https:" in found
    assert "script" not in found
    assert "connect-src" not in found


def test_the_frame_says_nothing_about_where_it_is() -> None:
    headers = frame.page("", {}, is_dark=False, is_remote=False).headers
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"


def body(html: str, inline: Mapping[str, tuple[str, bytes]] | None = None, *, is_dark: bool = False) -> str:
    return frame.page(html, inline or {}, is_dark=is_dark, is_remote=False).get_data(as_text=True)


def test_our_base_comes_before_that_of_the_mail() -> None:
    page = body('<base href="https://evil.example/" target="_top"><a href="x">x</a>')
    assert page.index('<base target="_blank">') < page.index("evil.example")


def test_pictures_that_the_mail_carries_are_shown() -> None:
    page = body('<img src="cid:logo.a%40b"><td background=cid:logo.a@b>', {"logo.a@b": ("image/png", PNG)})
    data = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert f'<img src="{data}">' in page
    assert f"background={data}>" in page


@pytest.mark.parametrize("kind", ["text/html", "image/png;charset=x", 'image/png"onload="x', "image/", "IMAGE"])
def test_what_is_no_picture_is_not_put_in(kind: str) -> None:
    assert 'src="cid:logo"' in body('<img src="cid:logo">', {"logo": (kind, PNG)})


def test_pictures_have_a_budget() -> None:
    large = ("image/png", b"0" * (17 * 1024 * 1024))
    assert 'src="cid:large"' in body('<img src="cid:large">', {"large": large})


@pytest.mark.parametrize(
    ("html", "number"),
    [
        ('<img src="https://a.example/1.gif">', 1),
        ("<IMG SRC=http://a.example/1.gif>", 1),
        ("<img alt='x' src='//a.example/1.gif'>", 1),
        ('<img srcset="https://a.example/1.gif 2x" src="https://a.example/1.gif">', 1),
        ('<td background="https://a.example/1.gif"><body background=http://a.example/2.gif>', 2),
        ("<p style=\"background: url( 'https://a.example/1.gif' )\">", 1),
        ('<link rel="stylesheet" href="https://a.example/a.css"><style>@import "x"</style>', 2),
        ('<img src="cid:logo"><img src="data:image/png;base64,AAAA"><a href="https://a.example/">x</a>', 0),
        ("Look: <code>src=https://a.example</code>", 0),
    ],
)
def test_what_a_mail_would_load_from_elsewhere_is_counted(html: str, number: int) -> None:
    assert frame.remote_images(html) == number


DARK = (
    "<style>p{color:red}@media (prefers-color-scheme: dark){p{color:white}}"
    "@media screen and (prefers-color-scheme:LIGHT){b{}}</style>"
)


def test_the_question_for_the_colour_scheme_is_answered_in_the_mail() -> None:
    assert "@media (max-width: 0){p" in body(DARK)
    assert "screen and (min-width: 0){b" in body(DARK)
    assert "@media (min-width: 0){p" in body(DARK, is_dark=True)
    assert "screen and (max-width: 0){b" in body(DARK, is_dark=True)
    source = '<source media="(prefers-color-scheme: dark)" srcset="cid:x">'
    assert 'media="(min-width: 0)"' in body(source, is_dark=True)


def test_text_about_the_colour_scheme_is_left_alone() -> None:
    text = "<p>Write (prefers-color-scheme: dark) in CSS</p>"
    assert text in body(text, is_dark=True)


@pytest.mark.parametrize(
    ("html", "brings_dark"),
    [
        (DARK, True),
        ('<meta name="color-scheme" content="light dark">', True),
        ('<meta name="supported-color-schemes" content="light dark">', True),
        ("<style>:root{color-scheme: light dark}</style>", True),
        ("<style>p{color:light-dark(red, blue)}</style>", True),
        ("<p>dark</p>", False),
        ('<meta name="color-scheme" content="light">', False),
    ],
)
def test_a_mail_turns_dark_only_if_it_brings_the_colours(html: str, brings_dark: bool) -> None:
    assert frame.has_dark(html) is brings_dark
    assert ("color-scheme:dark !important" in body(html, is_dark=True)) is brings_dark
    assert "color-scheme:light !important" in body(html)


@settings(max_examples=200)
@given(HOSTILE, st.booleans())
def test_whatever_stands_in_a_mail_our_head_stays_first(html: str, is_dark: bool) -> None:
    page = body(html, is_dark=is_dark)
    assert page.startswith('<!doctype html><meta charset="utf-8"><base target="_blank">')
    assert frame.remote_images(html) >= 0


@pytest.mark.parametrize(
    ("content_type", "filename", "shown_type", "plain", "full"),
    [
        ("application/pdf", "invoice.pdf", "application/pdf", "invoice.pdf", "invoice.pdf"),
        ("text/html", "page.html", "text/html", "page.html", "page.html"),
        ("x\r\nSet-Cookie: a=b", "a\r\nb", "application/octet-stream", "a__b", "a%0D%0Ab"),
        ("text/plain", '"; x="', "text/plain", "__ x=_", "%22%3B%20x%3D%22"),
        ("image/svg+xml", "", "image/svg+xml", "part", "part"),
        ("text/plain", "счёт.txt", "text/plain", "____.txt", "%D1%81%D1%87%D1%91%D1%82.txt"),
    ],
)
def test_a_part_is_always_a_download(
    content_type: str, filename: str, shown_type: str, plain: str, full: str
) -> None:
    answer = frame.part(b"octets", content_type, filename)
    assert answer.headers["Content-Type"] == shown_type
    assert answer.headers["Content-Disposition"] == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{full}"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.get_data() == b"octets"


def test_plain_text_is_escaped_and_its_addresses_are_links() -> None:
    shown = str(frame.text_page('See <b>https://a.example/x?a=1&b="2". Bye'))
    assert shown.startswith('See &lt;b&gt;<a href="https://a.example/x?a=1&amp;b="')
    assert 'rel="noopener noreferrer">' in shown
    assert shown.endswith("Bye")


@given(HOSTILE)
def test_plain_text_never_becomes_markup(text: str) -> None:
    shown = str(frame.text_page(text))
    assert "<" not in shown.replace('<a href="', "").replace("</a>", "")
