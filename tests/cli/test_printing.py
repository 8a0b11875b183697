"""Tables line up, fit the terminal, and hold nothing that would steer it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from sendry.cli.printing import plain, print_fields, print_json, print_table


def test_columns_stand_under_their_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ID", "STATUS"), [("1", "ok"), ("12345", "")])
    assert capsys.readouterr().out == "ID     STATUS\n1      ok\n12345\n"


def test_on_a_terminal_a_line_is_cut_to_its_width() -> None:
    code = "from sendry.cli.printing import print_table; print_table(('A', 'B'), [('x' * 10, 'y' * 100)])"
    master, terminal = pty.openpty()
    environ = {**os.environ, "COLUMNS": "40"}
    subprocess.run([sys.executable, "-c", code], stdout=terminal, env=environ, check=True)
    os.close(terminal)
    lines = os.read(master, 1000).decode().splitlines()
    os.close(master)
    assert lines[1] == "x" * 10 + "  " + "y" * 27 + "…"


def test_fields_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"a": 0, "long": "x", "none": None, "empty": ""})
    assert capsys.readouterr().out == "a      0\nlong   x\n"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x9b31m", "\u202egnp.exe", "\ud800", "\u2028", "Счёт 😀"])
def test_json_reads_back_and_is_safe_to_print(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json({text: [text]})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {text: [text]}
    assert all(char.isprintable() or char == "\n" for char in printed)


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb\tc", "\x9b31m", "\u202egnp.exe", "\ud800"])
def test_plain_text_is_one_safe_line(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)
