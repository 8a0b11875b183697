"""Periodic work: what ticks, what a failing job does, what happens to a process that lost its number."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sendry.access.guard import Guard
from sendry.config import loads
from sendry.jobs import Job, Schedule, of_line, run_safely
from sendry.queue.line import Queue
from sendry.store.database import Store
from sendry.store.writer import Transaction
from tests import make

CONFIG = loads(
    """
    smtp.domain = "example.com"
    api.listen_addr = "127.0.0.1:0"
    storage.retention.delivered_max_age = "1d"
    """
)


@pytest.fixture
def queue(sqlite_store: Store) -> Queue:
    return make.queue(sqlite_store)


@pytest.fixture
def jobs(sqlite_store: Store, queue: Queue) -> dict[str, Job]:
    return {job.name: job for job in of_line(CONFIG, sqlite_store, queue, Guard(CONFIG, sqlite_store))}


@pytest.fixture
def terminated() -> Iterator[threading.Event]:
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    yield asked
    signal.signal(signal.SIGTERM, before)


def test_every_job_runs_on_an_empty_installation(jobs: dict[str, Job]) -> None:
    for name in jobs.keys() - {"heartbeat"}:
        jobs[name].run(make.NOW)
    assert jobs.keys() >= {"heartbeat", "guard", "sweep", "cleanup.delivered", "cleanup.captured", "cleanup.orphans"}


def test_delivered_mail_goes_after_its_time(queue: Queue, jobs: dict[str, Job]) -> None:
    make.enqueued(queue)
    make.settled(queue, queue.claim(make.NOW, 10))
    now = datetime.now(UTC)  # ids bear the time of the clock
    jobs["cleanup.delivered"].run(now + timedelta(hours=23))
    assert queue.store.rows("SELECT COUNT(*) FROM message")[0][0] == 1
    jobs["cleanup.delivered"].run(now + timedelta(hours=25))
    assert queue.store.rows("SELECT COUNT(*) FROM message")[0][0] == 0


def test_the_sweep_wakes_delivery(queue: Queue, jobs: dict[str, Job]) -> None:
    woken: list[bool] = []
    queue.on_work.append(lambda: woken.append(True))
    jobs["sweep"].run(make.NOW)
    assert woken == [True]


def test_a_process_whose_number_went_to_another_stops(
    queue: Queue, jobs: dict[str, Job], terminated: threading.Event
) -> None:
    def give_away(tx: Transaction) -> int:
        tx.change("DELETE FROM node WHERE id = ?", (queue.node,))
        return tx.change(
            "INSERT INTO node (id, host, pid, roles, started_at, seen_at) VALUES (?, 'elsewhere', 1, '', 0, ?)",
            (queue.node, int(make.NOW.timestamp() * 1000)),
        )

    queue.store.writer.call(give_away).result()
    jobs["heartbeat"].run(make.NOW)
    assert terminated.wait(5)


def test_a_job_that_fails_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_now: datetime) -> None:
        raise ValueError("broken")

    run_safely(Job("breaks", timedelta(seconds=1), fail))
    assert caplog.messages == ["job failed"]


def test_the_schedule_ticks_and_passes_the_time() -> None:
    ticks: list[datetime] = []
    ticked = threading.Event()

    def tick(now: datetime) -> None:
        ticks.append(now)
        ticked.set()

    schedule = Schedule([Job("tick", timedelta(milliseconds=100), tick)])
    schedule.start()
    try:
        assert ticked.wait(10)
    finally:
        schedule.stop()
    assert ticks[0].tzinfo is UTC
