"""The short way of POST /send: answered before Flask.

Programs call it thousands of times a second, and the machinery around a view costs more than checking, composing and
storing the mail. Promise: it answers as the view does, by the same functions; whatever is not the plain case (another
content type, a missing or wrong key, a blocked caller, an installation without key or with `api.allowed_ips`) is
handed on untouched and takes the usual way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, cast

from flask import Flask
from flask.blueprints import BlueprintSetupState

from sendry.access.keys import RootKey, client_ip, shown_key
from sendry.api.errors import error_response
from sendry.api.measuring import kind_of
from sendry.api.send import largest_request, take
from sendry.mail.envelope import Origin, OriginKind
from sendry.rooms import Rooms

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

PATH: Final = "/api/v1/send"
_HEADERS: Final = (
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)


def open_in(state: BlueprintSetupState) -> None:
    """Lay the lane before the application that the blueprint is registered with."""
    app = cast(Flask, state.app)
    app.wsgi_app = before(app.wsgi_app, cast(Rooms, app.extensions["sendry"]))  # type: ignore[assignment,method-assign]  # the place Flask has for it


def before(app: WsgiApp, here: Rooms) -> WsgiApp:
    """`app`, with the plain case of POST /send taken out."""
    config = here.config
    if not config.api.api_key or not config.needs_sign_in or config.api.allowed_ips:
        return app
    key, trusted, limit = RootKey(config.api.api_key), config.api.trusted_proxies, largest_request(config)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            return app(environ, start_response)
        began, now = time.perf_counter(), datetime.now(UTC)
        length, ip = _length(environ), client_ip(environ, trusted)
        if (
            not 0 < length <= limit
            or not key.admits(shown_key(environ))
            or here.guard.is_blocked(ip, "", now) is not None
        ):
            return app(environ, start_response)
        octets = environ["wsgi.input"].read(length)
        try:
            body = take(here, Origin(OriginKind.API, "root", ip, may_relay=True), octets, now)
        except Exception as error:
            response = error_response(error)
            here.metrics.answered("POST", PATH, response.status_code, time.perf_counter() - began, kind_of(response))
            return response(environ, start_response)
        here.metrics.answered("POST", PATH, 202, time.perf_counter() - began, "")
        start_response("202 ACCEPTED", [*_HEADERS, ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _length(environ: dict[str, Any]) -> int:
    """Octets of the body of a plain request, -1 for any other."""
    length = environ.get("CONTENT_LENGTH", "")
    if (
        environ["REQUEST_METHOD"] != "POST"
        or environ.get("CONTENT_TYPE") != "application/json"
        or "HTTP_IDEMPOTENCY_KEY" in environ
        or not (length.isascii() and length.isdigit())
    ):
        return -1
    return int(length)
