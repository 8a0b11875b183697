"""How every command takes its arguments: no abbreviations, usage errors with exit code 2, `-c` before or after."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that wants options in full: what is added later must not change what was typed before."""

    def __init__(self, *arguments: object, **settings: object) -> None:
        settings.setdefault("allow_abbrev", False)
        super().__init__(*arguments, **settings)  # type: ignore[arg-type]  # passed on untouched


def takes_config(parser: argparse.ArgumentParser) -> None:
    """Let a command take `-c FILE`; main() has put what stood before the command into `config` already."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="configuration file (else $SENDRY_CONFIG, else ./config.toml, else the sandbox profile)",
    )


def takes_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def checked(parse: Callable[[str], str]) -> Callable[[str], str]:
    """A type of argument that says why it does not take what was typed."""

    def read(text: str) -> str:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

    return read
