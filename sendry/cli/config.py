"""`sendry config validate` and `sendry config show`."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace

from sendry.cli.configuration import load_config, load_or_explain, print_faults, print_warnings
from sendry.cli.parser import takes_config, takes_json
from sendry.config import Config, ConfigError, ConfigWarning, Fault, find_config_path, warnings
from sendry.config.listing import effective


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    validate = commands.add_parser("validate", help="print every fault, then risky settings")
    show = commands.add_parser("show", help="print every key with its value and where it was set")
    for command, run in ((validate, _validate), (show, _show)):
        takes_config(command)
        takes_json(command)
        command.set_defaults(run=run)


def _validate(options: Namespace) -> int:
    faults: tuple[Fault, ...] = ()
    try:
        config: Config | None = load_config(options)
    except ConfigError as error:
        faults, config = error.faults, error.config
    at_fault = {fault.key for fault in faults}
    risks = [] if config is None else [risk for risk in warnings(config) if risk.key not in at_fault]
    if options.json:
        print(json.dumps(_report(config, faults, risks), ensure_ascii=False, indent=2))
        return 1 if faults else 0
    print_faults(faults)
    print_warnings(risks)
    if faults:
        return 1
    path = find_config_path(options.config, os.environ)
    valid = f"{path} is valid" if path else "no configuration file"
    note = "; smtp.domain is not set, so this is the sandbox profile" if config and config.is_sandbox_profile else ""
    print(valid + note)
    return 0


def _report(config: Config | None, faults: tuple[Fault, ...], risks: list[ConfigWarning]) -> dict[str, object]:
    def entry(found: Fault | ConfigWarning) -> dict[str, object]:
        origin = found.origin
        return {"key": found.key, "message": found.message, "source": origin.name or None, "line": origin.line}

    profile = None if config is None else "sandbox" if config.is_sandbox_profile else "production"
    return {
        "valid": not faults,
        "profile": profile,
        "faults": [entry(fault) for fault in faults],
        "warnings": [entry(risk) for risk in risks],
    }


def _show(options: Namespace) -> int:
    config = load_or_explain(options)
    if config is None:
        return 1
    settings = list(effective(config))
    if options.json:
        shown = {
            "file": str(config.file) if config.file else None,
            "profile": "sandbox" if config.is_sandbox_profile else "production",
            "settings": [{"key": item.key, "value": item.value, "origin": str(item.origin)} for item in settings],
        }
        print(json.dumps(shown, ensure_ascii=False, indent=2))
        return 0
    for item in settings:
        print(f"{item.key} = {_toml(item.value)}  # {item.origin}")
    return 0


def _toml(value: object) -> str:
    # What a setting can hold is written alike in TOML and JSON; only an empty table has its own look there.
    return json.dumps(value, ensure_ascii=False)
