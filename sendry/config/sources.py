"""The raw settings before they are typed: what the file says, with variables and profile laid over it.

Touches nothing but its own tree. Promise: origin() knows for each path which file line, variable or profile set it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sendry.config.faults import DEFAULT, Origin, OriginKind
from sendry.config.keys import Named, Shape, Table, keys_of
from sendry.config.positions import Path, positions

FILE_SUFFIX = "_file"


class Sources:
    """One tree of raw values in the shape of `root`, and the origin of each."""

    def __init__(self, root: Table, document: dict[str, Any], text: str, file_name: str) -> None:
        self.tree = document
        self._root = root
        self._file_name = file_name
        self._lines: Mapping[Path, int] = positions(text) if document else {}
        self._laid: dict[Path, Origin] = {}

    def origin(self, path: Path) -> Origin:
        """Where the value at a path was set; for a path that was not set, where its nearest table stands."""
        prefixes = [path[:length] for length in range(len(path), 0, -1)]
        for prefix in prefixes:
            if prefix in self._laid:
                return self._laid[prefix]
        for prefix in prefixes:
            if prefix in self._lines:
                return Origin(OriginKind.FILE, self._file_name, self._lines[prefix])
        return Origin(OriginKind.FILE, self._file_name) if self._file_name else DEFAULT

    def has(self, path: Path) -> bool:
        """Whether something is set at this path."""
        node: Any = self.tree
        for part in path:
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    def table_at(self, path: Path) -> dict[str, Any]:
        """The table at a path; empty where there is none."""
        node: Any = self.tree
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        return node if isinstance(node, dict) else {}

    def lay(self, path: Path, value: object, origin: Origin) -> None:
        """Set a value over what is there. Tables are merged key by key, anything else replaces.

        Where the way to the path is blocked by something that is no table, nothing is laid: reading reports that.
        """
        shape: Shape | None = self._root
        holder: Any = self.tree
        for part in path[:-1]:
            shape = _inner(shape, str(part))
            holder = holder.setdefault(part, {})
            if not isinstance(holder, dict):
                return
        last = str(path[-1])
        inner = _inner(shape, last)
        if isinstance(value, dict) and isinstance(inner, Table | Named):
            for name in value:
                self.lay((*path, name), value[name], origin)
            return
        if isinstance(shape, Table):
            # A variable overrides the setting, in whichever of its two forms (`key`, `key_file`) the file has it.
            other = last.removesuffix(FILE_SUFFIX) if last.endswith(FILE_SUFFIX) else last + FILE_SUFFIX
            if other in holder and self.origin((*path[:-1], other)).kind is not origin.kind:
                del holder[other]
        holder[last] = value
        self._laid[path] = origin


def _inner(shape: Shape | None, name: str) -> Shape | None:
    if isinstance(shape, Named):
        return shape.inner
    if isinstance(shape, Table):
        found = keys_of(shape.cls).get(name)
        return found.shape if found is not None else None
    return None
