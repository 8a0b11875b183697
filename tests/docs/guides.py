"""The guides as tests see them: their fenced blocks, commands, tables, links and the settings they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(curl .*?)[ \t]+# (\d{3})$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """One fenced block. `line` is where its text begins."""

    language: str
    text: str
    line: int
    follows: str  # what stands between the block before and this one


@dataclass(frozen=True)
class Command:
    """One curl command with the status the guide says, and the JSON it shows as the answer, if any."""

    text: str
    status: int
    answer: str
    line: int


@lru_cache
def read(path: Path) -> str:
    """The text of a guide."""
    return path.read_text("utf-8")


def documents() -> list[Path]:
    """README.md and every page of docs/, those of other languages too."""
    return [ROOT / "README.md", ROOT / "bench" / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(text: str, language: str = "") -> list[Block]:
    """The fenced blocks in a text, all or those of one language."""
    found: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 2
        found.append(Block(fence[1], fence[2], line, text[end : fence.start()].strip()))
        end = fence.end()
    return [block for block in found if language in ("", block.language)]


def commands(text: str) -> list[Command]:
    """The curl commands in the sh blocks of a text. A JSON block right behind them is the answer to the last one."""
    found: list[Command] = []
    all_blocks = blocks(text)
    for number, block in enumerate(all_blocks):
        if block.language != "sh":
            continue
        here = [
            Command(command[1], int(command[2]), "", block.line + block.text.count("\n", 0, command.start()))
            for command in _COMMAND.finditer(block.text)
        ]
        following = all_blocks[number + 1] if number + 1 < len(all_blocks) else None
        if here and following and following.language == "json" and not following.follows:
            last = here.pop()
            here.append(Command(last.text, last.status, following.text, last.line))
        found += here
    return found


def curl_lines(text: str) -> int:
    """How many curl commands the sh blocks of a text have, with a status or without."""
    return sum(len(re.findall(r"\bcurl ", block.text)) for block in blocks(text, "sh"))


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """What stands in single backticks outside of blocks."""
    return _SPAN.findall(prose(text))


def links(text: str) -> list[str]:
    """The targets of all links and pictures outside of blocks."""
    return _LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """What `#…` may name in a page: its headings as code hosts write them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(text: str, first_column: str) -> Iterator[list[str]]:
    """The rows of the table whose first heading this is, as cells without their backticks."""
    begin = re.search(rf"^\| {re.escape(first_column)} \|.*\n\|[-| ]+\|\n", text, re.MULTILINE)
    assert begin is not None, f"no table with the column {first_column}"
    for line in text[begin.end() :].split("\n"):
        if not line.startswith("|"):
            return
        yield [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
