"""The configuration as commands want it: loaded, or its faults printed."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterable

from sendry.config import Config, ConfigError, ConfigWarning, Fault, find_config_path, load


def load_config(options: Namespace) -> Config:
    """The configuration a command was called for. Raises ConfigError."""
    return load(find_config_path(options.config, os.environ), os.environ)


def load_or_explain(options: Namespace) -> Config | None:
    """As load_config(); None after the faults were printed, and the command ends with exit code 1."""
    try:
        return load_config(options)
    except ConfigError as error:
        print_faults(error.faults)
        return None


def print_faults(faults: Iterable[Fault]) -> None:
    for fault in faults:
        print(fault, file=sys.stderr)


def print_warnings(warnings: Iterable[ConfigWarning]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
