"""`sendry migrate`: the schema of the database. A start of Sendry does the same by itself."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from sendry.cli.opening import configured, explained, location_of
from sendry.cli.parser import takes_config, takes_json
from sendry.cli.printing import counted, print_json


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--status", action="store_true", help="only show what is applied; exit code 1 if not all is")
    takes_config(parser)
    takes_json(parser)
    parser.set_defaults(run=_migrate)


def _migrate(options: Namespace) -> int:
    config = configured(options)
    from sendry.store import upgrade

    location = location_of(config)
    with explained(config):
        applied = [] if options.status else upgrade.migrate(location)
        status = upgrade.status(location)
    is_current = all(is_applied for _, is_applied in status)
    if options.json:
        migrations = [{"name": name, "is_applied": is_applied} for name, is_applied in status]
        print_json({"is_current": is_current, "applied_now": applied, "migrations": migrations})
    elif options.status:
        for name, is_applied in status:
            print(f"{'applied ' if is_applied else 'waiting '} {name}")
    else:
        print(f"{counted(len(applied), 'migration')} applied" if applied else "the database is up to date")
    return 0 if is_current else 1
