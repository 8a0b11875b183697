"""Small builders: a test names only what it is about, everything else is as in any mail.

    queue = make.queue(store)
    message = make.message(queue, "anna@example.org", "boris@example.net", tags=("news",))

Nothing here reads the clock: what is not given happens at NOW.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from typing import Any

from sendry.config import Config, loads
from sendry.domains.registry import Directory
from sendry.intake.accept import Intake
from sendry.mail.address import domain_of
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.queue.inflight import InFlight
from sendry.queue.line import Queue
from sendry.queue.states import Route
from sendry.queue.work import NewMessage, NewRecipient, Result, Tried, Work
from sendry.store.database import Store
from sendry.store.ids import IdSource, floor_of
from sendry.store.writer import Transaction

NOW = datetime(2026, 3, 18, 14, 32, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
STRANGER = Origin(OriginKind.SMTP, client_ip="198.51.100.7")
USER = Origin(OriginKind.SMTP, name="app", client_ip="192.0.2.10", may_relay=True)
SENDRY = Origin(OriginKind.SENDRY, may_relay=True)

_numbers = count(1)


SOON = 20
"""Seconds until a test gives up on an answer that should come at once."""


@contextmanager
def held_up(store: Store) -> Iterator[None]:
    """While the body runs, the writer is busy with one change, and what is handed in waits for the next commit."""
    busy, go = threading.Event(), threading.Event()

    def wait(_tx: Transaction) -> None:
        busy.set()
        assert go.wait(SOON)

    holding = store.writer.call(wait)
    assert busy.wait(SOON)
    try:
        yield
    finally:
        go.set()
    holding.result(SOON)


# Mail


def head(
    *, sender: str = "anna@example.com", to: str = "boris@example.org", subject: str = "Hello", more: str = ""
) -> bytes:
    """A header block with its empty line; `more` are further fields, each with its CRLF."""
    return (
        f"From: Anna <{sender}>\r\nTo: {to}\r\nSubject: {subject}\r\n"
        f"Date: {format_datetime(NOW)}\r\nMessage-ID: <{next(_numbers)}@client.example.com>\r\n{more}\r\n"
    ).encode()


def content(body: bytes = b"Good day\r\n", **fields: str) -> Content:
    """Small content; `fields` are those of `head`."""
    return Content(head(**fields), body)


def spooled(store: Store, body: bytes, **fields: str) -> Content:
    """Content as the listener hands it in when it is large: the whole mail in a file, the head beside it."""
    block = head(**fields)
    file = store.spool.create()
    file.write(block)
    file.write(body)
    file.sync()
    return Content(block, spool=file.name, spool_offset=len(block), spool_size=len(body))


def envelope(*recipients: str, sender: str = "anna@example.com", origin: Origin = USER, **changes: Any) -> Envelope:
    """A mail on its way in, to boris@example.org unless told; `changes` are fields of Envelope."""
    made = Envelope(
        sender=sender,
        recipients=tuple(map(Addressee, recipients or ("boris@example.org",))),
        content=content(sender=sender or "anna@example.com"),
        origin=origin,
    )
    return replace(made, **changes)


# The line


def queue(store: Store, node: int = 1) -> Queue:
    """The line as a process with this node number has it."""
    notes = InFlight(store.spool.folder.parent / f"in-flight-{node}")
    return Queue(store, IdSource(node), node, notes)


def id_at(moment: datetime) -> int:
    """An id as it would have been given then."""
    return floor_of(int(moment.timestamp() * 1000)) + next(_numbers)


def message(
    queue: Queue, *addresses: str, route: Route = Route.MX, now: datetime = NOW, **changes: Any
) -> NewMessage:
    """A message as intake hands it over; `changes` are fields of NewMessage."""
    made = NewMessage(
        id=queue.ids.next(),
        sender="anna@example.com",
        header_from="Anna <anna@example.com>",
        subject="Hello",
        header_id=f"{next(_numbers)}@example.com",
        domain="example.com",
        mode="production",
        origin=USER,
        content=content(),
        recipients=tuple(
            NewRecipient(address, domain_of(address), route) for address in addresses or ("boris@example.org",)
        ),
        due=now,
        now=now,
    )
    return replace(made, **changes)


def enqueued(queue: Queue, *addresses: str, **changes: Any) -> NewMessage:
    """A message that is in the line."""
    made = message(queue, *addresses, **changes)
    queue.enqueue_one(made).result()
    return made


def tried(code: int = 250, response: str = "OK", **changes: Any) -> Tried:
    """One try at one host."""
    enhanced = {2: "2.0.0", 4: "4.2.0", 5: "5.1.1"}.get(code // 100, "")
    return replace(
        Tried(NOW, 120, host="mx.example.org", ip="192.0.2.25", code=code, enhanced=enhanced, response=response),
        **changes,
    )


def result(work: Work, outcome: str = "delivered", **changes: Any) -> Result:
    """How that work ended, with one try that fits the outcome; what is put off is due an hour later."""
    codes = {"delivered": 250, "deferred": 451, "failed": 550, "unknown": 0}
    due = LATER if outcome in ("deferred", "unknown") else None
    return replace(Result(work, outcome, (tried(codes[outcome], outcome),), next_attempt_at=due), **changes)


def settled(queue: Queue, work: Sequence[Work], outcome: str = "delivered", **changes: Any) -> list[int]:
    """Those pieces of work have ended so; gives the recipients that were lost."""
    return queue.settle([result(item, outcome, **changes) for item in work], NOW).result()


# Rooms above


def config(text: str = "", *, domain: str = "example.com") -> Config:
    """The configuration of that TOML text, with `smtp.domain` set; `domain=""` is the sandbox profile."""
    variables = {"SENDRY_SMTP__DOMAIN": domain, "SENDRY_SERVER__HOSTNAME": "mail.example.com"}
    if "[api]" not in text and "api." not in text:
        variables["SENDRY_API__LISTEN_ADDR"] = "127.0.0.1:8080"  # where others reach it, it needs a key
    return loads(text, variables)


def intake(queue: Queue, settings: Config | None = None) -> Intake:
    """The door for mail to that line."""
    settings = settings or config()
    return Intake(settings, Directory(settings), queue)
