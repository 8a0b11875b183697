"""Settings from environment variables: SENDRY_ + path with `__`, and the platform's PORT and DATABASE_URL.

Promise: a variable that names no key is a fault, never ignored. Names in the path are told apart like this: case does
not count; a name the user chose (domain, login) is the one already in the file that reads the same, `_`, `-` and `.`
being equal in domain names; else a new name, lower case, with `_` for `.` in domain names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sendry.config.faults import MASK, Fault, Origin, OriginKind, dotted, quoted
from sendry.config.keys import Key, Named, Shape, Table, Tables, keys_of
from sendry.config.kinds import Kind, Wrong, toml_value
from sendry.config.positions import Path
from sendry.config.sources import FILE_SUFFIX, Sources

PREFIX = "SENDRY_"
# Names the file of settings, so it is none of them.
CONFIG_VARIABLE = "SENDRY_CONFIG"
# How platforms of the Heroku kind tell a program where to listen and where its database is.
PORT_VARIABLE = "PORT"
DATABASE_VARIABLE = "DATABASE_URL"


def lay_environment(environ: Mapping[str, str], sources: Sources, root: Table) -> list[Fault]:
    """Lay every variable over the sources. Returns the faults; a faulty variable is left out."""
    faults: list[Fault] = []
    _lay_platform(environ, sources, faults)
    seen: dict[Path, str] = {}
    # Tables before the keys in them, so that the more exact variable wins; the name decides among equals.
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        origin = Origin(OriginKind.ENVIRONMENT, name)
        found = _find(name.removeprefix(PREFIX), sources, root)
        if isinstance(found, str):
            faults.append(Fault("", f"unknown variable; {found}", origin))
            continue
        path, shape, is_secret = found
        if path in seen:
            faults.append(Fault(dotted(path), f"{seen[path]} sets the same key; remove one of the two", origin))
            continue
        seen[path] = name
        try:
            value = _value(shape, environ[name])
        except Wrong as wrong:
            shown = MASK if is_secret else quoted(environ[name])
            reason = f" ({wrong.reason})" if wrong.reason and not is_secret else ""
            faults.append(Fault(dotted(path), f"{shown} is wrong{reason}; allowed is {wrong.allowed}", origin))
            continue
        sources.lay(path, value, origin)
    return faults


def _lay_platform(environ: Mapping[str, str], sources: Sources, faults: list[Fault]) -> None:
    port = environ.get(PORT_VARIABLE, "").strip()
    if port:
        origin = Origin(OriginKind.ENVIRONMENT, PORT_VARIABLE)
        if re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535:
            sources.lay(("api", "listen_addr"), f"0.0.0.0:{int(port)}", origin)
        else:
            message = f"{quoted(port)} is wrong; allowed is a port number from 1 to 65535"
            faults.append(Fault("api.listen_addr", message, origin))
    url = environ.get(DATABASE_VARIABLE, "").strip()
    if url:
        sources.lay(("storage", "url"), url, Origin(OriginKind.ENVIRONMENT, DATABASE_VARIABLE))


def _find(name: str, sources: Sources, root: Table) -> tuple[Path, Shape, bool] | str:
    """Path, shape and secrecy of the key a variable means, or what it may have meant."""
    path: Path = ()
    shape: Shape = root
    is_secret = False
    for part in name.split("__"):
        if isinstance(shape, Tables) and shape.may_be_one:
            shape = Table(shape.cls)
        if isinstance(shape, Named) and part:
            path, shape = (*path, _chosen_name(part, shape, sources, path)), shape.inner
            continue
        key, is_file = _key(shape.cls, part) if isinstance(shape, Table) else (None, False)
        if key is None:
            return _nearest(name, root)
        path = (*path, key.name + (FILE_SUFFIX if is_file else ""))
        shape = _FILE_PATH if is_file else key.shape
        is_secret = key.is_secret and not is_file
    return path, shape, is_secret


def _key(cls: type[object], part: str) -> tuple[Key | None, bool]:
    keys = keys_of(cls)
    if part.lower() in keys:
        return keys[part.lower()], False
    key = keys.get(part.lower().removesuffix(FILE_SUFFIX))
    return (key, True) if key is not None and key.is_secret else (None, False)


def _chosen_name(part: str, shape: Named, sources: Sources, path: Path) -> str:
    def plain(name: str) -> str:
        return re.sub("[_-]", ".", name.lower()) if shape.names_are_domains else name.lower()

    for name in sources.table_at(path):
        if plain(name) == plain(part):
            return name
    return part.lower().replace("_", ".") if shape.names_are_domains else part.lower()


def _value(shape: Shape, text: str) -> object:
    if isinstance(shape, Kind):
        return shape.from_text(text)
    expected = list if isinstance(shape, Tables) else dict
    value = toml_value(text)
    if not isinstance(value, expected) and not (isinstance(shape, Tables) and isinstance(value, dict)):
        raise Wrong("an inline table of TOML" if expected is dict else "an array of inline tables of TOML")
    return value


def _nearest(name: str, root: Table) -> str:
    import difflib

    near = difflib.get_close_matches(name.upper(), list(_variables(root)), n=1, cutoff=0.7)
    if near:
        return f"did you mean {PREFIX}{near[0]}?"
    return f"allowed is {PREFIX} and the path of a key with __, such as {PREFIX}SMTP__DOMAIN"


def _variables(table: Table, prefix: str = "") -> Iterator[str]:
    """All names of variables without SENDRY_; NAME stands for what the user chooses."""
    for key in keys_of(table.cls).values():
        name, shape = prefix + key.name.upper(), key.shape
        yield name
        if key.is_secret:
            yield name + FILE_SUFFIX.upper()
        while isinstance(shape, Named):
            name, shape = f"{name}__NAME", shape.inner
        if isinstance(shape, Table):
            yield from _variables(shape, f"{name}__")


class _FilePath(Kind[str]):
    allowed = "the path of a file"


_FILE_PATH = _FilePath()
