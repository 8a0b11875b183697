"""load(): from a file and the environment to a Config, or to every fault at once.

Reads the configuration file and the files of `<key>_file`; writes nothing, opens no socket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sendry.config.environment import CONFIG_VARIABLE, lay_environment
from sendry.config.faults import ConfigError, Fault, Origin, OriginKind
from sendry.config.keys import Table
from sendry.config.listing import known_keys
from sendry.config.not_yet import is_not_yet_available
from sendry.config.profile import lay_profile
from sendry.config.reader import Reader
from sendry.config.rules import Check, check_rules
from sendry.config.sources import Sources
from sendry.config.tree import Config

_ROOT = Table(Config)
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def find_config_path(option: Path | None, environ: Mapping[str, str], folder: Path = Path()) -> Path | None:
    """The file to load: the option, else $SENDRY_CONFIG, else config.toml in the folder if it is there, else None."""
    if option is not None:
        return option
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    beside = folder / "config.toml"
    return beside if beside.exists() else None


def load(path: Path | None, environ: Mapping[str, str] = _NO_VARIABLES) -> Config:
    """Read the file (None: none) and the variables. Raises ConfigError with all that is wrong."""
    if path is None:
        return loads("", environ)
    origin = Origin(OriginKind.FILE, str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Fault("", f"cannot be read: {error.strerror}", origin)]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Fault("", f"this is no UTF-8 text (octet {error.start + 1})", origin)]) from None
    return loads(text, environ, path)


def loads(text: str, environ: Mapping[str, str] = _NO_VARIABLES, path: Path | None = None) -> Config:
    """As load(), from TOML text; `path` is what its faults call it."""
    name = str(path) if path is not None else ("config" if text else "")
    try:
        sources = Sources(_ROOT, _document(text, name), text, name)
    except RecursionError:
        origin = Origin(OriginKind.FILE, name)
        raise ConfigError([Fault("", "brackets are nested too deep", origin)]) from None
    faults = lay_environment(environ, sources, _ROOT)
    lay_profile(sources)
    reader = Reader(sources, _keys_called)
    attributes = reader.read(Config)
    origins = {setting.key: setting.origin for setting in reader.settings.values()}
    config = Config(**attributes, file=path, origins=MappingProxyType(origins))
    faults += reader.faults
    faults += [
        Fault(setting.key, "not yet available; leave it out until the release that brings it", setting.origin)
        for setting in reader.settings.values()
        if is_not_yet_available(setting.general)
        and setting.value != setting.default
        and setting.origin.kind is not OriginKind.PROFILE
    ]
    check = Check(reader.places, reader.faulty, sources.origin(()))
    check_rules(config, check)
    faults += check.faults
    if faults:
        raise ConfigError(faults, config)
    return config


def _document(text: str, name: str) -> dict[str, Any]:
    if not text:
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        reason, line = str(error), None
        if found:
            reason = str(error)[: found.start()]
            line = int(found[1]) if found[1] else text.count("\n") + 1
            reason += f" (column {found[2]})" if found[2] else " at the end of the file"
        message = f"this is no valid TOML: {reason}"
        raise ConfigError([Fault("", message, Origin(OriginKind.FILE, name, line))]) from None
    except ValueError as error:
        # tomllib lets int() complain of a number with thousands of digits.
        raise ConfigError([Fault("", str(error), Origin(OriginKind.FILE, name))]) from None


def _keys_called(last_name: str) -> list[str]:
    found = [key.name for key in known_keys() if key.name.rpartition(".")[2] == last_name]
    # A name that stands in many tables (enabled, key_file) would be no help.
    return found if len(found) <= 2 else []
