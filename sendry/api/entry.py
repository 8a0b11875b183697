"""Who may use the API: the root key, or nobody's where the configuration allows that.

Runs before every route. Promises: no key is compared while its caller is blocked, a wrong key counts against the
caller's address, and without a key nothing is answered unless the configuration says so.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache

from flask import g
from flask.globals import request_ctx

from sendry.access.keys import RootKey, client_ip, shown_key
from sendry.api.errors import ApiError
from sendry.api.rooms import rooms
from sendry.mail.envelope import Origin, OriginKind

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sendry"'}


def admit() -> None:
    """Let the caller in, or end the request with 401 or 429. Afterwards `origin()` tells who it is."""
    here, environ = rooms(), request_ctx.request.environ
    config = here.config
    ip = client_ip(environ, config.api.trusted_proxies)
    if config.allows_anonymous_api:
        g.origin = Origin(OriginKind.API, "anonymous", ip, may_relay=True)
        return
    now = datetime.now(UTC)
    blocked_until = here.guard.is_blocked(ip, "", now)
    if blocked_until is not None:
        wait = max(1, math.ceil((blocked_until - now).total_seconds()))
        raise ApiError(
            429, "too_many_failures", "Too many wrong keys came from this address; try again later.",
            headers={"Retry-After": str(wait)},
        )  # fmt: skip
    key = shown_key(environ)
    if not key:
        sentence = "This needs an API key: send it as Authorization: Bearer KEY, or as X-API-Key."
        if not config.api.api_key:
            sentence = "No API key is set here, so nobody may come in; set api.api_key."
        raise ApiError(401, "unauthorized", sentence, headers=_CHALLENGE)
    if not _root_key(config.api.api_key).admits(key):
        here.guard.failed(ip, "", now)
        raise ApiError(401, "unauthorized", "This API key is not valid here.", headers=_CHALLENGE)
    g.origin = Origin(OriginKind.API, "root", ip, may_relay=True)


def origin() -> Origin:
    """Who hands in the mail of this request."""
    found: Origin = g.origin
    return found


@lru_cache(maxsize=4)
def _root_key(key: str) -> RootKey:
    return RootKey(key)
