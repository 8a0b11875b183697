from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.excerpts import codes, html_to_text, links, preview

# --- preview ---


def test_a_preview_is_one_line_of_at_most_200_characters() -> None:
    assert preview("Hello,\r\n\r\n  your   order\tis ready") == "Hello, your order is ready"
    long = preview("word " * 100)
    assert len(long) <= 200
    assert long.endswith("word…")


def test_a_preview_comes_from_html_when_there_is_no_text() -> None:
    html = (
        "<html><head><title>T</title><style>p { color: red }</style></head><body><!-- <p>not this</p> -->"
        "<p>Hello &amp; <b>welcome</b></p><script>alert(1)</script><p>again</p></body></html>"
    )
    assert preview(None, html) == "Hello & welcome again"
    assert preview(" \n ", html) == "Hello & welcome again"
    assert preview(None, None) == ""


def test_signs_that_fill_a_preview_are_left_out() -> None:
    assert preview("Sale\u200b\u200c\u034f \u00ad\ufeff now") == "Sale now"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<br>b", "a\nb"),
        ("a < b and c > d", "a < b and c > d"),
        ("<style>x", "x"),
        ("a<!-- b", "a"),
        ("a<b", "a"),
        ("<p title='x'>a</p >b", "\na\nb"),
        ("<STYLE>x</STYLE >y", "y"),
        ("&#0;&#xD800;&nosuch;", "\ufffd\ufffd&nosuch;"),
    ],
)
def test_html_in_odd_forms_gives_its_words(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize("piece", ["<", "<a", "<!--", "<style>", "<head", "</", "<a href=", "&#", "<x>" * 3])
def test_hostile_html_is_read_in_one_go(piece: str) -> None:
    html = piece * (600_000 // len(piece))
    preview(None, html)
    links(None, html)


@given(st.text(alphabet="<>/!-astylehref =\"'&#;x", max_size=80))
def test_excerpts_never_fail(text: str) -> None:
    preview(text, text)
    links(text, text)
    codes(text)


# --- codes ---


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Your verification code is 483920", "483920"),
        ("483920 is your verification code.", "483920"),
        ("Your code:\r\n\r\n   123-456\r\n\r\n10 minutes are left.", "123-456"),
        ("G-483920 is your code", "483920"),
        ("Use OTP 7731 to log in to your account", "7731"),
        ("PIN 4455", "4455"),
        ("One-time password: 1234 5678", "1234 5678"),
        ("Your code: 2024", "2024"),
        ("Your login code is R7K2D", "R7K2D"),
        ("Enter this code: ABCD-1234", "ABCD-1234"),
        ("Ваш код подтверждения: 4821. Никому его не сообщайте", "4821"),
        ("4821 — ваш код для входа", "4821"),
        ("Пароль: 12345678", "12345678"),
        ("ПИН-код 9087", "9087"),
        ("您的验证码: 665544", "665544"),
        ("The code for your card is 771100", "771100"),
    ],
)
def test_a_one_time_code_is_found(text: str, code: str) -> None:
    assert codes(text) == (code,)


@pytest.mark.parametrize(
    "text",
    [
        "Copyright 2026 code of conduct",
        "In 2026 we changed our password policy",
        "Order code 123456",
        "The code for order #123456 is ready",
        "Your promo code SALE2024 gives 1234 USD",
        "Промокод 123456",
        "Код товара 123456",
        "Zip code 94105",
        "Error code 50012 in module",
        "Call +7 495 123-45-67 for a code",
        "Итого 4500 руб. по коду",
        "Code discount: $1234 or 5678 €",
        "Use the code at 12:30 on 22.11.2026",
        "pin card 1234 5678 9012 3456",
        "code https://x.example/code/123456",
        "code a123456b 123456@x.example 1234567890",
        "A number 123456 without a reason",
        "",
    ],
)
def test_other_numbers_are_no_codes(text: str) -> None:
    assert codes(text) == ()


def test_several_codes_come_once_each_and_in_order() -> None:
    assert codes("Code 1111 or code 2222 or code 1111") == ("1111", "2222")


# --- links ---


def test_links_of_html_are_what_a_reader_can_follow() -> None:
    html = (
        "<a href=\"https://a.example/?x=1&amp;y=2\">a</a> <A class='x' HREF='http://b.example'>b</A>"
        '<a href=https://c.example/c>c</a><a href="javascript:alert(1)">no</a><a href="mailto:a@b">no</a>'
        '<a href="https://a.example/?x=1&y=2">again</a><img src="https://img.example/p.gif">'
    )
    assert links(None, html) == ("https://a.example/?x=1&y=2", "http://b.example", "https://c.example/c")


def test_links_of_text_end_before_punctuation() -> None:
    text = "See https://a.example/x, (https://b.example/y) or https://c.example/z(1). HTTPS://D.example/!"
    assert links(text) == (
        "https://a.example/x",
        "https://b.example/y",
        "https://c.example/z(1)",
        "HTTPS://D.example/",
    )
