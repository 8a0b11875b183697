"""What a process that answers HTTP is given to work with; kept at `app.extensions["sendry"]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sendry.access.guard import Guard
from sendry.access.sessions import Sessions
from sendry.access.users import Users
from sendry.config.tree import Config
from sendry.domains.registry import Directory
from sendry.intake.accept import Intake
from sendry.metrics import Metrics
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.sandbox.inbox import Inbox
from sendry.store.database import Store


@dataclass(frozen=True)
class Rooms:
    """The doors of the rooms below. Made once by `sendry.service`."""

    config: Config
    store: Store
    queue: Queue
    lookup: Lookup
    inbox: Inbox
    intake: Intake
    users: Users
    sessions: Sessions
    guard: Guard
    directory: Directory
    metrics: Metrics
    started_at: datetime
    ended: Callable[[], Sequence[str]] = tuple
    """Names of the parts of this process that should run and do not: "smtp", "delivery"."""
