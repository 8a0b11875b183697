"""What needs no sign-in and no key: the state of health.

Promise: /health costs the same however full the queue is, tells figures and nothing else, and says 503 as soon as
mail could not be taken or sent.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import cast

from flask import Blueprint, Response, current_app

from sendry import __version__
from sendry.rooms import Rooms

log = logging.getLogger(__name__)

blueprint = Blueprint("public", __name__)


@blueprint.get("/health")
@blueprint.get("/api/v1/health")
def health() -> Response:
    """Whether this process works: 200 with status ok, or 503 with status error and what is down."""
    here = cast(Rooms, current_app.extensions["sendry"])
    down: list[str] = []
    queue = dict.fromkeys(("pending", "sending", "delivered", "failed", "deferred", "total"), 0)
    try:
        counts = here.lookup.counts()
        queue = {name: getattr(counts, name) for name in queue}
    except Exception:
        log.exception("the database does not answer a question about its health")
        down.append("database")
    down += here.ended()
    body: dict[str, object] = {
        "status": "error" if down else "ok",
        "version": __version__,
        "uptime": int((datetime.now(UTC) - here.started_at).total_seconds()),
        "queue": queue,
    }
    if down:
        body["down"] = down
    return Response(
        json.dumps(body), 503 if down else 200, {"Cache-Control": "no-store"}, content_type="application/json"
    )
