"""The periodic work, as one visible list. APScheduler only ticks; what is due is asked of the tables.

Every job may run on several nodes at once without harm: each changes rows by their state.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sendry.access.guard import Guard
from sendry.config.tree import Config
from sendry.queue import retention
from sendry.queue.line import Queue
from sendry.store import nodes
from sendry.store.database import Store

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

log = logging.getLogger(__name__)

HEARTBEAT = timedelta(seconds=30)
GUARD_EVERY = timedelta(seconds=10)
CAPTURED_EVERY = timedelta(minutes=1)
ORPHANS_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of periodic work; `run` is called with the time."""

    name: str
    every: timedelta
    run: Callable[[datetime], object]


def of_line(config: Config, store: Store, queue: Queue, guard: Guard) -> list[Job]:
    """The jobs that every installation needs, whatever its roles."""
    kept, dead = config.storage.retention, config.dlq

    def heartbeat(now: datetime) -> None:
        try:
            gone = nodes.show(store, queue.node, now)
        except nodes.NumberLost:
            # Ids and leases of two processes must never bear the same number: end in order, be started anew.
            log.critical("another process has the number of this one: stopping")
            os.kill(os.getpid(), signal.SIGTERM)
            return
        queue.recover(now, gone)

    def delivered(now: datetime) -> int:
        if not kept.delivered_max_age:
            return 0
        return retention.until_done(lambda: retention.drop_delivered(store, now, kept.delivered_max_age))

    def captured(now: datetime) -> int:
        return retention.until_done(
            lambda: retention.drop_captured(store, now, kept.captured_max_age, kept.captured_max_count)
        )

    def dead_letters(now: datetime) -> int:
        if not dead.max_age and not dead.max_count:
            return 0
        return retention.until_done(lambda: retention.drop_dead_letters(store, now, dead.max_age, dead.max_count))

    return [
        Job("heartbeat", HEARTBEAT, heartbeat),
        # Other processes block guessers too: what they know is learnt from the table.
        Job("guard", GUARD_EVERY, guard.load),
        Job("sweep", config.queue.process_interval, lambda _now: queue.wake()),
        Job("cleanup.delivered", kept.cleanup_interval, delivered),
        Job("cleanup.captured", min(CAPTURED_EVERY, kept.cleanup_interval), captured),
        Job("cleanup.dead_letters", dead.cleanup_interval, dead_letters),
        Job("cleanup.orphans", ORPHANS_EVERY, lambda now: retention.drop_orphans(store, now)),
    ]


class Schedule:
    """Runs jobs until stopped. A job that fails is logged and runs again at its next time."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = jobs
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begin ticking. The first run of each job comes after its interval."""
        # Half of a second of a start would go into this import; the listeners are up before it.
        from apscheduler.executors.pool import ThreadPoolExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(2)},
            # The defaults drop a run that is a second late, and let late ones pile up.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for job in self._jobs:
            scheduler.add_job(
                run_safely, "interval", seconds=max(0.1, job.every.total_seconds()), args=(job,), id=job.name
            )
        scheduler.start()
        self._scheduler = scheduler

    def stop(self) -> None:
        """Stop ticking and wait for a job that runs."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
            self._scheduler = None


def run_safely(job: Job) -> None:
    """One run of a job; what it raises is logged and ends nothing."""
    try:
        job.run(datetime.now(UTC))
    except Exception:
        log.exception("job failed", extra={"job": job.name})
