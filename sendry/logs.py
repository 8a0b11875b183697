"""The log: one JSON object a line (or one line of text) on standard output.

Promises: every line has ts, level, component, msg, and the message id where one is known; whatever a line holds, it
stays one line; fields that are named like secrets, and passwords inside URLs, come out masked. Libraries are heard
from WARNING up, since below that they tell of commands, statements and schedules.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime
from io import TextIOWrapper
from typing import Any, TextIO

message_id: ContextVar[str] = ContextVar("message_id", default="")
"""Public id of the message this task or thread works on; "" outside."""

MASK = "********"
_OWN = "sendry"
# aiosmtpd's log. It has unknown commands at WARNING, and what a client sent by mistake may be a password.
_QUIETER = ("mail.log", "mail.debug")
_SECRET = re.compile(
    r"password|passwd|secret|token|api_key|authorization|cookie|private_key|credential", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(://[^/@\s:]*:)[^/@\s]+@")
# What logging itself puts on a record; everything else came by `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What would break the line, or turn the letters of a terminal around; half of a surrogate pair has no UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HEAD = ("ts", "level", "component", "msg")
_LONGEST_VALUE = 4000
_DEEPEST_VALUE = 4


@contextmanager
def about(public_id: str) -> Iterator[None]:
    """Put a message id on every line logged inside."""
    token = message_id.set(public_id)
    try:
        yield
    finally:
        message_id.reset(token)


def configure(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send the log to standard output, or to `stream`, in place of where it went before.

    `level` is debug, info, warning or error and counts for Sendry's own lines; `format` is json or text.
    """
    out = sys.stdout if stream is None else stream
    if isinstance(out, TextIOWrapper):
        # Names and texts go beyond what the locale of a service can write.
        out.reconfigure(encoding="utf-8")
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, JsonLines | TextLines)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(_OWN).setLevel(level.upper())
    for name in _QUIETER:
        logging.getLogger(name).setLevel(logging.ERROR)


class JsonLines(logging.Formatter):
    """`{"ts": …, "level": …, "component": …, "msg": …, fields}`."""

    def __init__(self) -> None:
        super().__init__()
        self._encode = json.JSONEncoder(ensure_ascii=False, default=_plain, skipkeys=True).encode

    def format(self, record: logging.LogRecord) -> str:
        line = _line(record)
        try:
            return _escaped(self._encode(line))
        except (TypeError, ValueError, RecursionError):
            # A field that contains itself, or whose repr() fails: the rest of the line is worth having.
            return _escaped(self._encode({name: line[name] for name in _HEAD} | {"fields": "cannot be written"}))


class TextLines(logging.Formatter):
    """`2026-11-22T13:26:12.123Z INFO  queue: recipient deferred code=451`."""

    def format(self, record: logging.LogRecord) -> str:
        line = _line(record)
        fields = "".join(f" {name}={_word(value)}" for name, value in line.items() if name not in _HEAD)
        return f"{line['ts']} {line['level'].upper():<7} {line['component']}: {_escaped(line['msg'])}{fields}"


def _line(record: logging.LogRecord) -> dict[str, Any]:
    try:
        text = record.getMessage()
    except Exception:
        # A wrong placeholder in a log call is our mistake; the event behind it still counts.
        text = str(record.msg)
    line: dict[str, Any] = {
        "ts": _timestamp(record),
        "level": record.levelname.lower(),
        "component": record.name.removeprefix(f"{_OWN}."),
        "msg": _without_passwords(text),
    }
    known_id = message_id.get()
    if known_id:
        line["message_id"] = known_id
    for name, value in vars(record).items():
        if name not in _STANDARD:
            line[f"{name}_" if name in _HEAD else name] = _shown(name, value)
    if record.exc_info and record.exc_info[0] is not None:
        kind, error, _ = record.exc_info
        line["error"] = _without_passwords(f"{kind.__name__}: {error}")
        line["trace"] = _without_passwords(logging.Formatter().formatException(record.exc_info))
    if record.stack_info:
        line["stack"] = record.stack_info
    return line


def _timestamp(record: logging.LogRecord) -> str:
    seconds, milliseconds = divmod(int(record.created * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}Z"


def _shown(name: str, value: Any, depth: int = 0) -> Any:
    if _SECRET.search(name) and not isinstance(value, bool | int | float | None):
        return value and MASK
    if isinstance(value, str):
        text = _without_passwords(value)
        return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
    if isinstance(value, Mapping):
        if depth == _DEEPEST_VALUE:
            return "…"
        return {str(key): _shown(str(key), inner, depth + 1) for key, inner in value.items()}
    return value


def _without_passwords(text: str) -> str:
    return _URL_PASSWORD.sub(rf"\1{MASK}@", text) if "://" in text else text


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else str(_plain(value))
    return _escaped(text if re.fullmatch(r'[^\s"=]+', text) else json.dumps(text, ensure_ascii=False))


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
