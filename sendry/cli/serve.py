"""`sendry serve`: check the configuration, then hand over to the service."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from sendry.cli.configuration import load_or_explain, print_warnings
from sendry.cli.parser import takes_config


def add_arguments(parser: ArgumentParser) -> None:
    takes_config(parser)
    parser.add_argument(
        "--roles",
        metavar="LIST",
        default="web,smtp,worker",
        help="what this process does, comma separated: web, smtp, worker (default: all)",
    )
    parser.set_defaults(run=_serve)


def _serve(options: Namespace) -> int:
    config = load_or_explain(options)
    if config is None:
        return 1
    from sendry.config import warnings
    from sendry.service import Role, serve

    known = [role.value for role in Role]
    names = list(dict.fromkeys(name.strip() for name in options.roles.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = f"unknown role {', '.join(unknown)}" if unknown else "no role is given"
        print(f"sendry: --roles: {wrong}; roles are {', '.join(known)}", file=sys.stderr)
        return 2
    print_warnings(warnings(config))
    return serve(config, [Role(name) for name in names])
