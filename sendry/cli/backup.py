"""`sendry backup`: a copy of everything that an installation over SQLite keeps, taken while it runs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from sendry.cli.failure import Failed
from sendry.cli.opening import configured, explained
from sendry.cli.parser import takes_config, takes_json
from sendry.cli.printing import counted, print_json


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the copy goes; made, or empty")
    takes_config(parser)
    takes_json(parser)
    parser.set_defaults(run=_backup)


def _backup(options: Namespace) -> int:
    config = configured(options)
    if config.storage.url:
        raise Failed(
            "the database is PostgreSQL, and everything is in it: pg_dump --format=custom --file=sendry.dump URL"
        )
    if not config.storage.path.exists():
        raise Failed(f"storage.path = {str(config.storage.path)!r}: there is no database to copy")
    from sendry.store.backup import FolderInUse, copy_installation

    with explained(config):
        try:
            copied = copy_installation(config.storage.path, config.data_dir, options.folder)
        except FolderInUse as error:
            raise Failed(f"{error}; name a new folder") from None
        except OSError as error:
            raise Failed(f"{error.filename or options.folder}: {error.strerror or error}") from error
    if options.json:
        print_json({"folder": str(options.folder), **asdict(copied)})
    else:
        print(f"{options.folder} has {counted(copied.messages, 'message')}, {copied.octets / 1_000_000:.1f} MB")
        print("Not in it: the configuration file, and key files outside the data folder.")
    if copied.lost:
        raise Failed(
            f"{counted(copied.lost, 'message')} cannot be sent any more: their files are gone from the spool"
        )
    return 0
