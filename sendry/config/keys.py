"""How a dataclass declares its TOML keys, and how the declarations are read back.

A field is one of: a key of some kind (`key`), a table (`table`), a table or array of tables (`tables`), or a table
whose names the user chooses (`named`). The default of a key stands here, in its declaration, in the notation of the
configuration file, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypeVar, cast

from sendry.config.kinds import Kind

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A TOML table read into `cls`."""

    cls: type[Any]


@dataclass(frozen=True)
class Tables:
    """An array of TOML tables, each read into `cls`; where `may_be_one`, a single table counts as one of them."""

    cls: type[Any]
    may_be_one: bool = False


@dataclass(frozen=True)
class Named:
    """A TOML table with names chosen by the user: domain names, or as written (login names)."""

    inner: Shape
    names_are_domains: bool = True


Shape = Kind[Any] | Table | Tables | Named


@dataclass(frozen=True)
class Key:
    """One declared field: `name` as in TOML, `attribute` as in Python, the default as value and as written."""

    name: str
    attribute: str
    shape: Shape
    default: Any
    written: object
    meaning: str
    is_secret: bool


def key(kind: Kind[T], default: object, meaning: str, *, secret: bool = False) -> T:
    """A key with its default, written as in TOML. Secrets stay out of repr() and exist as `<key>_file` too."""
    return cast(T, _declare(kind, kind.parse(default), default, meaning, secret))


def computed(kind: Kind[T], value: T, written: str, meaning: str) -> T:
    """A key whose default is found out at start; `written` says how, for the documentation."""
    return cast(T, _declare(kind, value, written, meaning))


def table(cls: type[T]) -> T:
    return cast(T, _declare(Table(cls), cls()))


def tables(cls: type[T], meaning: str, *, may_be_one: bool = False) -> tuple[T, ...]:
    return cast(tuple[T, ...], _declare(Tables(cls, may_be_one), (), [], meaning))


def named(cls: type[T]) -> Mapping[str, T]:
    """Tables under domain names."""
    return cast(Mapping[str, T], _declare(Named(Table(cls)), _NOTHING))


def named_tables(cls: type[T], meaning: str) -> Mapping[str, tuple[T, ...]]:
    """Arrays of tables under domain names."""
    return cast(Mapping[str, tuple[T, ...]], _declare(Named(Tables(cls)), _NOTHING, [], meaning))


def named_secrets(kind: Kind[str], meaning: str) -> Mapping[str, str]:
    """Secrets under names as written, such as logins."""
    return cast(Mapping[str, str], _declare(Named(kind, False), _NOTHING, {}, meaning, True))


def keys_of(cls: type[Any]) -> Mapping[str, Key]:
    """The declared keys of a table's dataclass by their TOML names, in order."""
    if cls in _KEYS:
        return _KEYS[cls]
    found: dict[str, Key] = {}
    for item in fields(cls):
        if _DECLARED in item.metadata:
            shape, default, written, meaning, is_secret = item.metadata[_DECLARED]
            # `global` is a keyword of Python: the attribute is global_.
            name = item.name.removesuffix("_")
            found[name] = Key(name, item.name, shape, default, written, meaning, is_secret)
    _KEYS[cls] = MappingProxyType(found)
    return _KEYS[cls]


_KEYS: dict[type[Any], Mapping[str, Key]] = {}
_DECLARED = "sendry key"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _declare(
    shape: Shape, value: object, written: object = None, meaning: str = "", is_secret: bool = False
) -> object:
    metadata = {_DECLARED: (shape, value, written, meaning, is_secret)}
    # A factory, since dataclasses takes an unhashable default (an empty mapping) for a shared mutable one.
    return field(default_factory=lambda: value, metadata=metadata, repr=not is_secret)
