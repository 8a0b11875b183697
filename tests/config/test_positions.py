"""The scanner finds the line of whatever tomllib finds."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendry.config.positions import Path, positions


def paths_of(value: Any, path: Path = ()) -> set[Path]:
    found = {path} if path else set()
    if isinstance(value, dict):
        for name, inner in value.items():
            found |= paths_of(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths_of(inner, (*path, index))
    return found


DOCUMENT = '''# comment with [a.table] and key = 1
top = 1

[smtp]  # trailing
listen_addr = ":25"
auth.users = { "a b" = "x", app = """
}] many
lines""", c = 'y' }
allowed_ips = [
  "10.0.0.0/8", # one
  "::1", "1.1.1.1",
]

[domains."example.com"]
mode = "sandbox" \r
redirect_to = ["a#b@example.com"]

[[domains."example.com".dkim]]
selector = "one"

[[ domains . 'example.com' . dkim ]]
selector = "\\"two\\""
[domains."example.com".dkim.extra]
deep = 1979-05-27 07:32:00
[header_rules]
global = [{ action = "remove", headers = ["A",
 "B"] }, { action = "add" }]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("smtp",), 4),
        (("smtp", "listen_addr"), 5),
        (("smtp", "auth"), 6),
        (("smtp", "auth", "users", "a b"), 6),
        (("smtp", "auth", "users", "app"), 6),
        (("smtp", "auth", "users", "c"), 8),
        (("smtp", "allowed_ips"), 9),
        (("smtp", "allowed_ips", 0), 10),
        (("smtp", "allowed_ips", 2), 11),
        (("domains", "example.com"), 14),
        (("domains", "example.com", "redirect_to", 0), 16),
        (("domains", "example.com", "dkim"), 18),
        (("domains", "example.com", "dkim", 0, "selector"), 19),
        (("domains", "example.com", "dkim", 1), 21),
        (("domains", "example.com", "dkim", 1, "selector"), 22),
        (("domains", "example.com", "dkim", 1, "extra", "deep"), 24),
        (("header_rules", "global", 0, "headers", 1), 27),
        (("header_rules", "global", 1), 27),
    ],
)
def test_each_key_has_its_line(path: Path, line: int) -> None:
    assert positions(DOCUMENT)[path] == line


def test_every_path_of_the_document_is_found_and_no_other() -> None:
    assert set(positions(DOCUMENT)) == paths_of(tomllib.loads(DOCUMENT))


def test_a_table_with_its_own_header_stands_there_and_not_at_a_longer_one_before_it() -> None:
    assert positions("[a.b]\nx = 1\n[a]\ny = 1\n")[("a",)] == 3


def test_an_escaped_name_is_found_under_what_it_means() -> None:
    assert positions('\n"\\u0061.b" = 1\n') == {("a.b",): 2}


NAMES = st.one_of(
    st.text("abcz-_09", min_size=1, max_size=4),
    st.text(min_size=0, max_size=5).map(lambda text: _quoted(text)),
    st.text("a.]}#=", max_size=4).map(lambda text: f"'{text}'"),
)
SCALARS = st.one_of(
    st.sampled_from(["1", "true", "1.5e3", "1979-05-27 07:32:00", "''", '""', "inf", "0xff"]),
    st.text(max_size=8).map(lambda text: _quoted(text)),
    st.text("a\n[]{}#=\"',", max_size=8).map(lambda text: _block('"""', text.replace('"""', ""))),
    st.text("a\n[]{}#=\"'\\,", max_size=8).map(lambda text: _block("'''", text.replace("'''", ""))),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ # [\n" + "\n, ".join(items) + "\n]"),
        st.lists(st.tuples(NAMES, inner), max_size=3).map(
            lambda items: "{" + ", ".join(f"{name} = {value}" for name, value in items) + "}"
        ),
    ),
    max_leaves=6,
)
DOTTED = st.lists(NAMES, min_size=1, max_size=3).map(" . ".join)
LINES = st.one_of(
    st.tuples(DOTTED, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]} # = ["),
    DOTTED.map(lambda name: f"[{name}]"),
    DOTTED.map(lambda name: f"  [[ {name} ]]"),
    st.sampled_from(["", "# [x]", "\t"]),
)


def _quoted(text: str) -> str:
    plain = "".join(char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in text)
    return '"' + plain.encode("ascii", "ignore").decode() + '"'


def _block(quotes: str, text: str) -> str:
    return f"{quotes}{text}{quotes}"


@given(st.lists(LINES, max_size=8).map("\n".join))
@example('a = """x"""""')
@example("a = ''''x'''''")
@example("[[a]]\n[[a.b]]\n[[a]]\n[[a.b]]\nc.d = [[1], [2]]")
def test_whatever_tomllib_accepts_is_found_with_a_line_inside_the_document(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError):
        return
    found = positions(text)
    assert set(found) == paths_of(document)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
