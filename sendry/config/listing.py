"""The keys one by one: all that exist, and what each is set to, with its origin. Secrets come out masked.

Pure. For `sendry config show` and for the tests that hold documentation and example against the dataclasses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sendry.config.faults import DEFAULT, MASK, Origin, dotted
from sendry.config.keys import Key, Named, Table, Tables, keys_of
from sendry.config.kinds import Kind
from sendry.config.not_yet import is_not_yet_available
from sendry.config.positions import Path
from sendry.config.tree import Config


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One key as documented; names the user chooses are written NAME. `default` is as written in TOML."""

    name: str
    default: object
    meaning: str
    is_secret: bool
    is_not_yet_available: bool


@dataclass(frozen=True, slots=True)
class Effective:
    """One key of a configuration and the value in effect, as JSON can hold it."""

    key: str
    value: object
    origin: Origin


def known_keys() -> Iterator[KnownKey]:
    """Every key there is, in the order of the tables."""
    yield from _known(Config, "")


def effective(config: Config) -> Iterator[Effective]:
    """Every key of a configuration with its value; tables with names of the user's only where he set some."""
    yield from _effective(config, (), config.origins)


def _known(cls: type[Any], prefix: str) -> Iterator[KnownKey]:
    for key in keys_of(cls).values():
        name, shape = prefix + key.name, key.shape
        while isinstance(shape, Named) and not isinstance(shape.inner, Kind):
            name, shape = f"{name}.NAME", shape.inner
        if isinstance(shape, Table) or (isinstance(shape, Tables) and shape.may_be_one):
            yield from _known(shape.cls, f"{name}.")
        else:
            yield KnownKey(name, key.written, key.meaning, key.is_secret, is_not_yet_available(name))


def _effective(table: Any, path: Path, origins: Mapping[str, Origin]) -> Iterator[Effective]:
    for key in keys_of(type(table)).values():
        yield from _one((*path, key.name), key, getattr(table, key.attribute), origins)


def _one(path: Path, key: Key, value: Any, origins: Mapping[str, Origin]) -> Iterator[Effective]:
    shape = key.shape
    while isinstance(shape, Named) and not isinstance(shape.inner, Kind):
        for name, inner in value.items():
            inner_key = Key(name, "", shape.inner, None, None, "", key.is_secret)
            yield from _one((*path, name), inner_key, inner, origins)
        return
    if isinstance(shape, Table):
        yield from _effective(value, path, origins)
    elif isinstance(shape, Tables) and value:
        for index, item in enumerate(value):
            yield from _effective(item, (*path, index) if len(value) > 1 else path, origins)
    elif isinstance(shape, Named) and value:
        for name, secret in value.items():
            yield _shown((*path, name), masked(secret) if key.is_secret else secret, origins)
    elif isinstance(shape, Kind):
        yield _shown(path, masked(value) if key.is_secret else shape.plain(value), origins)
    else:
        yield _shown(path, key.written if key.written is not None else [], origins)


def _shown(path: Path, value: object, origins: Mapping[str, Origin]) -> Effective:
    origin = DEFAULT
    for length in range(len(path), 0, -1):
        if dotted(path[:length]) in origins:
            origin = origins[dotted(path[:length])]
            break
    return Effective(dotted(path), value, origin)


def masked(secret: str) -> str:
    """A secret as it may be shown. Of a database URL host and name stay; "" stays, since nothing is set there."""
    if not secret.startswith(("postgres://", "postgresql://")):
        return secret and MASK
    try:
        parts = urlsplit(secret)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    return f"{parts.scheme}://{MASK}@{parts.hostname or ''}{port}{parts.path}"
