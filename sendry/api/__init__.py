"""The HTTP API: blueprint /api/v1, one module per noun.

Views read the request, make one call into a room and answer in JSON. `error_response` is the answer to anything that
goes wrong below /api, for the application to use where no view was reached (unknown address, wrong method).
"""

from __future__ import annotations

from flask import Blueprint

from sendry.api import dead_letters, entry, lane, measuring, messages, queue, sandbox, send
from sendry.api.errors import error_response

__all__ = ["blueprint", "error_response"]

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
blueprint.before_app_request(measuring.begin)
blueprint.after_app_request(measuring.count)
blueprint.before_request(entry.admit)
blueprint.register_error_handler(Exception, error_response)
for _noun in (send, messages, queue, dead_letters, sandbox):
    blueprint.register_blueprint(_noun.bp)
blueprint.record_once(lane.open_in)
