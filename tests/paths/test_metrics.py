"""The figures that a running Sendry tells of itself."""

from __future__ import annotations

import urllib.request

from tests.paths.conftest import Start
from tests.paths.running import KEY, Running


def scrape(sendry: Running) -> dict[str, float]:
    """The metrics page: the sum of each metric over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{sendry.places['metrics']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    sums: dict[str, float] = {}
    for series, _, value in (line.rpartition(" ") for line in lines if line[0] != "#"):
        name = series.partition("{")[0]
        sums[name] = sums.get(name, 0) + float(value)
    return sums


def test_metrics_and_health_tell_what_happened_and_remember_it(start: Start, outward: str) -> None:
    sendry = start(outward + 'metrics.enabled = true\nmetrics.listen_addr = "127.0.0.1:0"\n')
    for _ in range(3):
        sendry.wait_for_status(sendry.send("a@example.com", ["b@example.net"]), "delivered")
    health = sendry.http("GET", "/health").json
    assert (health["status"], health["queue"]["delivered"], health["queue"]["total"]) == ("ok", 3, 3)
    assert sendry.stop() == 0
    sendry.start()
    found = scrape(sendry)
    assert found["sendry_messages_sent_total"] == 3
    assert found["sendry_smtp_connections_total"] == 3
    assert found["sendry_queue_size"] == 0
    assert KEY not in sendry.log
