"""The command line: arguments in, exit code out.

Each group of commands is a module with `add_arguments(parser)`, imported only when it is called: `sendry version`
must not pay for Flask. Exit codes: 0 done, 1 could not be done, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sendry.cli.failure import Failed

DEFAULT_COMMAND = "serve"


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the module that does it, and what the overview says of it."""

    module: str
    help: str


COMMANDS = {
    "serve": Command("serve", "run Sendry; the same as no command"),
    "init": Command("init", "write a configuration with keys and passwords of its own"),
    "config": Command("config", "validate or show the configuration"),
    "migrate": Command("migrate", "bring the database up to date, or show whether it is"),
    "user": Command("user", "create, list and delete those who sign in to the panel"),
    "hash-password": Command("hash_password", "hash a password for smtp.auth.users"),
    "queue": Command("queue", "see, retry and delete mail in the queue"),
    "dlq": Command("dlq", "see, retry and delete mail that failed for good"),
    "dkim": Command("dkim", "make DKIM keys and show the records to publish"),
    "test": Command("trial", "send a test mail, or try an SMTP server"),
    "backup": Command("backup", "copy the data while Sendry runs"),
    "version": Command("version", "print the version"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except SystemExit as stop:  # argparse ends so, after it has printed help or error
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`sendry config show | head`); nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(arguments: list[str]) -> int:
    config: Path | None = None
    while arguments and arguments[0].startswith("-"):
        option = arguments.pop(0)
        if option in ("-h", "--help"):
            print(_overview())
            return 0
        if option in ("-V", "--version"):
            arguments.insert(0, "version")
            break
        if option in ("-c", "--config") and arguments:
            config = Path(arguments.pop(0))
        elif option.startswith("--config="):
            config = Path(option.removeprefix("--config="))
        elif option in ("-c", "--config"):
            return _misused(f"{option} needs a file")
        else:
            return _misused(f"unknown option {option}; options of a command stand after it")
    name = arguments.pop(0) if arguments else DEFAULT_COMMAND
    command = COMMANDS.get(name)
    if command is None:
        return _misused(f"unknown command {name}; {_nearest(name)}")

    from sendry.cli.parser import Parser

    module = importlib.import_module(f"sendry.cli.{command.module}")
    parser = Parser(prog=f"sendry {name}", description=f"{command.help[0].upper()}{command.help[1:]}.")
    module.add_arguments(parser)
    options = parser.parse_args(arguments, Namespace(config=config))
    try:
        code = int(options.run(options))
    except Failed as failure:
        print(f"sendry: {failure}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    return code


def _overview() -> str:
    width = max(len(name) for name in COMMANDS)
    commands = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    return (
        "usage: sendry [-c FILE] [COMMAND] [ARGUMENTS]\n\n"
        f"commands:\n{commands}\n\n"
        "options:\n"
        "  -c, --config FILE  configuration (else $SENDRY_CONFIG, else ./config.toml, else the sandbox profile)\n"
        "  -V, --version      print the version\n"
        "  -h, --help         print this; `sendry COMMAND --help` tells of one command"
    )


def _misused(message: str) -> int:
    print(f"sendry: {message}\nsendry --help shows what there is", file=sys.stderr)
    return 2


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"did you mean {near[0]}?" if near else f"commands are {', '.join(COMMANDS)}"
