"""Counting API requests: how many, how long, how they ended. Labels are route patterns, never addresses."""

from __future__ import annotations

import time
from typing import Final

from flask import Response
from flask.globals import request_ctx

from sendry.api.rooms import rooms

_BEGAN: Final = "sendry.began"
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ERRORS: Final = {400: "bad_request", 401: "auth_error", 403: "auth_error", 404: "not_found", 429: "rate_limited"}


def begin() -> None:
    """Note when a request came."""
    request_ctx.request.environ[_BEGAN] = time.perf_counter()


def count(response: Response) -> Response:
    """Count a request below /api when its answer is ready."""
    request = request_ctx.request  # the proxies of Flask cost more than all else here
    if not request.path.startswith("/api/"):
        return response
    method = request.method if request.method in _METHODS else "other"
    path = request.url_rule.rule if request.url_rule is not None else "unmatched"
    began = request.environ.get(_BEGAN)
    seconds = 0.0 if began is None else time.perf_counter() - began
    rooms().metrics.answered(method, path, response.status_code, seconds, kind_of(response))
    return response


def kind_of(response: Response) -> str:
    """The kind of error that an answer is, "" for none."""
    status = response.status_code
    if status < 400:
        return ""
    return _ERRORS.get(status) or ("client_error" if status < 500 else "server_error")
