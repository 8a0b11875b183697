"""Durations, addresses and names as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.config.values import (
    HostPort,
    format_duration,
    parse_domain,
    parse_duration,
    parse_host_port,
    parse_mailbox,
    parse_nameserver,
    parse_network,
    parse_remote,
    parse_selector,
    parse_web_url,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("7d", 604800),
        ("2w", 1209600),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("168h", 604800),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "5 m", "5M", "1.5h", "5m!", "x5m", "99999999w", "999999999999w", "٣s"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.integers(0, 10**11))
def test_a_formatted_duration_reads_back_as_the_same(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(value)) == value


def test_a_duration_is_written_in_its_largest_unit() -> None:
    assert [format_duration(parse_duration(text)) for text in ("90s", "3600s", "0", "168h")] == [
        "90s",
        "1h",
        "0",
        "7d",
    ]


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        (":25", "", 25, False),
        ("127.0.0.1:1025", "127.0.0.1", 1025, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("[::1]:25", "::1", 25, True),
        ("[2001:DB8::1]:25", "2001:db8::1", 25, False),
        ("LocalHost:80", "localhost", 80, True),
        ("mail_relay:587", "mail_relay", 587, False),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int, is_loopback: bool) -> None:
    found = parse_host_port(text)
    assert found == HostPort(host, port)
    assert found.is_loopback is is_loopback
    assert parse_host_port(str(found)) == found


@pytest.mark.parametrize(
    "text", ["25", "", ":", "a:", ":65536", ":-1", "::1:25", "[::1]", "[x]:25", "a b:25", "1.2.3.400:25", ":２５"]
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        parse_host_port(text)


@pytest.mark.parametrize("text", [":25", "smtp.example.com:0", "smtp.example.com"])
def test_a_host_that_is_dialed_needs_name_and_port(text: str) -> None:
    with pytest.raises(ValueError):
        parse_remote(text)


def test_a_nameserver_listens_on_port_53_unless_said_otherwise() -> None:
    assert parse_nameserver("192.0.2.1") == HostPort("192.0.2.1", 53)
    assert parse_nameserver("192.0.2.1:5353") == HostPort("192.0.2.1", 5353)
    assert parse_nameserver("::1") == HostPort("::1", 53)
    assert parse_nameserver("[::1]:5353") == HostPort("::1", 5353)
    with pytest.raises(ValueError):
        parse_nameserver("ns.example.com:53")


def test_a_network_with_bits_beyond_its_mask_gets_the_network_named() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8"):
        parse_network("10.0.0.1/8")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("straße.de", "xn--strae-oqa.de"),
        ("Пример.РФ", "xn--e1afmkfd.xn--p1ai"),
        ("a-b.example", "a-b.example"),
    ],
)
def test_a_domain_name_is_kept_as_on_the_wire(text: str, name: str) -> None:
    assert parse_domain(text) == name
    assert parse_domain(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a b",
        "192.0.2.1",
        "*.example.com",
        "exa\nmple.com",
        "a" * 64 + ".example",
        "a." * 127 + "example",
        "пример..рф",
        "a@b",
        "[192.0.2.1]",
        "\u2028.example",
    ],
)
def test_anything_else_is_no_domain_name(text: str) -> None:
    with pytest.raises(ValueError):
        parse_domain(text)


@given(st.text(max_size=20))
def test_no_text_gets_into_a_domain_name_but_letters_digits_hyphens_and_dots(text: str) -> None:
    try:
        name = parse_domain(text)
    except ValueError:
        return
    assert name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


def test_a_mailbox_keeps_its_local_part_and_lowers_its_domain() -> None:
    assert parse_mailbox("First.Last+tag@Example.COM") == "First.Last+tag@example.com"
    assert parse_mailbox("иван@пример.рф") == "иван@xn--e1afmkfd.xn--p1ai"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "@example.com",
        "a@",
        "a b@example.com",
        "A <a@example.com>",
        '"a"@example.com',
        "a..b@example.com",
        ".a@example.com",
        "a.@example.com",
        "a@example.com, b@example.com",
        "a\r\nb@example.com",
        "x" * 65 + "@a.example",
        "a\x00@example.com",
        "a@b@example.com",
    ],
)
def test_anything_else_is_no_mailbox(text: str) -> None:
    with pytest.raises(ValueError):
        parse_mailbox(text)


def test_a_selector_may_be_digits_or_have_labels() -> None:
    assert [parse_selector(text) for text in ("2026", "S1.Mail", "a_b")] == ["2026", "s1.mail", "a_b"]
    for text in ("", "a b", ".a", "a..b", "a;", "_a"):
        with pytest.raises(ValueError):
            parse_selector(text)


def test_a_url_loses_its_final_slash() -> None:
    assert parse_web_url("https://mail.example.com/") == "https://mail.example.com"
    assert parse_web_url("http://[::1]:8080/sendry") == "http://[::1]:8080/sendry"


@pytest.mark.parametrize(
    "text",
    [
        "mail.example.com",
        "ftp://a.example",
        "https://",
        "https://a.example?x=1",
        "https://u@a.example",
        "https://a:x",
        "https://[a",
        "https://a b",
        "javascript:alert(1)",
    ],
)
def test_anything_else_is_no_url(text: str) -> None:
    with pytest.raises(ValueError):
        parse_web_url(text)
