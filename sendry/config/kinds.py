"""Kinds of values a key can have: how each is read from TOML or from text, and written back.

Pure. A kind either returns the typed value or raises Wrong, which says what is allowed; it never guesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Generic, TypeVar

from sendry.config import values
from sendry.config.values import HostPort, IpAddress, Network

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class Wrong(ValueError):
    """A value that its kind refuses. For lists, `items` holds (index, value, refusal) of every wrong item."""

    def __init__(self, allowed: str, reason: str = "", items: Sequence[tuple[int, object, Wrong]] = ()) -> None:
        super().__init__(allowed)
        self.allowed = allowed
        self.reason = reason
        self.items = tuple(items)


class Kind(Generic[T]):
    """One kind of value. `allowed` is the end of the sentence «allowed is …»."""

    allowed: str

    def parse(self, raw: object) -> T:
        """The typed value of what tomllib gave. Raises Wrong."""
        raise NotImplementedError

    def from_text(self, text: str) -> object:
        """What an environment variable says, as tomllib would have given it. Raises Wrong."""
        return text

    def plain(self, value: T) -> object:
        """The value as TOML and JSON can hold it; parse() of it gives the value again."""
        return value


class Boolean(Kind[bool]):
    allowed = "true or false"

    def parse(self, raw: object) -> bool:
        if not isinstance(raw, bool):
            raise Wrong(self.allowed)
        return raw

    def from_text(self, text: str) -> object:
        word = text.strip().lower()
        if word in ("true", "yes", "on", "1"):
            return True
        if word in ("false", "no", "off", "0"):
            return False
        raise Wrong(self.allowed)


class Integer(Kind[int]):
    def __init__(self, minimum: int = 0, maximum: int = 2**31 - 1, note: str = "") -> None:
        self._minimum, self._maximum = minimum, maximum
        self.allowed = f"a whole number from {minimum} to {maximum}{note and f' ({note})'}"

    def parse(self, raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not self._minimum <= raw <= self._maximum:
            raise Wrong(self.allowed)
        return raw

    def from_text(self, text: str) -> object:
        if not re.fullmatch(r"-?[0-9]{1,18}", text.strip()):
            raise Wrong(self.allowed)
        return int(text)


class Fraction(Kind[float]):
    """A probability."""

    allowed = "a number from 0 to 1"

    def parse(self, raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= 1:
            raise Wrong(self.allowed)
        return float(raw)

    def from_text(self, text: str) -> object:
        try:
            return float(text)
        except ValueError:
            raise Wrong(self.allowed) from None


class Duration(Kind[timedelta]):
    def __init__(self, may_be_off: bool = True) -> None:
        self._may_be_off = may_be_off
        self.allowed = "a duration such as 30s, 5m, 1h or 7d" + (", 0 for off" if may_be_off else ", above 0")

    def parse(self, raw: object) -> timedelta:
        if isinstance(raw, int) and not isinstance(raw, bool):
            if raw:
                raise Wrong(self.allowed, "the unit is missing, and the value needs quotes")
            raw = "0"
        if not isinstance(raw, str):
            raise Wrong(self.allowed)
        try:
            value = values.parse_duration(raw.strip())
        except ValueError as error:
            raise Wrong(self.allowed, str(error)) from None
        if not value and not self._may_be_off:
            raise Wrong(self.allowed)
        return value

    def plain(self, value: timedelta) -> object:
        return values.format_duration(value) if value else 0


class Choice(Kind[E]):
    def __init__(self, members: type[E], aliases: dict[str, E] | None = None) -> None:
        self._members = {member.value: member for member in members}
        self._aliases = aliases or {}
        self.allowed = _one_of(self._members)

    def parse(self, raw: object) -> E:
        word = raw.strip().lower() if isinstance(raw, str) else ""
        found = self._members.get(word) or self._aliases.get(word)
        if found is None:
            raise Wrong(self.allowed)
        return found

    def plain(self, value: E) -> object:
        return value.value


class Text(Kind[str]):
    """One line of text; `convert` checks it and gives the normal form. "" stands for «not set» where allowed."""

    def __init__(self, allowed: str = "text", convert: Callable[[str], str] = str, may_be_empty: bool = True) -> None:
        self._convert, self._may_be_empty = convert, may_be_empty
        self.allowed = allowed

    def parse(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise Wrong(self.allowed)
        if not raw and self._may_be_empty:
            return ""
        return _converted(self, raw, self._convert)


class Parsed(Kind[T]):
    """A value written as text: never empty."""

    def __init__(self, allowed: str, convert: Callable[[str], T]) -> None:
        self._convert = convert
        self.allowed = allowed

    def parse(self, raw: object) -> T:
        return _converted(self, raw, self._convert)

    def plain(self, value: T) -> object:
        return str(value)


class Optional(Kind[T | None]):
    """The inner kind, or "" for None."""

    def __init__(self, inner: Kind[T], empty_means: str) -> None:
        self._inner = inner
        self.allowed = f'{inner.allowed}, or "" for {empty_means}'

    def parse(self, raw: object) -> T | None:
        if raw == "":
            return None
        try:
            return self._inner.parse(raw)
        except Wrong as wrong:
            raise Wrong(self.allowed, wrong.reason) from None

    def plain(self, value: T | None) -> object:
        return "" if value is None else self._inner.plain(value)


class ListOf(Kind[tuple[T, ...]]):
    def __init__(self, item: Kind[T]) -> None:
        self._item = item
        self.allowed = f"a list, each item {item.allowed}"

    def parse(self, raw: object) -> tuple[T, ...]:
        if not isinstance(raw, list):
            raise Wrong(self.allowed)
        good: list[T] = []
        bad: list[tuple[int, object, Wrong]] = []
        for index, item in enumerate(raw):
            try:
                good.append(self._item.parse(item))
            except Wrong as wrong:
                bad.append((index, item, wrong))
        if bad:
            raise Wrong(self.allowed, items=bad)
        return tuple(good)

    def from_text(self, text: str) -> object:
        if text.strip().startswith("["):
            found = toml_value(text)
            if not isinstance(found, list):
                raise Wrong(self.allowed)
            return found
        return [self._item.from_text(part.strip()) for part in text.split(",") if part.strip()]

    def plain(self, value: tuple[T, ...]) -> object:
        return [self._item.plain(item) for item in value]


def toml_value(text: str) -> object:
    """The value of a piece of TOML such as `["a"]` or `{ a = 1 }`. Raises Wrong."""
    import tomllib

    try:
        document = tomllib.loads(f"value = {text.strip()}")
    except tomllib.TOMLDecodeError as error:
        raise Wrong("a TOML value", str(error)) from None
    if len(document) != 1:
        raise Wrong("a TOML value", "there is more than one value")
    return document["value"]


def _converted(kind: Kind[T], raw: object, convert: Callable[[str], T]) -> T:
    if not isinstance(raw, str) or not raw.strip():
        raise Wrong(kind.allowed)
    if any(ord(char) < 32 or ord(char) == 127 for char in raw):
        raise Wrong(kind.allowed, "it holds a control character or line break")
    try:
        return convert(raw)
    except ValueError as error:
        raise Wrong(kind.allowed, str(error)) from None


def _one_of(words: dict[str, E]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


def _metrics_path(text: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
        raise ValueError("it must begin with / and hold no query")
    return text


def _database_url(text: str) -> str:
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("only PostgreSQL is known; for SQLite leave it empty and set storage.path")
    return text


def _header_name(text: str) -> str:
    if not re.fullmatch(r"[!-9;-~]{1,76}", text):
        raise ValueError("this is no header name")
    return text


BOOLEAN = Boolean()
FRACTION = Fraction()
COUNT = Integer(minimum=0)
LIMIT = Integer(minimum=0, note="0 = unlimited")
POSITIVE = Integer(minimum=1)
PORT = Integer(minimum=1, maximum=65535)
DURATION = Duration()
INTERVAL = Duration(may_be_off=False)
TEXT = Text()
DOMAIN = Text("a domain name such as example.com", values.parse_domain)
HOST_NAME = Text("a host name such as mail.example.com", values.parse_domain, may_be_empty=False)
MAILBOX = Parsed("an address such as ops@example.com", values.parse_mailbox)
SENDER = Text("an address such as info@example.com", values.parse_mailbox)
SELECTOR = Text("a DKIM selector such as sendry or mail2026", values.parse_selector)
WEB_URL = Text("a URL such as https://mail.example.com", values.parse_web_url)
DATABASE_URL = Text("a URL such as postgresql://user:password@host/database", _database_url)
METRICS_PATH = Text("a path such as /metrics", _metrics_path, may_be_empty=False)
HEADER_NAME = Parsed("a header name such as X-Mailer", _header_name)
FILE = Parsed[Path]("the path of a file", Path)
OPTIONAL_FILE = Optional(FILE, "none")
LISTENER: Kind[HostPort | None] = Optional(Parsed("host:port or :port", values.parse_host_port), "no such listener")
SMART_HOST: Kind[HostPort | None] = Optional(
    Parsed("host:port such as smtp.example.net:587", values.parse_remote), "none"
)
NETWORK: Kind[Network] = Parsed("an IP address or a network such as 10.0.0.0/8", values.parse_network)
NETWORKS = ListOf(NETWORK)
IP: Kind[IpAddress] = Parsed("an IP address", ip_address)
IPS = ListOf(IP)
NAMESERVERS = ListOf(Parsed("ip or ip:port", values.parse_nameserver))
MAILBOXES = ListOf(MAILBOX)
DOMAINS = ListOf(Parsed("a domain name such as example.com", values.parse_domain))
WORDS = ListOf(Parsed("text", str))
HEADER_NAMES = ListOf(HEADER_NAME)
