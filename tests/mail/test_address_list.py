from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.mail.address_list import HeaderAddress, parse_address_list


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        ("", []),
        ("a@x.example", [("", "a@x.example")]),
        ("A B <a@x.example>, c@y.example", [("A B", "a@x.example"), ("", "c@y.example")]),
        ('"B, A" <a@x.example>', [("B, A", "a@x.example")]),
        ('"a \\"q\\" b" <a@x.example>', [('a "q" b', "a@x.example")]),
        ("a@x.example (Anna)", [("Anna", "a@x.example")]),
        ("(c (nested) c) Anna <a@x.example>", [("Anna", "a@x.example")]),
        (
            "Team: a@x.example, B <b@y.example>;, c@z.example",
            [("", "a@x.example"), ("B", "b@y.example"), ("", "c@z.example")],
        ),
        ("undisclosed-recipients:;", []),
        ("=?utf-8?b?0Y8s?= <a@x.example>", [("я,", "a@x.example")]),
        ("=?utf-8?q?evil=40x.example=2C?= <a@x.example>", [("evil@x.example,", "a@x.example")]),
        ('"a b"@x.example', [("", '"a b"@x.example')]),
        ("<@r.example:a@x.example>", [("", "a@x.example")]),
        ("<a@x.example> <b@y.example>", [("", "a@x.example"), ("", "b@y.example")]),
        ("a@[IPv6:2001:db8::1], b@x.example", [("", "a@[IPv6:2001:db8::1]"), ("", "b@x.example")]),
        ("just a name", [("just a name", "")]),
        ("<a@x.example", [("", "a@x.example")]),
        ('"open <a@x.example>', [("", '"open <a@x.example>')]),
        ("<>", [("", "")]),
        (",,;", []),
    ],
)
def test_lists_in_all_their_forms(value: str, entries: list[tuple[str, str]]) -> None:
    assert parse_address_list(value) == tuple(HeaderAddress(*entry) for entry in entries)


def test_no_more_entries_than_the_limit_are_read() -> None:
    assert len(parse_address_list("a@x.example," * 50, limit=7)) == 7


def test_an_entry_is_written_as_people_write_it() -> None:
    assert [str(HeaderAddress(*entry)) for entry in (("N", "a@x"), ("", "a@x"), ("N", ""))] == ["N <a@x>", "a@x", "N"]


@given(st.text(alphabet='ab"\\(),:;<>@[] .=?\t', max_size=60))
def test_reading_never_fails(value: str) -> None:
    for entry in parse_address_list(value):
        assert "\n" not in entry.name


@pytest.mark.parametrize("piece", ["(", '"', '<"', "<", "\\", ":", "[", "a,", "((\\"])
def test_hostile_lists_are_read_in_one_go(piece: str) -> None:
    parse_address_list(piece * 60_000)
