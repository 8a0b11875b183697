"""What Sendry counts: process counters, the totals in the database, and the page that Prometheus reads.

Touches the database only through the store it is given (its own table is `metric`). Promises: a counter never
goes back, not even over `kill -9`, because the page shows only what is on disk; labels come from short fixed
sets, so the number of series is bounded; counting costs the caller a lock and an addition.
"""

from __future__ import annotations

import bisect
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)

Labels = tuple[str, ...]
Network = IPv4Network | IPv6Network
Series = tuple[str, Labels]
OLDEST_AMONG: Final = 50_000  # waiting recipients that are looked at for the oldest one

# Totals that the queue keeps in `counter`, in the transaction that changes them.
_TOTALS: Final[Mapping[str, tuple[str, str]]] = {
    "sendry_messages_sent": ("total.delivered", "Recipients whose mail a remote host took."),
    "sendry_messages_failed": ("total.failed", "Recipients given up for good."),
    "sendry_messages_bounced": ("total.bounced", "Recipients that a remote host refused for good."),
    "sendry_messages_deferred": ("total.deferred", "Attempts that ended in a later try."),
}
_QUEUE: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "sendry_queue_size": (("queue.pending", "queue.deferred"), "Recipients that wait."),
    "sendry_queue_active": (("queue.sending",), "Recipients that a worker holds."),
    "sendry_queue_deferred": (("queue.deferred",), "Recipients that wait for another try."),
}
_COUNTERS: Final[Mapping[str, tuple[Labels, str]]] = {
    "sendry_smtp_connections": (("listener",), "SMTP connections taken."),
    "sendry_smtp_auth_success": ((), "Successful SMTP authentications."),
    "sendry_smtp_auth_failed": ((), "Failed SMTP authentications."),
    "sendry_smtp_tls_connections": ((), "SMTP connections that went over to TLS."),
    "sendry_api_requests": (("method", "path", "status"), "API requests by route."),
    "sendry_api_errors": (("error_type",), "API requests that ended in an error."),
}
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_HISTOGRAMS: Final[Mapping[str, tuple[Labels, tuple[float, ...], str]]] = {
    "sendry_api_request_duration_seconds": (("method", "path"), _SECONDS, "Time to answer an API request."),
    "sendry_delivery_duration_seconds": ((), _LONG_SECONDS, "Time of one attempt at one host."),
}
_GAUGES: Final[Mapping[str, str]] = {
    "sendry_smtp_connections_active": "SMTP connections open now.",
    "sendry_uptime_seconds": "Time since this process started.",
}
_SAVE: Final = (
    "INSERT INTO metric (name, labels, value) VALUES (?, ?, ?)"
    " ON CONFLICT (name, labels) DO UPDATE SET value = metric.value + excluded.value"
)
_OLDEST: Final = (
    "SELECT MIN(created_at) FROM (SELECT created_at FROM recipient WHERE next_attempt_at IS NOT NULL"
    " ORDER BY priority, next_attempt_at LIMIT ?) AS waiting"
)


class _Transaction(Protocol):
    def change_many(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> int: ...


class _Writer(Protocol):
    def call(self, change: Callable[[Any], Any]) -> Future[Any]: ...


class _Spool(Protocol):
    @property
    def folder(self) -> Path: ...


class Keeper(Protocol):
    """What the metrics need of a store."""

    @property
    def dialect(self) -> str: ...
    @property
    def writer(self) -> _Writer: ...
    @property
    def spool(self) -> _Spool: ...
    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database knows, read at one time."""

    counters: Mapping[str, int]
    metrics: Mapping[Series, int]
    oldest_ms: int | None
    octets: int


class Metrics:
    """The counters of this process on top of the totals in the database. Thread-safe."""

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self._store: Keeper | None = None
        self._gauges: dict[str, Callable[[], float]] = {}
        self._lock = threading.Lock()
        self._live: dict[Series, int] = {}

    def keep_in(self, store: Keeper) -> None:
        """From here on totals are read from and saved to this store."""
        self._store = store

    def add(self, name: str, *labels: str, by: int = 1) -> None:
        """Count. `name` without `_total`; as many labels as the counter has, from a bounded set."""
        if len(labels) != len(_COUNTERS[name][0]):
            raise ValueError(f"{name} has the labels {_COUNTERS[name][0]}, not {labels}")
        series = (name, labels)
        with self._lock:
            self._live[series] = self._live.get(series, 0) + by

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Count one duration."""
        names, bounds, _ = _HISTOGRAMS[name]
        if len(labels) != len(names):
            raise ValueError(f"{name} has the labels {names}, not {labels}")
        place = bisect.bisect_left(bounds, seconds)
        bucket = (name, (*labels, str(place)))
        total = (name, (*labels, "us"))
        with self._lock:
            self._live[bucket] = self._live.get(bucket, 0) + 1
            self._live[total] = self._live.get(total, 0) + int(seconds * 1_000_000)

    def answered(self, method: str, path: str, status: int, seconds: float, error_type: str) -> None:
        """Count one API request; `path` is a route pattern, `error_type` "" when it went well."""
        place = bisect.bisect_left(_SECONDS, seconds)
        timed = "sendry_api_request_duration_seconds"
        with self._lock:
            live = self._live
            for series, by in (
                (("sendry_api_requests", (method, path, str(status))), 1),
                ((timed, (method, path, str(place))), 1),
                ((timed, (method, path, "us")), int(seconds * 1_000_000)),
            ):
                live[series] = live.get(series, 0) + by
        if error_type:
            self.add("sendry_api_errors", error_type)

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Ask `read` for the value of a gauge each time the page is made."""
        if name not in _GAUGES:
            raise ValueError(f"{name} is none of {sorted(_GAUGES)}")
        self._gauges[name] = read

    def flush(self, now: datetime) -> int:  # noqa: ARG002 - periodic work is called with the time
        """Save what was counted since the last time; gives the number of series. Blocks until it is on disk.

        When the database does not take it, the counts are kept for the next time and the error is raised.
        """
        if self._store is None:
            return 0
        with self._lock:
            taken, self._live = self._live, {}
        rows = sorted((name, json.dumps(labels), value) for (name, labels), value in taken.items() if value)
        if not rows:
            return 0
        try:
            self._store.writer.call(lambda tx: _save(tx, rows)).result()
        except Exception:
            with self._lock:
                for series, value in taken.items():
                    self._live[series] = self._live.get(series, 0) + value
            raise
        return len(rows)

    def page(self, now: datetime) -> bytes:
        """The metrics in the text format of Prometheus, after a flush. Raises what the database raises."""
        self.flush(now)
        if self._store is None:
            with self._lock:
                totals = dict(self._live)
            stored = None
        else:
            stored = _read(self._store)
            totals = dict(stored.metrics)
        registry = CollectorRegistry()
        registry.register(_Page(list(self._families(stored, totals, now))))
        return generate_latest(registry)

    def _families(self, stored: _Stored | None, totals: Mapping[Series, int], now: datetime) -> Iterable[Metric]:
        if stored is not None:
            yield from _stored_families(stored, now)
        for name, (labels, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, value in _of(name, totals):
                if len(values) == len(labels):  # else a release before counted by other labels
                    counter.add_metric(values, value)
            if not labels and not counter.samples:
                counter.add_metric((), 0)
            yield counter
        for name, (labels, bounds, text) in _HISTOGRAMS.items():
            yield _histogram(name, text, labels, bounds, totals)
        yield GaugeMetricFamily(
            "sendry_uptime_seconds",
            _GAUGES["sendry_uptime_seconds"],
            value=(now - self._started_at).total_seconds(),
        )
        for name, read in sorted(self._gauges.items()):
            yield GaugeMetricFamily(name, _GAUGES[name], value=read())


def page_app(metrics: Metrics, path: str, allowed: Sequence[Network]) -> WSGIApplication:
    """The WSGI application of the metrics listener: the page at `path`, for `allowed` only (empty: for all).

    It believes the address of the connection and no header, so put no proxy before it.
    """

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if allowed and not _is_within(str(environ.get("REMOTE_ADDR", "")), allowed):
            return _plain(start_response, "403 Forbidden", "This address is not in metrics.allowed_ips.\n")
        if environ.get("PATH_INFO", "") != path:
            return _plain(start_response, "404 Not Found", f"The metrics are at {path}.\n")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(start_response, "405 Method Not Allowed", "Use GET.\n")
        try:
            page = metrics.page(datetime.now(UTC))
        except Exception:
            log.exception("the metrics page could not be made")
            return _plain(start_response, "503 Service Unavailable", "The database does not answer.\n")
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST), ("Content-Length", str(len(page)))])
        return [page] if environ["REQUEST_METHOD"] == "GET" else []

    return app


def _plain(start_response: Any, status: str, text: str) -> Iterable[bytes]:
    octets = text.encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(octets)))]
    start_response(status, headers)
    return [octets]


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return any((mapped or parsed) in network for network in networks)


class _Page:
    """A page that is already made, in the form the registry asks for."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _save(tx: _Transaction, rows: Sequence[tuple[Any, ...]]) -> None:
    tx.change_many(_SAVE, rows)


def _read(store: Keeper) -> _Stored:
    counters = {str(name): int(value) for name, value in store.rows("SELECT name, value FROM counter")}
    metrics = {
        (str(name), tuple(json.loads(labels))): int(value)
        for name, labels, value in store.rows("SELECT name, labels, value FROM metric")
    }
    oldest = store.rows(_OLDEST, (OLDEST_AMONG,))[0][0]
    if store.dialect == "sqlite":
        size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    else:
        size = "SELECT pg_database_size(current_database())"
    octets = int(store.rows(size)[0][0]) + _folder_size(store.spool.folder)
    return _Stored(counters, metrics, oldest, octets)


def _folder_size(folder: Path) -> int:
    total = 0
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # sent and removed meanwhile
            total += entry.stat().st_size
    return total


def _stored_families(stored: _Stored, now: datetime) -> Iterable[Metric]:
    for name, (counter, text) in _TOTALS.items():
        yield CounterMetricFamily(name, text, value=stored.counters.get(counter, 0))
    for name, (parts, text) in _QUEUE.items():
        yield GaugeMetricFamily(name, text, value=sum(stored.counters.get(part, 0) for part in parts))
    age = 0.0 if stored.oldest_ms is None else max(0.0, now.timestamp() - stored.oldest_ms / 1000)
    yield GaugeMetricFamily("sendry_queue_oldest_seconds", "Age of the oldest recipient that waits.", value=age)
    yield GaugeMetricFamily(
        "sendry_storage_used_bytes", "Size of the database and the spool folder.", value=stored.octets
    )


def _of(name: str, totals: Mapping[Series, int]) -> list[tuple[Labels, int]]:
    return sorted((labels, value) for (series, labels), value in totals.items() if series == name)


def _histogram(
    name: str, text: str, labels: Labels, bounds: tuple[float, ...], totals: Mapping[Series, int]
) -> HistogramMetricFamily:
    by_labels: dict[Labels, dict[str, int]] = {} if labels else {(): {}}
    for values, value in _of(name, totals):
        if len(values) == len(labels) + 1:
            by_labels.setdefault(values[:-1], {})[values[-1]] = value
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, parts in by_labels.items():
        below, buckets = 0, []
        for place, bound in enumerate((*bounds, "+Inf")):
            below += parts.get(str(place), 0)
            buckets.append((str(bound), below))
        family.add_metric(values, buckets, sum_value=parts.get("us", 0) / 1_000_000)
    return family
