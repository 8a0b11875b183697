"""`sendry init`: a first configuration with secrets of its own, and the DNS records that go with it.

Writes the configuration and, unless told otherwise, one DKIM key, both mode 0600; overwrites a configuration only
with --force and a key never. What it writes has passed validation before a file is touched.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from sendry.cli.configuration import print_faults, print_warnings
from sendry.cli.dkim import kept_key
from sendry.cli.parser import checked, takes_json
from sendry.config import ConfigError, DomainMode, loads, warnings
from sendry.config.values import parse_domain, parse_mailbox, parse_selector

if TYPE_CHECKING:
    from sendry.domains.records import Record


def add_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--domain", type=checked(parse_domain), required=True, help="mail domain, such as example.com")
    add("--hostname", type=checked(parse_domain), help="full name of this host (default: mail.DOMAIN)")
    add("-o", "--output", type=Path, metavar="FILE", default=Path("config.toml"), help="default: config.toml")
    add("--force", action="store_true", help="overwrite the file if it is there")
    add("--mode", choices=[mode.value for mode in DomainMode], default="production", help="default: production")
    add("--redirect-to", type=checked(parse_mailbox), action="append", metavar="ADDRESS", help="for mode redirect")
    add("--bcc-to", type=checked(parse_mailbox), action="append", metavar="ADDRESS", help="for mode bcc")
    add("--dkim", action=BooleanOptionalAction, default=True, help="make a DKIM key, RSA of 2048 bits (default: yes)")
    add("--dkim-dir", type=Path, metavar="FOLDER", help="where DKIM keys are kept (default: DATA_DIR/dkim)")
    add("--dkim-selector", type=checked(parse_selector), default="sendry", metavar="NAME", help="default: sendry")
    add("--api-key", metavar="KEY", help="root key of the API (default: a new one)")
    add("--smtp-user", default="sendry", metavar="NAME", help="user name for submission (default: sendry)")
    add("--smtp-pass", metavar="PASSWORD", help="its password (default: a new one)")
    add("--cert-file", type=Path, metavar="FILE", help="TLS certificate with its chain, PEM")
    add("--key-file", type=Path, metavar="FILE", help="private key of the certificate, PEM")
    add("--acme", action="store_true", help="get certificates by ACME")
    add("--acme-email", metavar="ADDRESS", default="", help="contact of the ACME account")
    add("--data-dir", type=Path, metavar="FOLDER", default=Path("/var/lib/sendry"), help="default: /var/lib/sendry")
    takes_json(parser)
    parser.set_defaults(run=lambda options: _init(options, parser))


def _init(options: Namespace, parser: ArgumentParser) -> int:
    _check_together(options, parser)
    output: Path = options.output
    if output.exists() and not options.force:
        print(f"sendry: {output} exists; name another with -o, or overwrite it with --force", file=sys.stderr)
        return 1
    hostname = options.hostname or f"mail.{options.domain}"
    api_key = options.api_key or f"sk_{secrets.token_urlsafe(32)}"
    password = options.smtp_pass or secrets.token_urlsafe(18)
    key_file: Path | None = None
    if options.dkim:
        folder: Path = options.dkim_dir or options.data_dir / "dkim"
        key_file = (folder / options.domain / f"{options.dkim_selector}.pem").absolute()
    text = _configuration(options, hostname, api_key, password, key_file)
    try:
        loads(text, {}, output)
    except ConfigError as error:
        print_faults(error.faults)
        print("sendry: nothing was written", file=sys.stderr)
        return 1
    try:
        keys = [] if key_file is None else [kept_key(key_file, options.domain, options.dkim_selector)]
        _write(output, text, options.force)
    except (OSError, ValueError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"sendry: {reason}; other folders by --output, --data-dir and --dkim-dir", file=sys.stderr)
        return 1
    from sendry.domains.records import to_publish

    records = to_publish(options.domain, hostname, keys)
    if options.json:
        made = {
            "config": str(output),
            "api_key": api_key,
            "smtp_user": options.smtp_user,
            "smtp_password": password,
            "dkim_key_file": str(key_file) if key_file else None,
            "records": [{"type": item.type, "name": item.name, "value": item.value} for item in records],
        }
        print(json.dumps(made, ensure_ascii=False, indent=2))
    else:
        _tell(options, api_key, password, key_file, records)
    print_warnings(warnings(loads(text, {}, output)))
    return 0


def _check_together(options: Namespace, parser: ArgumentParser) -> None:
    for mode, given in (("redirect", options.redirect_to), ("bcc", options.bcc_to)):
        if options.mode == mode and not given:
            parser.error(f"--mode {mode} needs --{mode}-to ADDRESS")
        if given and options.mode != mode:
            parser.error(f"--{mode}-to goes with --mode {mode} only")
    if not options.smtp_user:
        parser.error("--smtp-user may not be empty")
    if bool(options.cert_file) != bool(options.key_file):
        parser.error("--cert-file and --key-file are given together")


def _configuration(options: Namespace, hostname: str, api_key: str, password: str, key_file: Path | None) -> str:
    from sendry.access.logins import hash_password

    lines = ["# Written by `sendry init`. config.example.toml has every key with its default.", ""]
    lines += ["[server]", f"hostname = {_toml(hostname)}", ""]
    lines += ["[smtp]", f"domain = {_toml(options.domain)}", ""]
    lines += ["[smtp.auth.users]", f"{_toml(options.smtp_user)} = {_toml(hash_password(password))}", ""]
    if options.cert_file:
        lines += ["[smtp.tls]", f"cert_file = {_toml(options.cert_file.absolute())}"]
        lines += [f"key_file = {_toml(options.key_file.absolute())}", ""]
    if options.acme:
        lines += ["[smtp.tls.acme]", "enabled = true", f"email = {_toml(options.acme_email)}"]
        lines += [f"domains = [{_toml(hostname)}]", f"cache_dir = {_toml(options.data_dir.absolute() / 'certs')}", ""]
    lines += [f"[domains.{_toml(options.domain)}]", f"mode = {_toml(options.mode)}"]
    for name, addresses in (("redirect_to", options.redirect_to), ("bcc_to", options.bcc_to)):
        if addresses:
            lines.append(f"{name} = [{', '.join(_toml(address) for address in addresses)}]")
    if key_file is not None:
        lines += ["", f"[domains.{_toml(options.domain)}.dkim]", f"selector = {_toml(options.dkim_selector)}"]
        lines.append(f"key_file = {_toml(key_file)}")
    lines += ["", "[api]", f"api_key = {_toml(api_key)}"]
    lines += ["", "[queue]", "# Attempts in all: about 5 days.", "max_retries = 40"]
    lines += ["", "[storage]", f"path = {_toml(options.data_dir.absolute() / 'queue.db')}", ""]
    return "\n".join(lines)


def _toml(value: object) -> str:
    # A JSON string is a TOML string, but for DEL, which TOML wants escaped too.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(path: Path, text: str, may_overwrite: bool) -> None:
    if not may_overwrite:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return
    # Whole or not at all, and never with the mode of what was there before.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _tell(options: Namespace, api_key: str, password: str, key_file: Path | None, records: list[Record]) -> None:
    print(f"{options.output} is written (readable by you only).\n")
    print(f"  API key        {api_key}")
    print(f"  SMTP user      {options.smtp_user}")
    print(f"  SMTP password  {password}   (kept as a hash: note it down)")
    if key_file is not None:
        print(f"  DKIM key       {key_file}")
    print("\nPublish these DNS records:\n")
    for record in records:
        print(f"  {record.name}.  {record.type}  {record.value}\n      {record.note}")
    print(f"\nThen: sendry serve -c {options.output}")
