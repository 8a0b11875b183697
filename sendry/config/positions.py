"""Where in a TOML document each key and array item stands; tomllib does not say.

Pure. The text must already have passed tomllib: the scanner follows the grammar, it does not check it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
# Up to two quotes may stand right before the three that close: they belong to the text (TOML 1.0, «String»).
_BASIC_BLOCK = re.compile(r'"""(?:[^\\"]|\\.|"(?!""))*"{3,5}', re.DOTALL)
_LITERAL_BLOCK = re.compile(r"'''(?:[^']|'(?!''))*'{3,5}", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n]*")


def positions(text: str) -> Mapping[Path, int]:
    """Line numbers, from 1, of every table, key and array item of a valid TOML document, by its path.

    Tables of an array have their index in the path. A table opened twice ([a.b] before [a]) keeps its first line.
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._found: dict[Path, int] = {}
        self._last_of_array: dict[Path, int] = {}

    def scan(self) -> Mapping[Path, int]:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return self._found
            line = self._line()
            if self._text.startswith("[[", self._at):
                table = self._header(2)
                array = table
                index = self._last_of_array.get(array, -1) + 1
                self._last_of_array[array] = index
                self._found.setdefault(array, line)
                table = (*array, index)
                self._found[table] = line
            elif self._text.startswith("[", self._at):
                table = self._header(1)
                # A header of its own is a better place for the table than a longer one before it.
                self._found[table] = line
            else:
                self._pair(table)

    def _header(self, brackets: int) -> Path:
        line = self._line()
        self._at += brackets
        names = self._names()
        self._at += brackets
        # Inside an array of tables a header means the array's last table (TOML 1.0, «Array of Tables»).
        path: Path = ()
        for number, name in enumerate(names, 1):
            path = (*path, name)
            self._found.setdefault(path, line)
            is_the_array_itself = brackets == 2 and number == len(names)
            if path in self._last_of_array and not is_the_array_itself:
                path = (*path, self._last_of_array[path])
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for name in self._names():
            path = (*path, name)
            self._found.setdefault(path, line)
        self._at += 1
        self._skip(_SPACE)
        self._value(path)

    def _names(self) -> list[str]:
        names: list[str] = []
        while True:
            self._skip(_SPACE)
            names.append(self._name())
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return names
            self._at += 1

    def _name(self) -> str:
        if self._text.startswith('"', self._at):
            quoted = self._skip(_BASIC)
            if "\\" not in quoted:
                return quoted[1:-1]
            import tomllib

            return str(tomllib.loads(f"name = {quoted}")["name"])
        if self._text.startswith("'", self._at):
            return self._skip(_LITERAL)[1:-1]
        return self._skip(_BARE_KEY)

    def _value(self, path: Path) -> None:
        text = self._text
        if text.startswith('"""', self._at):
            self._skip(_BASIC_BLOCK)
        elif text.startswith("'''", self._at):
            self._skip(_LITERAL_BLOCK)
        elif text.startswith('"', self._at):
            self._skip(_BASIC)
        elif text.startswith("'", self._at):
            self._skip(_LITERAL)
        elif text.startswith("[", self._at):
            self._array(path)
        elif text.startswith("{", self._at):
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while not self._closed("]"):
            item = (*path, index)
            self._found[item] = self._line()
            self._value(item)
            index += 1
            self._comma()

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while not self._closed("}"):
            self._pair(path)
            self._comma()

    def _closed(self, bracket: str) -> bool:
        self._skip(_BLANK)
        if self._at >= len(self._text):
            return True
        if self._text.startswith(bracket, self._at):
            self._at += 1
            return True
        return False

    def _comma(self) -> None:
        self._skip(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"line {self._line()}: this is no TOML")
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        return bisect_right(self._line_starts, self._at)
