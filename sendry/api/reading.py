"""From the octets of a request to a typed one, and from pydantic's findings to faults people can act on."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from flask import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from sendry.api.errors import ApiError, FieldFault, invalid
from sendry.api.schema import MISSING_FEATURE, AttachmentRequest, BatchRequest, SendRequest

M = TypeVar("M", bound=BaseModel)

_UNITS: Final = {"too_long": "entries", "too_short": "entries", "string_too_long": "characters"}
_TEXTS: Final = {
    "missing": "is required",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
}
_CONTENTS: Final = ("body", "html", "attachments")

NO_CONTENT: Final = FieldFault("body", "is required, unless there is html or an attachment")


def json_body(request: Request, limit: int) -> bytes:
    """The body of a JSON request. Raises 415 for another type and 413 above `limit` octets."""
    environ = request.environ
    # The plain case first: taking a media type apart costs as much as reading a small mail.
    if environ.get("CONTENT_TYPE") != "application/json" and request.mimetype != "application/json":
        raise ApiError(415, "unsupported_media_type", "Send the request with Content-Type: application/json.")
    length = request.content_length
    if length is not None and length > limit:
        raise too_large(limit)
    # A body of untold length is cut at the limit without a word: one octet more tells it from one that fits.
    request.max_content_length = limit + 1
    octets = request.get_data(cache=False)
    if len(octets) > limit:
        raise too_large(limit)
    return octets


def too_large(limit: int) -> ApiError:
    """413 that names the limit."""
    return ApiError(413, "too_large", f"The request is larger than the {limit} octets allowed here.")


def read(model: type[M], body: bytes, now: datetime) -> M:
    """The typed request, or 400 with everything that is wrong with it."""
    try:
        return model.model_validate_json(body, context={"now": now})
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_input=False), body) from None


def read_batch(body: bytes, now: datetime) -> list[SendRequest | ApiError]:
    """Each mail of a batch, typed or with its own refusal; 400 when the request as a whole is wrong."""
    try:
        return list(BatchRequest.model_validate_json(body, context={"now": now}).messages)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    if not all(len(found["loc"]) > 1 and found["loc"][0] == "messages" for found in errors):
        raise refusal(errors, body)
    by_place: dict[int | str, list[ErrorDetails]] = {}
    for found in errors:
        by_place.setdefault(found["loc"][1], []).append(found)
    values = from_json(body)["messages"]
    return [
        mail_refusal(by_place[place], mail, skip=2)
        if place in by_place
        else SendRequest.model_validate_json(to_json(mail), context={"now": now})
        for place, mail in enumerate(values)
    ]


def refusal(errors: Sequence[ErrorDetails], body: bytes) -> ApiError:
    """The 400 for what pydantic found in a whole request."""
    if errors[0]["type"] == "json_invalid":
        why = str(errors[0].get("ctx", {}).get("error", "")) or "it ends too early"
        return ApiError(400, "invalid_json", f"The body is not valid JSON: {why}.")
    return mail_refusal(errors, from_json(body))


def mail_refusal(errors: Sequence[ErrorDetails], mail: Any, skip: int = 0) -> ApiError:
    """The 400 for one mail, `mail` being what was given; the first `skip` steps of each path are left off."""
    if not isinstance(mail, dict):
        return invalid([FieldFault("", "must be an object")], "The mail must be a JSON object.")
    faults = [FieldFault(path_of(error["loc"][skip:]), _text(error, skip)) for error in errors]
    named = {error["loc"][skip] for error in errors}
    if not named & {"body", "html", "attachments", "messages"} and not any(map(mail.get, _CONTENTS)):
        faults.append(NO_CONTENT)
    elif all(error["type"] == MISSING_FEATURE for error in errors):
        names = ", ".join(fault.field for fault in faults)
        return ApiError(400, MISSING_FEATURE, f"Not yet available: {names}.", faults)
    return invalid(faults)


def path_of(steps: Sequence[int | str]) -> str:
    """`attachments[0].content` for ("attachments", 0, "content")."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":  # pydantic's mark for a fault in the name of an entry
            path += f".{step}" if path else str(step)
    return path


def _text(error: ErrorDetails, skip: int) -> str:
    kind: str = error["type"]
    if kind in _TEXTS:
        return _TEXTS[kind]
    if kind == "extra_forbidden":
        return _unknown(error["loc"][skip:])
    limits: dict[str, Any] = error.get("ctx", {})
    if kind in _UNITS:
        if "max_length" in limits:
            return f"may have at most {limits['max_length']} {_UNITS[kind]}"
        return f"must have at least {limits['min_length']} {_UNITS[kind].replace('entries', 'entry')}"
    return str(error["msg"])


def _unknown(steps: Sequence[int | str]) -> str:
    model = AttachmentRequest if len(steps) == 3 and steps[0] == "attachments" else SendRequest
    names = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(steps[-1]), names, n=1)
    return f"is not a known field; did you mean {near[0]}?" if near else "is not a known field"
