"""`sendry dkim`: make keys, and show the records that make others believe them.

Promise: a key file is never overwritten, for its public half may be published.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from sendry.cli.failure import Failed
from sendry.cli.opening import configured
from sendry.cli.parser import checked, takes_config, takes_json
from sendry.cli.printing import print_json
from sendry.config.values import parse_domain, parse_selector

if TYPE_CHECKING:
    from sendry.config import Config
    from sendry.domains.records import Record
    from sendry.mail.dkim import SigningKey


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    generate = commands.add_parser("generate", help="make a key")
    generate.add_argument("--domain", type=checked(parse_domain), required=True, help="domain that signs")
    generate.add_argument("--out", type=Path, metavar="FOLDER", default=Path(), help="default: this folder")
    generate.add_argument("--type", choices=("rsa", "ed25519"), default="rsa", help="default: rsa, of 2048 bits")
    generate.set_defaults(run=_generate, selector="sendry")

    show = commands.add_parser("show", help="the record to publish: of the configured keys, or of a key file")
    show.add_argument("--domain", type=checked(parse_domain), help="default: every configured domain")
    show.add_argument("--key", type=Path, metavar="FILE", help="a key file, in place of the configured ones")
    show.set_defaults(run=lambda options: _show(options, show))
    takes_config(show)

    for command in (generate, show):
        command.add_argument("--selector", type=checked(parse_selector), metavar="NAME", help="default: sendry")
        takes_json(command)


def kept_key(path: Path, domain: str, selector: str, kind: str = "rsa") -> SigningKey:
    """The key in the file; a new one where there is none. Raises OSError, ValueError."""
    from sendry.mail.dkim import load_key

    try:
        return new_key(path, domain, selector, kind)
    except FileExistsError:
        return load_key(path.read_bytes(), domain, selector)


def new_key(path: Path, domain: str, selector: str, kind: str = "rsa") -> SigningKey:
    """Make a key and write it, mode 0600. Raises FileExistsError when the file is there, else OSError."""
    from sendry.mail.dkim import generate_ed25519, generate_rsa, load_key

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        pem = generate_ed25519() if kind == "ed25519" else generate_rsa()
        file.write(pem)
    return load_key(pem, domain, selector)


def _generate(options: Namespace) -> int:
    from sendry.domains.records import of_key

    selector = options.selector or "sendry"
    path: Path = (options.out / options.domain / f"{selector}.pem").absolute()
    try:
        key = new_key(path, options.domain, selector, options.type)
    except FileExistsError:
        raise Failed(f"{path} exists and may be in use; choose another --selector or --out") from None
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}; another folder by --out") from None
    record = of_key(key)
    if options.json:
        print_json({"key_file": str(path), "selector": selector, "record": _shape(record)})
        return 0
    print(f"{path} is written (readable by you only).\n\nPublish this record, then add to the configuration:\n")
    print(f"  {record.zone_line}\n")
    print(f'  [domains."{options.domain}".dkim]\n  selector = "{selector}"\n  key_file = "{path}"')
    return 0


def _show(options: Namespace, parser: ArgumentParser) -> int:
    if options.key is not None:
        if options.domain is None:
            parser.error("--key needs --domain")
        keys = [_loaded(options.key, options.domain, options.selector or "sendry")]
    else:
        config = configured(options)
        keys = _configured_keys(config, options.domain, options.selector)
    from sendry.domains.records import of_key

    records = [of_key(key) for key in keys]
    if options.json:
        print_json({"records": [_shape(record) for record in records]})
    else:
        print("\n".join(record.zone_line for record in records))
    return 0


def _configured_keys(config: Config, domain: str | None, selector: str | None) -> list[SigningKey]:
    keys = [
        _loaded(key.key_file, name, key.selector)
        for name, found in config.dkim_keys.items()
        for key in found
        if key.key_file is not None and domain in (None, name) and selector in (None, key.selector)
    ]
    if not keys:
        whose = f" for {domain}" if domain else ""
        raise Failed(f"no DKIM key{whose} is configured; sendry dkim generate makes one")
    return keys


def _loaded(path: Path, domain: str, selector: str) -> SigningKey:
    from sendry.mail.dkim import load_key

    try:
        return load_key(path.read_bytes(), domain, selector)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Failed(f"{path}: {error}") from None


def _shape(record: Record) -> dict[str, object]:
    return {"type": record.type, "name": record.name, "value": record.value, "zone_line": record.zone_line}
