"""The HTTP API over keep-alive connections: POST /send beside a no-op route of the same server, and whole batches.

python -m bench.http [--pairs 5] [--requests 1600] [--connections 8] [--length 2000]

One process serves panel and API as always (nothing is delivered), this one asks. The no-op route reads the request
and answers as many octets as /send does, so the ratio is what checking, composing and storing a mail costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from bench.process import free_port

KEY = "bench-root-key-0123456789"
GOAL_RATIO = 0.45
GOAL_BATCH = 15_000
BATCH = 1000


def serve(config: pathlib.Path) -> None:
    """The server under test: the usual application and HTTP server, and one more route."""
    from flask import Response, request

    from sendry.config import load
    from sendry.http import HttpServer
    from sendry.service import Role, Service

    service = Service(load(config), (Role.WEB,))
    app = service.app()
    answer = json.dumps({"id": "0" * 13, "status": "pending"}, separators=(",", ":"))

    def noop() -> Response:
        request.get_data(cache=False)
        return Response(answer, 202, content_type="application/json")

    app.add_url_rule("/noop", view_func=noop, methods=["POST"])
    if "csrf" in app.extensions:
        app.extensions["csrf"].exempt(noop)
    assert service.config.api.listen_addr is not None
    server = HttpServer(app, "api.listen_addr", service.config.api.listen_addr, service.config)
    server.start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    server.stop()
    service.stop()


class Server:
    """The server as a process of its own."""

    def __init__(self, more: str = "") -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sendry-http-", dir="/var/tmp"))
        self.port = free_port()
        config = self.folder / "config.toml"
        config.write_text(
            f"""
storage.path = "{self.folder}/queue.db"
logging.level = "warning"
[smtp]
domain = "bench.example"
[api]
listen_addr = "127.0.0.1:{self.port}"
api_key = "{KEY}"
{more}
"""
        )
        self.process = subprocess.Popen([sys.executable, "-m", "bench.http", "--serve", str(config)])
        until = time.monotonic() + 30
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.close()
        raise SystemExit("the server did not start")

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


def request_octets(port: int, path: str, payload: object) -> bytes:
    """One finished POST."""
    body = json.dumps(payload).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _ask(port: int, octets: bytes, times: int, taken: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(times):
        begun = time.perf_counter()
        writer.write(octets)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if head.split(b" ", 2)[1] != b"202":
            raise SystemExit(f"unexpected answer: {head.decode()}{body.decode()}")
        taken.append(time.perf_counter() - begun)
    writer.close()


async def _run(port: int, octets: bytes, requests: int, connections: int) -> tuple[float, list[float]]:
    taken: list[float] = []
    begun = time.perf_counter()
    each = max(1, requests // connections)
    await asyncio.gather(*[_ask(port, octets, each, taken) for _ in range(connections)])
    return each * connections / (time.perf_counter() - begun), sorted(taken)


def main() -> int:
    """Print the figures beside their goals; 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1600)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--length", type=int, default=2000, help="octets of the text of a mail")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    mail = {
        "from": "sender@bench.example", "to": ["u@rcpt.example"], "subject": "bench",
        "body": ("y" * 70 + "\n") * (options.length // 71),
    }  # fmt: skip
    server = Server()
    try:
        send = request_octets(server.port, "/api/v1/send", mail)
        noop = request_octets(server.port, "/noop", mail)
        batch = request_octets(server.port, "/api/v1/send/batch", {"messages": [mail] * BATCH})

        def rate(octets: bytes, requests: int = options.requests, connections: int = options.connections) -> float:
            figure, taken = asyncio.run(_run(server.port, octets, requests, connections))
            latencies.append((taken[len(taken) // 2] * 1e3, taken[int(len(taken) * 0.99)] * 1e3))
            return figure

        latencies: list[tuple[float, float]] = []
        for octets in (noop, send):
            rate(octets, options.requests // 4)  # warm up
        ratios = []
        for pair in range(options.pairs):
            latencies.clear()
            # A B, B A, …: the machine drifts.
            figures = {octets: rate(octets) for octets in ((noop, send) if pair % 2 == 0 else (send, noop))}
            ratios.append(figures[send] / figures[noop])
            p50, p99 = latencies[pair % 2 == 0]
            print(
                f"send {figures[send]:7.0f}/s   no-op {figures[noop]:7.0f}/s   ratio {ratios[-1]:.2f}"
                f"   send p50 {p50:.1f} ms, p99 {p99:.1f} ms",
                flush=True,
            )
        rate(batch, 2, 1)
        batches = [rate(batch, options.batches, 1) * BATCH for _ in range(3)]
        side_by_side = [rate(batch, options.batches, 4) * BATCH for _ in range(3)]
    finally:
        server.close()
    ratio, one, four = statistics.median(ratios), statistics.median(batches), statistics.median(side_by_side)
    print(f"POST /send, {options.connections} connections: {ratio:.2f} of a no-op route (goal {GOAL_RATIO})")
    print(f"batch of {BATCH}: {four:.0f} mails/s on four connections (goal {GOAL_BATCH}), {one:.0f} on one")
    return int(ratio < GOAL_RATIO or max(one, four) < GOAL_BATCH)


if __name__ == "__main__":
    sys.exit(main())
