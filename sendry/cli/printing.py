"""What commands print: tables and fields for people, JSON for programs.

Promise: whatever strangers wrote into a subject or a reply, no octet of it steers the terminal.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

_GAP = "  "


def print_json(value: object) -> None:
    """One JSON value, indented."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    print("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns under their heads. On a terminal each line is cut to its width, for the last column may be long."""
    lines = [[plain(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        text = _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        print(text if width is None or len(text) <= width else f"{text[: width - 1]}…")


def print_fields(fields: Mapping[str, object]) -> None:
    """One name with its value a line; fields without a value are left out."""
    width = max(map(len, fields))
    for name, value in fields.items():
        if value not in (None, ""):
            print(f"{name:<{width}}{_GAP}{plain(value)}")


def plain(value: object) -> str:
    """A value as one line of text that is safe to print."""
    text = moment(value) if isinstance(value, datetime) else "" if value is None else str(value)
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def moment(at: datetime) -> str:
    """A time as people read it, to the second, in UTC as in the log."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def timestamp(at: datetime | None) -> str | None:
    """A time as JSON has it: RFC 3339 in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None


def counted(number: int, noun: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
