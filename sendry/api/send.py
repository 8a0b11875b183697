"""POST /send and /send/batch: mail in, ids out, once it is on disk."""

from __future__ import annotations

import json
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Request, Response
from flask.globals import request_ctx

from sendry.api.composing import Composer, domain_not_allowed
from sendry.api.entry import origin
from sendry.api.errors import ApiError, FieldFault, unavailable
from sendry.api.reading import json_body, read, read_batch
from sendry.api.rooms import rooms
from sendry.api.schema import MISSING_FEATURE, SendRequest
from sendry.config import Config
from sendry.intake.policy import DomainNotAllowed
from sendry.mail.address import domain_of
from sendry.mail.envelope import Envelope, Origin
from sendry.mail.reply import Refused
from sendry.rooms import Rooms

ROOM_AROUND: Final = 512 * 1024  # octets of a request beside the mail itself
COMMIT_WITHIN: Final = 25.0  # seconds; the caller's own patience seldom lasts longer

bp = Blueprint("send", __name__)


@bp.post("/send")
def send() -> Response:
    """Take one mail. With a key and a plain request `sendry.api.lane` answers before this is reached."""
    asked, here = request_ctx.request, rooms()
    _refuse_idempotency_key(asked)
    taken = take(here, origin(), json_body(asked, largest_request(here.config)), datetime.now(UTC))
    return Response(taken, 202, content_type="application/json")


def take(here: Rooms, caller: Origin, octets: bytes, now: datetime) -> bytes:
    """Take the mail of one request body; gives the answer's body. Raises ApiError and what the database raises."""
    wanted = read(SendRequest, octets, now)
    composer = Composer(here.config, here.directory, here.store.spool, caller, now)
    try:
        envelope = composer.envelope(wanted)
        identity = here.intake.accept(envelope, now).result(COMMIT_WITHIN)
    except Refused as refused:
        composer.discard()
        raise _as_error(refused, envelope) from None
    except FutureTimeout:
        raise _too_slow() from None
    except BaseException:
        composer.discard()
        raise
    return b'{"id":"%s","status":"pending"}' % identity.encode()


@bp.post("/send/batch")
def send_batch() -> Response:
    """Take up to 1,000 mails: those that are right in one transaction, the others with what is wrong with them."""
    asked, here, now = request_ctx.request, rooms(), datetime.now(UTC)
    _refuse_idempotency_key(asked)
    composer = Composer(here.config, here.directory, here.store.spool, origin(), now)
    results: list[dict[str, Any]] = []
    envelopes: list[Envelope] = []
    places: list[int] = []
    try:
        for place, wanted in enumerate(read_batch(json_body(asked, largest_request(here.config)), now)):
            try:
                if isinstance(wanted, ApiError):
                    raise wanted
                envelopes.append(composer.envelope(wanted))
                places.append(place)
                results.append({})
            except ApiError as error:
                results.append({"index": place, **error.body()})
        taken = here.intake.accept_many(envelopes, now).result(COMMIT_WITHIN) if envelopes else []
    except Refused as refused:
        composer.discard()
        raise _as_error(refused, None) from None
    except FutureTimeout:
        raise _too_slow() from None
    except BaseException:
        composer.discard()
        raise
    for place, identity in zip(places, taken, strict=True):
        results[place] = {"index": place, "id": identity, "status": "pending"}
    answer = {"accepted": len(taken), "rejected": len(results) - len(taken), "results": results}
    return Response(json.dumps(answer, ensure_ascii=False), 202, content_type="application/json")


def largest_request(config: Config) -> int:
    """Octets of the largest request: a mail of full size in base64 and what stands around it."""
    return config.smtp.max_message_bytes * 4 // 3 + ROOM_AROUND


def _refuse_idempotency_key(asked: Request) -> None:
    # Whoever sends one relies on it when they try again; taking it and doing nothing would send twice.
    if "HTTP_IDEMPOTENCY_KEY" in asked.environ:
        raise ApiError(
            400, MISSING_FEATURE, "Idempotency-Key is not yet available; leave the header out.",
            [FieldFault("Idempotency-Key", "is not yet available; leave it out")],
        )  # fmt: skip


def _too_slow() -> ApiError:
    # The files stay: the transaction may still go through.
    return unavailable("The mail was not on disk in time; it may still be taken, look it up before you try again.")


def _as_error(refused: Refused, envelope: Envelope | None) -> ApiError:
    """What the intake refused, in the words of the API."""
    if isinstance(refused, DomainNotAllowed):
        return domain_not_allowed(domain_of(envelope.sender) if envelope else "a domain")
    if refused.reply.is_temporary:
        return unavailable(refused.reply.text)
    return ApiError(400, "refused", refused.reply.text)
