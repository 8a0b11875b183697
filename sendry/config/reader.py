"""From raw settings to typed tables. Gathers every fault on the way instead of stopping at the first.

Reads the files that `<key>_file` names, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any

from sendry.config.faults import MASK, Fault, Origin, did_you_mean, dotted, quoted
from sendry.config.keys import Key, Named, Shape, Table, Tables, keys_of
from sendry.config.kinds import DOMAIN, Kind, Wrong
from sendry.config.positions import Path
from sendry.config.sources import FILE_SUFFIX, Sources


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading stands: `raw` as the user wrote it, `shown` with names in their normal form, `general` with
    NAME in place of names the user chose."""

    raw: Path = ()
    shown: Path = ()
    general: str = ""

    def child(self, name: str, shown: str | None = None) -> Place:
        general = name if shown is None else "NAME"
        return Place(
            (*self.raw, name),
            (*self.shown, name if shown is None else shown),
            f"{self.general}.{general}" if self.general else general,
        )

    def item(self, index: int) -> Place:
        return Place((*self.raw, index), (*self.shown, index), self.general)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key that was set: in the file, by a variable, or by the profile."""

    key: str
    general: str
    value: Any
    default: Any
    origin: Origin


class _Faulty:
    """Stands for a value that could not be read; its key keeps the default, the fault is noted."""


_FAULTY = _Faulty()


class Reader:
    """Reads one tree. After read(): `faults`, `faulty` (dotted keys that have faults), `settings` by dotted key, and
    `places`, where each key and table stands."""

    def __init__(self, sources: Sources, keys_called: Callable[[str], Sequence[str]]) -> None:
        self.faults: list[Fault] = []
        self.faulty: set[str] = set()
        self.settings: dict[str, Setting] = {}
        self.places: dict[str, Origin] = {}
        self._sources = sources
        self._keys_called = keys_called

    def read(self, cls: type[Any]) -> dict[str, Any]:
        """The attributes of the root table that could be read."""
        return self._attributes(cls, self._sources.tree, Place())

    def fault(self, place: Place, message: str) -> None:
        self.faults.append(Fault(dotted(place.shown), message, self._sources.origin(place.raw)))
        self.faulty.add(dotted(place.shown))

    def _wrong(self, place: Place, raw: object, wrong: Wrong, is_secret: bool) -> None:
        if wrong.items:
            for index, item, inner in wrong.items:
                self._wrong(place.item(index), item, inner, is_secret)
            self.faulty.add(dotted(place.shown))
            return
        shown = MASK if is_secret else quoted(raw)
        reason = f" ({wrong.reason})" if wrong.reason else ""
        self.fault(place, f"{shown} is wrong{reason}; allowed is {wrong.allowed}")

    def _value(self, shape: Shape, raw: object, place: Place, key: Key) -> Any:
        self.places[dotted(place.shown)] = self._sources.origin(place.raw)
        if isinstance(shape, Kind):
            try:
                value = shape.parse(raw)
            except Wrong as wrong:
                self._wrong(place, raw, wrong, key.is_secret)
                return _FAULTY
            self._note(place, value, key)
            return value
        if isinstance(shape, Table):
            if not isinstance(raw, dict):
                self.fault(place, f"{quoted(raw)} is wrong; allowed is a table [{dotted(place.shown)}]")
                return _FAULTY
            return shape.cls(**self._attributes(shape.cls, raw, place))
        if isinstance(shape, Tables):
            return self._tables(shape, raw, place, key)
        return self._named(shape, raw, place, key)

    def _attributes(self, cls: type[Any], raw: dict[str, Any], place: Place) -> dict[str, Any]:
        keys = keys_of(cls)
        attributes: dict[str, Any] = {}
        for name, value in raw.items():
            key = keys.get(name)
            at = place.child(name)
            if key is None:
                key = keys.get(name.removesuffix(FILE_SUFFIX))
                if key is None or not key.is_secret or not name.endswith(FILE_SUFFIX):
                    self.fault(at, f"unknown key; {did_you_mean(name, tuple(keys), self._keys_called(name))}")
                    continue
                if key.name in raw:
                    self.fault(at, f"both {key.name} and {name} are given; remove one of the two")
                    continue
                value = self._file_contents(at, value, key)
                if value is _FAULTY:
                    self.faulty.add(dotted(place.child(key.name).shown))
                    continue
                found = self._from_file(key, value, place, at)
            else:
                found = self._value(key.shape, value, at, key)
            if found is not _FAULTY:
                attributes[key.attribute] = found
        return attributes

    def _tables(self, shape: Tables, raw: object, place: Place, key: Key) -> Any:
        if isinstance(raw, dict) and shape.may_be_one:
            value: tuple[Any, ...] = (shape.cls(**self._attributes(shape.cls, raw, place)),)
        elif isinstance(raw, list) and all(isinstance(item, dict) for item in raw):
            value = tuple(
                self._value(Table(shape.cls), item, place.item(index), key) for index, item in enumerate(raw)
            )
        else:
            one = "a table or an array of tables" if shape.may_be_one else "an array of tables"
            self.fault(place, f"{quoted(raw)} is wrong; allowed is {one}")
            return _FAULTY
        self._note(place, value, key, default=())
        return value

    def _named(self, shape: Named, raw: object, place: Place, key: Key) -> Any:
        if not isinstance(raw, dict):
            shown = MASK if key.is_secret else quoted(raw)
            self.fault(place, f"{shown} is wrong; allowed is a table [{dotted(place.shown)}]")
            return _FAULTY
        known = keys_of(shape.inner.cls) if isinstance(shape.inner, Table) else {}
        found: dict[str, Any] = {}
        for name, inner in raw.items():
            if shape.names_are_domains:
                normal = self._domain(place.child(name), name, inner, known)
                if normal is None:
                    continue
            else:
                normal = name
            at = place.child(name, normal)
            if normal in found:
                self.fault(at, f"{normal} is given twice; write it once")
                continue
            value = self._value(shape.inner, inner, at, key)
            if value is not _FAULTY:
                found[normal] = value
        return MappingProxyType(found)

    def _domain(self, at: Place, name: str, inner: object, known: Mapping[str, Key]) -> str | None:
        try:
            normal = DOMAIN.parse(name)
        except Wrong as wrong:
            self._wrong(at, name, wrong, is_secret=False)
            return None
        # [domains.example.com] is TOML for a table com in a table example.
        meant = name
        while isinstance(inner, dict):
            part = next((part for part in inner if part not in known and isinstance(inner[part], dict)), None)
            if part is None:
                break
            meant, inner = f"{meant}.{part}", inner[part]
        if meant != name:
            self.fault(at, f'a name with dots needs quotes; did you mean [{dotted(at.shown[:-1])}."{meant}"]?')
            return None
        return normal

    def _file_contents(self, place: Place, raw: object, key: Key) -> Any:
        if not isinstance(raw, str) or not raw:
            self.fault(place, f"{quoted(raw)} is wrong; allowed is the path of a file")
            return _FAULTY
        try:
            text = FilePath(raw).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            self.fault(place, f"{quoted(raw)} cannot be read: {reason}")
            return _FAULTY
        if not text:
            self.fault(place, f"{quoted(raw)} is empty; it must hold the value of {key.name}")
            return _FAULTY
        return text

    def _from_file(self, key: Key, text: str, place: Place, at: Place) -> Any:
        """The typed value out of a file. Its faults are told at the `_file` key, without the contents."""
        target = Place(at.raw, place.child(key.name).shown, place.child(key.name).general)
        if isinstance(key.shape, Kind):
            try:
                value = key.shape.parse(text)
            except Wrong as wrong:
                self.fault(at, f"what the file holds is wrong; allowed is {wrong.allowed}")
                self.faulty.add(dotted(target.shown))
                return _FAULTY
            self._note(target, value, key)
            return value
        import tomllib

        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            self.fault(at, f"the file must hold lines of TOML, name = value: {error}")
            return _FAULTY
        return self._value(key.shape, table, target, key)

    def _note(self, place: Place, value: Any, key: Key, default: Any = None) -> None:
        name = dotted(place.shown)
        default = key.default if default is None else default
        self.settings[name] = Setting(name, place.general, value, default, self._sources.origin(place.raw))
