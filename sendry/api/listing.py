"""What lists have in common: the parameters of a query, and the shape of the answer."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from flask import Response, request

from sendry.api.errors import ApiError, FieldFault, invalid, not_found
from sendry.api.schema import RFC3339
from sendry.store.ids import from_text

DEFAULT_LIMIT: Final = 50
MOST: Final = 500
LONGEST_QUERY: Final = 1000


class Query:
    """The parameters of a GET or DELETE, read one by one; `done` ends with 400 when any was wrong or unknown."""

    def __init__(self) -> None:
        self._given = request.args
        self._known: set[str] = set()
        self._faults: list[FieldFault] = []

    def text(self, name: str) -> str:
        """A text, "" when it is not given."""
        self._known.add(name)
        values = self._given.getlist(name)
        if len(values) > 1:
            self._faults.append(FieldFault(name, "may be given only once"))
        value = values[0].strip() if values else ""
        if len(value) > LONGEST_QUERY or "\0" in value:
            self._faults.append(FieldFault(name, f"may have at most {LONGEST_QUERY} characters, and no NUL"))
            return ""
        return value

    def choice(self, name: str, allowed: Collection[str]) -> str:
        """One of `allowed`, "" when it is not given."""
        value = self.text(name)
        if value and value not in allowed:
            self._faults.append(FieldFault(name, f"must be one of {', '.join(allowed)}"))
            return ""
        return value

    def moment(self, name: str) -> datetime | None:
        """A time with its zone, None when it is not given."""
        value = self.text(name).replace(" ", "+")  # a plus sign that was not escaped
        if not value:
            return None
        if RFC3339.fullmatch(value):
            try:
                return datetime.fromisoformat(value.upper())
            except ValueError:
                pass
        self._faults.append(FieldFault(name, "must be a time with its zone, as in 2030-12-31T23:59:00Z"))
        return None

    def limit(self) -> int:
        """How many entries are wanted, 1 to 500."""
        value = self.text("limit")
        if not value:
            return DEFAULT_LIMIT
        if not (value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= MOST):
            self._faults.append(FieldFault("limit", f"must be a whole number from 1 to {MOST}"))
            return DEFAULT_LIMIT
        return int(value)

    def cursor(self) -> str:
        """The `next_cursor` of the page before, "" for the first page."""
        value = self.text("cursor")
        if value and from_text(value) is None:
            self._faults.append(FieldFault("cursor", "must be the next_cursor of the page before"))
        return value

    def done(self) -> None:
        """Raises 400 with all that was wrong."""
        unknown = sorted(set(self._given) - self._known)
        self._faults += [FieldFault(name, "is not a known parameter") for name in unknown]
        if self._faults:
            raise invalid(self._faults)


def answer(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(json.dumps(value, ensure_ascii=False), status, content_type="application/json")


def page(
    items: Sequence[Any], next_cursor: str, total: int | None, *, name: str = "items", **more: object
) -> Response:
    """A list. `total` is null when there are too many to count, `next_cursor` at the end."""
    return answer({**more, name: items, "total": total, "next_cursor": next_cursor or None})


def no_body_expected() -> None:
    """Acts take no body; an empty object is let pass, since many clients send one."""
    if request.content_length and request.content_length > 2:
        raise ApiError(400, "bad_request", "This takes no body.")


def number_of(identity: str, noun: str) -> int:
    """The number behind an id in a path, or 404."""
    number = from_text(identity)
    if number is None:
        raise not_found(noun)
    return number
