"""Counting API requests: how many, how long, how they ended. Labels are route patterns, never addresses."""

from __future__ import annotations

import time
from typing import Final

from flask import Response, g, request

from sendry.api.rooms import rooms

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ERRORS: Final = {400: "bad_request", 401: "auth_error", 403: "auth_error", 404: "not_found", 429: "rate_limited"}


def begin() -> None:
    """Note when a request came."""
    g.began = time.perf_counter()


def count(response: Response) -> Response:
    """Count a request below /api when its answer is ready."""
    if not request.path.startswith("/api/"):
        return response
    metrics = rooms().metrics
    method = request.method if request.method in _METHODS else "other"
    path = request.url_rule.rule if request.url_rule is not None else "unmatched"
    status = response.status_code
    metrics.add("sendry_api_requests", method, path, str(status))
    if status >= 400:
        kind = _ERRORS.get(status) or ("client_error" if status < 500 else "server_error")
        metrics.add("sendry_api_errors", kind)
    if "began" in g:
        metrics.observe("sendry_api_request_duration_seconds", time.perf_counter() - g.began, method, path)
    return response
