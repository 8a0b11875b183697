"""The one thread that writes: concurrent changes share a transaction, each is answered after its commit.

Whatever waits when a commit ends makes the next transaction; there is no timer, so a lone change is committed
at once and fifty concurrent ones pay for one sync. A change is a function of a Transaction. When a shared
transaction fails, each of its changes is run again alone, so a function must touch nothing but its
transaction.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from peewee import Database

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = tuple[Any, ...]
_MOST_PER_COMMIT: Final = 2000
_COUNT = (
    "INSERT INTO counter (name, value) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value"
)
_TALLY = (
    "INSERT INTO tally (hour, domain, kind, value) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (hour, domain, kind) DO UPDATE SET value = tally.value + excluded.value"
)


class StoreUnavailable(Exception):
    """The database did not take the change now; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class _Mark:
    later: dict[str, list[Row]]
    lengths: dict[str, int]
    counts: dict[str, int]
    tallies: dict[tuple[int, str, str], int]
    follow_ups: int


class Transaction:
    """What a change may do. `?` marks parameters on both databases; SQL holds no literal `?` or `%`."""

    def __init__(self, connection: Any, dialect: str) -> None:
        self._cursor = connection.cursor()
        self.dialect = dialect
        self._later: dict[str, list[Row]] = {}
        self._counts: dict[str, int] = {}
        self._tallies: dict[tuple[int, str, str], int] = {}
        self.after: list[Callable[[], None]] = []

    def _sql(self, sql: str) -> str:
        return sql if self.dialect == "sqlite" else sql.replace("?", "%s")

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Run one statement now and return its rows."""
        self._cursor.execute(self._sql(sql), params)
        return list(self._cursor.fetchall()) if self._cursor.description else []

    def change(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one UPDATE, INSERT or DELETE now and return how many rows it changed."""
        self._cursor.execute(self._sql(sql), params)
        return int(self._cursor.rowcount)

    def change_many(self, sql: str, rows: Sequence[Row]) -> int:
        """Run one statement for many rows now and return how many rows changed in all."""
        if not rows:
            return 0
        self._cursor.executemany(self._sql(sql), rows)
        return int(self._cursor.rowcount)

    def add(self, sql: str, rows: Iterable[Row]) -> None:
        """Insert rows at the end of the shared transaction, together with everybody else's."""
        self._later.setdefault(sql, []).extend(rows)

    def count(self, name: str, delta: int) -> None:
        """Change a counter row by `delta`, once for all changes of the transaction."""
        self._counts[name] = self._counts.get(name, 0) + delta

    def tally(self, hour: int, domain: str, kind: str, delta: int) -> None:
        """Change an hourly sum by `delta`, once for all changes of the transaction."""
        key = (hour, domain, kind)
        self._tallies[key] = self._tallies.get(key, 0) + delta

    def flush(self) -> None:
        """Send what was gathered. Counter rows go last and in order: they are what other nodes also want."""
        for sql, rows in self._later.items():
            self.change_many(sql, rows)
        if self._tallies:
            self.change_many(_TALLY, [(*key, delta) for key, delta in sorted(self._tallies.items()) if delta])
        if self._counts:
            self.change_many(_COUNT, [item for item in sorted(self._counts.items()) if item[1]])
        self._later, self._counts, self._tallies = {}, {}, {}

    def mark(self) -> _Mark:
        """What is gathered now, to come back to by `reset`."""
        lengths = {sql: len(rows) for sql, rows in self._later.items()}
        return _Mark(self._later, lengths, dict(self._counts), dict(self._tallies), len(self.after))

    def reset(self, mark: _Mark) -> None:
        """Forget what was gathered since the mark; the database itself is brought back by its savepoint."""
        # A flush since then made new dictionaries and left the rows of the old ones as they were.
        self._later = {sql: mark.later[sql][:length] for sql, length in mark.lengths.items()}
        self._counts, self._tallies = mark.counts, mark.tallies
        del self.after[mark.follow_ups :]


@dataclass(slots=True)
class _Job:
    change: Callable[[Transaction], Any]
    future: Future[Any] | None
    # For a change asked for by an event loop: resolved there, all of one commit in one hop.
    loop: asyncio.AbstractEventLoop | None = None
    awaited: asyncio.Future[Any] | None = None
    is_guarded: bool = False


def _trouble_of(dialect: str) -> type[Exception]:
    """What the driver raises when the database cannot do it now: full disk, lock, connection gone."""
    if dialect == "sqlite":
        return sqlite3.OperationalError
    import psycopg

    return psycopg.OperationalError


def _settle_awaited(settled: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for awaited, result, error in settled:
        if awaited.cancelled():
            continue
        if error is None:
            awaited.set_result(result)
        else:
            awaited.set_exception(error)


class Writer:
    """Runs changes in shared transactions on one thread of its own. Thread-safe."""

    def __init__(self, database: Database, dialect: str) -> None:
        self._database = database
        self._dialect = dialect
        self._trouble = _trouble_of(dialect)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # nothing may be put behind the mark that ends the thread
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._is_closed = False
        self.commits = 0
        self.changes = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish what was handed in, then stop. Later changes fail with StoreUnavailable."""
        with self._gate:
            self._is_closed = True
            self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def call(self, change: Callable[[Transaction], T], *, is_guarded: bool = True) -> Future[T]:
        """Run `change` in the next transaction; the future resolves after the commit.

        `is_guarded` gives it a savepoint, so that its exception undoes it alone and costs the others nothing.
        Once handed in it cannot be cancelled.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._put(_Job(change, future, is_guarded=is_guarded))
        return future

    def call_soon(self, change: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """The same for a coroutine of the running loop; it cannot be cancelled once handed in."""
        loop = asyncio.get_running_loop()
        awaited: asyncio.Future[T] = loop.create_future()
        self._put(_Job(change, None, loop=loop, awaited=awaited))
        return awaited

    def _put(self, job: _Job) -> None:
        with self._gate:
            if not self._is_closed:
                self._jobs.put(job)
                return
        self._answer([(job, None, StoreUnavailable("the database is closed"))])

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                break
            batch, is_last = [job], False
            while len(batch) < _MOST_PER_COMMIT:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    is_last = True
                    break
                batch.append(job)
            self._answer(self._commit(batch))
            if is_last:
                break
        if not self._database.is_closed():
            self._database.close()

    def _connection(self) -> Any:
        if self._database.is_closed():
            self._database.connect()
        return self._database.connection()

    def _begin(self) -> Transaction:
        begin = "BEGIN IMMEDIATE" if self._dialect == "sqlite" else "BEGIN"
        connection = self._connection()
        try:
            connection.execute(begin)
        except Exception:
            if self._database.is_connection_usable():
                raise
            # The server ended this connection while nothing was written, by a restart say: take a fresh one.
            self._drop_connection()
            connection = self._connection()
            connection.execute(begin)
        return Transaction(connection, self._dialect)

    def _commit(self, batch: list[_Job]) -> list[tuple[_Job, Any, BaseException | None]]:
        try:
            tx = self._begin()
        except Exception as error:
            # A second try per change would only wait out the same lock again.
            log.error("database does not take changes", extra={"error": str(error), "changes": len(batch)})
            self._drop_connection()
            return [(job, None, StoreUnavailable(str(error))) for job in batch]
        try:
            answers = [self._apply(tx, job) for job in batch]
            tx.flush()
            self._connection().execute("COMMIT")
        except Exception as error:
            self._roll_back()
            if len(batch) == 1:
                return [(batch[0], None, self._explained(error))]
            answers = []
            for job in batch:
                answers.extend(self._commit([job]))
            return answers
        self.commits += 1
        self.changes += len(batch)
        for follow_up in tx.after:
            try:
                follow_up()
            except Exception:
                log.exception("a follow-up of a commit failed")
        return answers

    def _explained(self, error: Exception) -> Exception:
        if not isinstance(error, self._trouble):
            return error
        unavailable = StoreUnavailable(str(error))
        unavailable.__cause__ = error
        return unavailable

    def _apply(self, tx: Transaction, job: _Job) -> tuple[_Job, Any, BaseException | None]:
        if not job.is_guarded:
            return job, job.change(tx), None
        tx.execute("SAVEPOINT change")
        before = tx.mark()
        try:
            result = job.change(tx)
            tx.execute("RELEASE SAVEPOINT change")
        except Exception as error:
            tx.execute("ROLLBACK TO SAVEPOINT change")
            tx.execute("RELEASE SAVEPOINT change")
            tx.reset(before)
            return job, None, self._explained(error)
        return job, result, None

    def _roll_back(self) -> None:
        try:
            self._connection().execute("ROLLBACK")
        except Exception:
            self._drop_connection()

    def _drop_connection(self) -> None:
        try:
            if not self._database.is_closed():
                self._database.close()
        except Exception:
            log.exception("closing the database connection failed")

    @staticmethod
    def _answer(answers: list[tuple[_Job, Any, BaseException | None]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
        for job, result, error in answers:
            if job.loop is not None and job.awaited is not None:
                by_loop.setdefault(job.loop, []).append((job.awaited, result, error))
            elif job.future is not None:
                if error is None:
                    job.future.set_result(result)
                else:
                    job.future.set_exception(error)
        for loop, settled in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle_awaited, settled)
            except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
                log.warning("answers of a commit came after their loop had closed")
