"""Is what was answered with 250 still there after kill -9?

Each round: send from several sessions while a slow sink takes mail, SIGKILL the server in the middle, start it again
and wait. Lost = acknowledged, never arrived: must be 0. Repeated: only what was in flight at the kill.

    python -m bench.kill9 --rounds 50
"""

from __future__ import annotations

import argparse
import random
import smtplib
import threading
import time

from bench.ours import Sendry
from bench.process import free_port
from bench.sink import Sink

BODY = b"From: <sender@bench.example>\r\nSubject: kill9\r\n\r\n" + b"x" * 500


def load(port: int, name: str, acknowledged: list[str]) -> None:
    """Send until the server is gone, noting each recipient that got a 250."""
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.ehlo("load.bench.example")
            for number in range(1_000_000):
                recipient = f"{name}-{number}@rcpt.example"
                client.mail("sender@bench.example")
                client.rcpt(recipient)
                if client.data(BODY)[0] == 250:
                    acknowledged.append(recipient)
    except (OSError, smtplib.SMTPException):
        return


def rounds(count: int, sessions: int, seed: int) -> tuple[int, int, int]:
    """(acknowledged, lost, repeated) over all rounds; each restart runs over the same data."""
    chance = random.Random(seed)
    acknowledged: list[str] = []
    sink_port = free_port()
    with Sink(sink_port, keeps=True) as sink, Sendry(sink_port) as sendry:
        for number in range(count):
            threads = [
                threading.Thread(target=load, args=(sendry.port, f"r{number}s{session}", acknowledged))
                for session in range(sessions)
            ]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.1, 0.6))
            sendry.kill()
            for thread in threads:
                thread.join()
            sendry.launch()
        wanted = set(acknowledged)
        deadline = time.monotonic() + 120
        arrivals = sink.arrivals()
        while wanted - arrivals.keys() and time.monotonic() < deadline:
            time.sleep(0.5)
            arrivals = sink.arrivals()
        repeated = sum(times - 1 for times in arrivals.values())
        return len(wanted), len(wanted - arrivals.keys()), repeated


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    wanted = parser.parse_args()
    acknowledged, lost, repeated = rounds(wanted.rounds, wanted.sessions, wanted.seed)
    print(
        f"kill -9, {wanted.rounds} rounds (seed {wanted.seed}): acknowledged {acknowledged}, lost {lost} (goal 0),"
        f" repeated {repeated}, {repeated / wanted.rounds:.1f} per kill",
        flush=True,
    )
    raise SystemExit(1 if lost else 0)


if __name__ == "__main__":
    main()
