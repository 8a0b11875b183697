"""The one shape of an error: a sentence for people, a word for programs, and every fault with its field.

Promise: whatever goes wrong below /api, the caller gets this shape, and a cause we did not foresee is told in the
log only.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flask import Response
from peewee import PeeweeException
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from sendry.store.writer import StoreUnavailable

log = logging.getLogger(__name__)

RETRY_AFTER: Final = 5  # seconds a caller is asked to wait while the database does not take changes
_DISK_TROUBLE: Final = (StoreUnavailable, PeeweeException, sqlite3.Error, OSError)
# Code and sentence; where the sentence is empty, whoever refused has said why.
_BY_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("bad_request", "The request cannot be understood."),
    403: ("forbidden", ""),
    404: ("not_found", "There is nothing at this address; look at the path."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: ("too_large", "The request is larger than is allowed."),
    415: ("unsupported_media_type", "Send the request as application/json."),
}


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with one field: its path such as `attachments[0].content`, and a sentence part."""

    field: str
    message: str


class ApiError(Exception):
    """Ends a request with an error answer. `code` is what programs compare, `sentence` what people read."""

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        details: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.details = tuple(details)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """The answer as JSON."""
        details = [{"field": fault.field, "message": fault.message} for fault in self.details]
        return {"error": self.sentence, "code": self.code, "details": details}


def invalid(details: Sequence[FieldFault], sentence: str = "") -> ApiError:
    """400 for a request whose fields are wrong; all of them are named."""
    if not sentence:
        shown = "; ".join(f"{fault.field} {fault.message}" for fault in details[:3])
        rest = f"; and {len(details) - 3} more" if len(details) > 3 else ""
        sentence = f"The request is not valid: {shown}{rest}"
        sentence += "" if sentence.endswith("?") else "."
    return ApiError(400, "validation_failed", sentence, details)


def not_found(noun: str) -> ApiError:
    """404 for an id that names nothing."""
    return ApiError(404, "not_found", f"There is no {noun} with this id.")


def unavailable(sentence: str = "The mail cannot be stored right now; try again in a moment.") -> ApiError:
    """503 with Retry-After."""
    return ApiError(503, "unavailable", sentence, headers={"Retry-After": str(RETRY_AFTER)})


def error_response(error: Exception) -> Response:
    """The answer to any exception raised while a request below /api was served."""
    known = _known(error)
    response = Response(
        json.dumps(known.body(), ensure_ascii=False), known.status, known.headers, content_type="application/json"
    )
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _known(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        status = error.code or 500
        code, sentence = _BY_STATUS.get(status, ("http_error", ""))
        sentence = sentence or error.description or "The request failed."
        if isinstance(error, RequestEntityTooLarge) or status < 500:
            return ApiError(status, code, sentence)
    if isinstance(error, _DISK_TROUBLE) or type(error).__module__.partition(".")[0] == "psycopg":
        log.error("storage failed while a request was served", exc_info=error)
        return unavailable("The database does not answer right now; try again in a moment.")
    log.error("a request ended in an unforeseen error", exc_info=error)
    return ApiError(500, "internal_error", "Something went wrong here; the log of the server says more.")
