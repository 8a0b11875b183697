"""`sendry version`."""

from __future__ import annotations

import json
import platform
from argparse import ArgumentParser, Namespace

from sendry import __version__
from sendry.cli.parser import takes_json


def add_arguments(parser: ArgumentParser) -> None:
    takes_json(parser)
    parser.set_defaults(run=_version)


def _version(options: Namespace) -> int:
    if options.json:
        print(json.dumps({"version": __version__, "python": platform.python_version()}))
    else:
        print(f"sendry {__version__}")
    return 0
