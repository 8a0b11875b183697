"""The metrics: what is counted survives, stays bounded and is well-formed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client

from sendry.metrics import Metrics, page_app
from sendry.store.database import Store, open_store
from sendry.store.writer import StoreUnavailable, Transaction

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = {
    "sendry_messages_sent_total", "sendry_messages_failed_total", "sendry_messages_bounced_total",
    "sendry_messages_deferred_total", "sendry_queue_size", "sendry_queue_active", "sendry_queue_deferred",
    "sendry_queue_oldest_seconds", "sendry_smtp_connections_total", "sendry_smtp_connections_active",
    "sendry_smtp_auth_success_total", "sendry_smtp_auth_failed_total", "sendry_smtp_tls_connections_total",
    "sendry_api_requests_total", "sendry_api_request_duration_seconds_count", "sendry_api_errors_total",
    "sendry_delivery_duration_seconds_count", "sendry_uptime_seconds", "sendry_storage_used_bytes",
}  # fmt: skip


def made(store: Store | None) -> Metrics:
    metrics = Metrics(START)
    if store is not None:
        metrics.keep_in(store)
    return metrics


def samples(metrics: Metrics, now: datetime = START) -> dict[tuple[str, frozenset[str]], float]:
    page = metrics.page(now).decode()
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, *labels: str, now: datetime = START) -> float:
    return samples(metrics, now)[(name, frozenset(labels))]


def count_everything(metrics: Metrics) -> None:
    metrics.watch("sendry_smtp_connections_active", lambda: 3)
    metrics.add("sendry_smtp_connections", "submission")
    metrics.add("sendry_api_requests", "POST", "/api/v1/send", "202")
    metrics.add("sendry_api_errors", "bad_request")
    metrics.observe("sendry_api_request_duration_seconds", 0.02, "POST", "/api/v1/send")
    metrics.observe("sendry_delivery_duration_seconds", 0.3)


class TestThePage:
    def test_has_every_promised_name(self, store: Store) -> None:
        metrics = made(store)
        count_everything(metrics)
        assert {name for name, _ in samples(metrics)} >= NAMES

    def test_gives_a_help_and_a_type_to_every_metric_once(self, store: Store) -> None:
        metrics = made(store)
        count_everything(metrics)
        lines = metrics.page(START).decode().splitlines()
        helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
        typed = [line.split()[2] for line in lines if line.startswith("# TYPE")]
        assert helped == typed
        assert len(set(helped)) == len(helped)

    def test_starts_counters_without_labels_at_nought(self, store: Store) -> None:
        assert value(made(store), "sendry_smtp_auth_failed_total") == 0

    def test_shows_what_the_queue_counts(self, store: Store) -> None:
        counters = {
            "queue.pending": 4, "queue.deferred": 2, "queue.sending": 1, "total.delivered": 9, "total.failed": 3,
            "total.deferred": 5, "total.bounced": 2,
        }  # fmt: skip

        def count(tx: Transaction) -> None:
            for name, number in counters.items():
                tx.count(name, number)

        store.writer.call(count).result()
        found = samples(made(store))
        none: frozenset[str] = frozenset()
        assert found["sendry_queue_size", none] == 6
        assert found["sendry_queue_active", none] == 1
        assert found["sendry_queue_deferred", none] == 2
        assert found["sendry_messages_sent_total", none] == 9
        assert found["sendry_messages_failed_total", none] == 3
        assert found["sendry_messages_deferred_total", none] == 5
        assert found["sendry_messages_bounced_total", none] == 2

    def test_shows_the_age_of_the_oldest_waiting_recipient(self, store: Store) -> None:
        assert value(made(store), "sendry_queue_oldest_seconds") == 0
        for number, age in ((1, 60), (2, 90)):
            _insert_waiting(store, number, START - timedelta(seconds=age))
        assert value(made(store), "sendry_queue_oldest_seconds") == 90

    def test_shows_the_size_of_the_database_and_the_spool(self, store: Store) -> None:
        before = value(made(store), "sendry_storage_used_bytes")
        assert before > 0
        (store.spool.folder / "0.eml").write_bytes(b"x" * 1_000_000)
        assert value(made(store), "sendry_storage_used_bytes") >= before + 1_000_000

    def test_shows_how_long_the_process_runs(self, store: Store) -> None:
        assert value(made(store), "sendry_uptime_seconds", now=START + timedelta(minutes=2)) == 120

    def test_asks_a_watched_gauge_each_time(self, store: Store) -> None:
        metrics, open_now = made(store), [1.0]
        metrics.watch("sendry_smtp_connections_active", lambda: open_now[0])
        assert value(metrics, "sendry_smtp_connections_active") == 1
        open_now[0] = 7
        assert value(metrics, "sendry_smtp_connections_active") == 7

    def test_is_made_without_a_store_too(self) -> None:
        metrics = made(None)
        count_everything(metrics)
        assert value(metrics, "sendry_smtp_connections_total", "submission") == 1


class TestCounters:
    def test_survive_a_restart(self, store: Store) -> None:
        before = made(store)
        before.add("sendry_smtp_auth_failed", by=2)
        before.flush(START)
        after = made(store)
        after.add("sendry_smtp_auth_failed")
        assert value(after, "sendry_smtp_auth_failed_total") == 3

    def test_show_only_what_a_kill_cannot_take_back(self, store: Store) -> None:
        before = made(store)
        before.add("sendry_smtp_auth_failed", by=2)
        shown = value(before, "sendry_smtp_auth_failed_total")
        assert value(made(store), "sendry_smtp_auth_failed_total") == shown == 2

    def test_of_several_processes_add_up(self, store: Store) -> None:
        web, worker = made(store), made(store)
        for metrics in (web, worker):
            metrics.add("sendry_smtp_connections", "relay")
            metrics.flush(START)
        assert value(web, "sendry_smtp_connections_total", "relay") == 2
        assert value(worker, "sendry_smtp_connections_total", "relay") == 2

    def test_are_kept_when_the_database_does_not_take_them(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "queue.db", tmp_path / "spool")
        metrics = made(store)
        metrics.add("sendry_smtp_auth_failed")
        store.close()
        with pytest.raises(StoreUnavailable):
            metrics.flush(START)
        again = open_store(tmp_path / "queue.db", tmp_path / "spool")
        metrics.keep_in(again)
        assert value(metrics, "sendry_smtp_auth_failed_total") == 1
        again.close()

    def test_a_flush_without_anything_new_writes_nothing(self, store: Store) -> None:
        metrics = made(store)
        metrics.add("sendry_smtp_auth_failed")
        assert metrics.flush(START) == 1
        assert metrics.flush(START) == 0

    @pytest.mark.parametrize("labels", [(), ("a", "b")])
    def test_refuse_other_labels_than_their_own(self, labels: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="listener"):
            made(None).add("sendry_smtp_connections", *labels)

    def test_refuse_an_unknown_name(self) -> None:
        with pytest.raises(KeyError):
            made(None).add("sendry_smtp_conections", "relay")
        with pytest.raises(ValueError, match="sendry_uptime_seconds"):
            made(None).watch("sendry_up", lambda: 1)


class TestHistograms:
    def test_count_into_the_bucket_and_all_above(self, store: Store) -> None:
        metrics = made(store)
        for seconds in (0.02, 0.2, 400.0):
            metrics.observe("sendry_delivery_duration_seconds", seconds)
        found = samples(metrics)
        name = "sendry_delivery_duration_seconds"
        assert found[f"{name}_bucket", frozenset({"0.01"})] == 0
        assert found[f"{name}_bucket", frozenset({"0.05"})] == 1
        assert found[f"{name}_bucket", frozenset({"300.0"})] == 2
        assert found[f"{name}_bucket", frozenset({"+Inf"})] == 3
        assert found[f"{name}_count", frozenset()] == 3
        assert found[f"{name}_sum", frozenset()] == pytest.approx(400.22)

    def test_survive_a_restart(self, store: Store) -> None:
        for _ in range(2):
            metrics = made(store)
            metrics.observe("sendry_api_request_duration_seconds", 0.5, "GET", "/api/v1/queue")
            metrics.flush(START)
        labels = ("GET", "/api/v1/queue")
        assert value(made(store), "sendry_api_request_duration_seconds_count", *labels) == 2
        assert value(made(store), "sendry_api_request_duration_seconds_sum", *labels) == 1.0

    def test_refuse_other_labels_than_their_own(self) -> None:
        with pytest.raises(ValueError, match="method"):
            made(None).observe("sendry_api_request_duration_seconds", 1.0, "GET")


class TestTheListener:
    def client(self, store: Store | None, *allowed: str) -> Client:
        return Client(page_app(made(store), "/metrics", [ip_network(text) for text in allowed]))

    def test_serves_the_page_at_its_path(self, store: Store) -> None:
        answer = self.client(store).get("/metrics")
        assert answer.status_code == 200
        assert answer.mimetype == "text/plain"
        assert b"sendry_uptime_seconds" in answer.data

    def test_has_nothing_else(self, store: Store) -> None:
        assert self.client(store).get("/").status_code == 404
        assert self.client(store).post("/metrics").status_code == 405

    @pytest.mark.parametrize(
        ("address", "status"),
        [("192.0.2.7", 200), ("::ffff:192.0.2.7", 200), ("198.51.100.1", 403), ("", 403)],
    )
    def test_lets_only_allowed_addresses_read(self, store: Store, address: str, status: int) -> None:
        answer = self.client(store, "192.0.2.0/24").get("/metrics", environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == status

    def test_does_not_believe_a_forwarded_address(self, store: Store) -> None:
        answer = self.client(store, "192.0.2.0/24").get(
            "/metrics",
            headers={"X-Forwarded-For": "192.0.2.7"},
            environ_base={"REMOTE_ADDR": "198.51.100.1"},
        )
        assert answer.status_code == 403

    def test_says_503_when_the_database_is_gone(self, tmp_path: Path) -> None:
        store = open_store(tmp_path / "queue.db", tmp_path / "spool")
        metrics = made(store)
        store.close()
        metrics.add("sendry_smtp_auth_failed")
        assert Client(page_app(metrics, "/metrics", [])).get("/metrics").status_code == 503


def _insert_waiting(store: Store, number: int, created_at: datetime) -> None:
    moment = int(created_at.timestamp() * 1000)
    sql = (
        "INSERT INTO recipient (id, message_id, address, destination, original, route, status, priority,"
        " next_attempt_at, attempts, is_possible_duplicate, crashes, last_code, last_enhanced, last_response,"
        " bounce_class, notify, orcpt, is_delay_told, created_at, updated_at)"
        " VALUES (?, 1, 'a@b.example', 'b.example', '', 'mx', 'pending', 0, ?, 0, ?, 0, 0, '', '', '', '', '', ?,"
        " ?, ?)"
    )
    store.writer.call(lambda tx: tx.change(sql, (number, moment, False, False, moment, moment))).result()
