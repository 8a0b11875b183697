"""What claims and sums cost while the table grows: 98 % delivered history, 1 % deferred for later, 1 % due.

python -m bench.growth
"""

from __future__ import annotations

import pathlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sendry.queue import rows
from sendry.queue.inflight import InFlight
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.store import nodes
from sendry.store.database import Store, open_store

HEAD = b"From: <a@bench.example>\r\nSubject: bench\r\n\r\n"


def fill(store: Store, ids: list[int], now: int) -> None:
    """Messages with one recipient each, as the queue would have left them."""
    messages, contents, recipients, counts = [], [], [], {"pending": 0, "deferred": 0, "delivered": 0}
    for index, number in enumerate(ids):
        status = {0: "pending", 1: "deferred"}.get(index % 100, "delivered")
        due = {"pending": now, "deferred": now + 86_400_000}.get(status)
        counts[status] += 1
        messages.append(
            (number, "a@bench.example", "", "bench", "", "bench.example", "production", status, "smtp", "", "",
             300, 1, 0,
             False, False, "", "", "", 0, "", "", now, now)
        )  # fmt: skip
        contents.append((number, 0, HEAD))
        recipients.append(
            (number + 1, number, f"u{index}@rcpt.example", "rcpt.example", "", "mx", status, due, None, None,
             0, 0, False, 0, 0, "", "", "", "", "", False, now, now)
        )  # fmt: skip

    def change(tx: object) -> None:
        from sendry.store.writer import Transaction

        assert isinstance(tx, Transaction)
        tx.change_many(rows.INSERT_MESSAGE, messages)
        tx.change_many(rows.INSERT_CONTENT, contents)
        tx.change_many(rows.INSERT_RECIPIENT, recipients)
        for status, number in counts.items():
            tx.count(f"queue.{status}", number)

    store.writer.call(change).result()


def median_us(act: Callable[[], object], times: int = 15) -> float:
    """The median cost of an act in microseconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        taken.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(taken)


def at(size: int) -> dict[str, float]:
    """Costs with `size` rows in the table."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sendry-growth-", dir="/var/tmp"))
    store = open_store(folder / "queue.db", folder / "spool")
    try:
        now = datetime.now(UTC)
        node = nodes.join(store, "bench", now)
        queue = Queue(store, node.ids, node.number, InFlight(folder / "in-flight"))
        step = 50_000
        for start in range(0, size, step):
            numbers = node.ids.take(2 * min(step, size - start))[::2]
            fill(store, numbers, rows.to_ms(now))
        lookup = Lookup(store)
        later = now + timedelta(seconds=1)
        return {
            "claim of 100": median_us(lambda: queue.claim(later, 100), times=9 if size >= 100_000 else 1),
            "counts": median_us(lookup.counts),
            "next due": median_us(queue.next_due),
            "totals": median_us(lookup.totals),
        }
    finally:
        store.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    small, middle, large = at(1_000), at(100_000), at(1_000_000)
    for name in small:
        print(
            f"{name:<14} 1k {small[name]:8.0f} us   100k {middle[name]:8.0f} us   1M {large[name]:8.0f} us"
            f"   1M/100k {large[name] / middle[name]:.2f}   1M/1k {large[name] / small[name]:.2f}",
            flush=True,
        )
    print("goals: claim at 1M 2,000 us or less and 2.5x of 100k or less; counts at 1M 1.5x of 1k or less")


if __name__ == "__main__":
    main()
