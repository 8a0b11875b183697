"""Memory and time to start: idle memory, first page after start, and large mails in short and long lines.

python -m bench.memory
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
import urllib.error
import urllib.request

from bench.ours import Sendry
from bench.process import free_port, memory_mib

SESSIONS = 20
OCTETS = 10_000_000


def first_page() -> tuple[float, float]:
    """(seconds from the start of the process to the first page, PSS in MiB when idle afterwards)."""
    begun = time.monotonic()
    sendry = Sendry(free_port())
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{sendry.http_port}/login", timeout=5) as answer:
                    answer.read()
                break
            except urllib.error.HTTPError:
                raise  # it answers, but not with a page: nothing to wait for
            except OSError:
                time.sleep(0.01)
        taken = time.monotonic() - begun
        time.sleep(2)
        return taken, memory_mib(sendry.pid)[1]
    finally:
        sendry.stop()


def _speak(connection: socket.socket, line: bytes, expected: bytes) -> None:
    connection.sendall(line)
    reply = b""
    while not reply.endswith(b"\n") or reply.splitlines()[-1][3:4] == b"-":
        block = connection.recv(4096)
        if not block:
            raise RuntimeError(f"closed after {line[:40]!r}")
        reply += block
    if not reply.splitlines()[-1].startswith(expected):
        raise RuntimeError(f"{line[:40]!r} was answered with {reply!r}")


def _upload(port: int, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        _speak(connection, b"", b"220")
        _speak(connection, b"EHLO load.bench.example\r\n", b"250")
        _speak(connection, b"MAIL FROM:<a@bench.example>\r\n", b"250")
        _speak(connection, b"RCPT TO:<b@rcpt.example>\r\n", b"250")
        _speak(connection, b"DATA\r\n", b"354")
        _speak(connection, b"From: <a@bench.example>\r\n\r\n" + body + b".\r\n", b"250")


def _lag(port: int, stop: threading.Event, worst: list[float]) -> None:
    """The longest time a NOOP of an idle session had to wait: what other clients feel."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        _speak(connection, b"", b"220")
        _speak(connection, b"EHLO load.bench.example\r\n", b"250")
        while not stop.is_set():
            begun = time.perf_counter()
            _speak(connection, b"NOOP\r\n", b"250")
            worst.append(time.perf_counter() - begun)
            time.sleep(0.02)


def uploads(line_octets: int) -> tuple[float, float]:
    """(MiB added, worst wait of a NOOP in ms) while 20 sessions send 10 MB each in lines of so many octets."""
    line = b"x" * line_octets + b"\r\n"
    body = line * (OCTETS // len(line))
    with Sendry(free_port(), roles="smtp", more="read_timeout = '5m'\n") as sendry:
        before, peak = memory_mib(sendry.pid)[0], 0.0
        stop, worst = threading.Event(), [0.0]
        watcher = threading.Thread(target=_lag, args=(sendry.port, stop, worst))
        watcher.start()
        threads = [threading.Thread(target=_upload, args=(sendry.port, body)) for _ in range(SESSIONS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, memory_mib(sendry.pid)[0])
            time.sleep(0.05)
        stop.set()
        watcher.join()
        return peak - before, max(worst) * 1000


def main() -> None:
    starts = [first_page() for _ in range(3)]
    print(f"first page after start {statistics.median(s[0] for s in starts):.2f} s (goal 1.0)", flush=True)
    print(f"idle memory {statistics.median(s[1] for s in starts):.0f} MiB PSS (goal 90)", flush=True)
    for octets in (2, 998):
        added, lag = uploads(octets)
        print(
            f"20 x 10 MB in lines of {octets} octets: added {added:.0f} MiB (200), worst wait {lag:.0f} ms (100)",
            flush=True,
        )


if __name__ == "__main__":
    main()
