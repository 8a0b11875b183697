"""What is wrong with a configuration, in words for the person who wrote it.

Pure. Promises: every fault names the key and says what is allowed; the value of a secret never appears.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sendry.config.positions import Path

if TYPE_CHECKING:
    from sendry.config.tree import Config

MASK = "********"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class OriginKind(StrEnum):
    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    PROFILE = "sandbox profile"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: `name` is the file or the variable, `line` that of the file, from 1."""

    kind: OriginKind
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if self.kind is OriginKind.FILE:
            return self.name if self.line is None else f"{self.name}:{self.line}"
        if self.kind is OriginKind.ENVIRONMENT:
            return f"environment {self.name}"
        return self.kind.value


DEFAULT = Origin(OriginKind.DEFAULT)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong. `key` is dotted, "" where the file as a whole is meant."""

    key: str
    message: str
    origin: Origin = DEFAULT

    @property
    def line(self) -> int | None:
        return self.origin.line

    def __str__(self) -> str:
        place = "" if self.origin.kind in (OriginKind.DEFAULT, OriginKind.PROFILE) else f"{self.origin}: "
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; `faults` holds everything that is wrong with it, in the file's order.

    `config` is what could be read, with defaults in place of what is wrong: to warn of it, not to run it. None
    where nothing could be read.
    """

    def __init__(self, faults: Iterable[Fault], config: Config | None = None) -> None:
        self.config = config
        self.faults: tuple[Fault, ...] = tuple(sorted(faults, key=_order))
        super().__init__("\n".join(str(fault) for fault in self.faults))


def dotted(path: Path) -> str:
    """`domains."example.com".dkim[1].selector`: the path as a key is written in TOML."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False))
    return text


def quoted(value: object) -> str:
    """A value as the user would recognise it, cut to a length."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(word: str, known: Sequence[str], elsewhere: Sequence[str] = ()) -> str:
    """The end of a sentence about an unknown word: the nearest known ones, or all there are.

    `elsewhere` are dotted keys that end in this word, for a key put into the wrong table.
    """
    import difflib

    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere)}?"
    return f"known here: {', '.join(known)}"


def _order(fault: Fault) -> tuple[int, int, str]:
    ranks = {OriginKind.FILE: 0, OriginKind.ENVIRONMENT: 1}
    return (ranks.get(fault.origin.kind, 2), fault.origin.line or 0, fault.key)
