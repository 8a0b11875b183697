"""Intake and relay beside Postfix, A B / B A in one run; ratios pair by pair, medians to quote.

python -m bench.mta                     all figures of the table
python -m bench.mta relay -s 50 -m 3000 one of them
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass

from bench import postfix
from bench.ours import Sendry
from bench.process import cpu_seconds, free_port, memory_mib, wait_for_banner
from bench.sink import Sink


@dataclass(frozen=True)
class Load:
    sessions: int
    messages: int
    length: int = 2048


@dataclass(frozen=True)
class Figures:
    intake: float  # messages a second, first connect to last 250
    relayed: float  # messages a second, first connect to last arrival; 0 for intake alone
    cpu: float  # seconds per 1,000 messages, whole process tree
    pss: float  # MiB


def run(port: int, pid: int, load: Load, sink_port: int) -> Figures:
    """One run of one server."""
    sink = Sink(sink_port) if sink_port else None
    try:
        before = cpu_seconds(pid)
        base = sink.count if sink else 0
        begun = time.monotonic()
        subprocess.run(
            ["smtp-source", "-s", str(load.sessions), "-m", str(load.messages), "-l", str(load.length), "-d", "-N",
             "-f", "sender@bench.example", "-t", "u@rcpt.example", "-M", "load.bench.example", f"127.0.0.1:{port}"],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        taken = time.monotonic() - begun
        relayed = 0.0
        if sink:
            if not sink.wait_for(base + load.messages):
                raise RuntimeError(f"only {sink.count - base} of {load.messages} messages arrived")
            relayed = load.messages / (sink.last - begun)
        time.sleep(0.3)  # results are still being written down
        cpu = (cpu_seconds(pid) - before) * 1000 / load.messages
        return Figures(load.messages / taken, relayed, cpu, memory_mib(pid)[1])
    finally:
        if sink:
            sink.close()


def pair(
    load: Load, *, is_hold: bool, pairs: int = 3, more: str = "", preload: str = ""
) -> tuple[list[Figures], list[Figures]]:
    """`pairs` runs of each server in turn, after one of each that is not counted."""
    sink_port, port, hold_port = free_port(), free_port(), free_port()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-postfix-", dir="/var/tmp"))
    folder.chmod(0o755)
    peer_pid = postfix.start(folder, port, hold_port, sink_port, preload=preload)
    ours: list[Figures] = []
    peer: list[Figures] = []
    try:
        roles = "smtp" if is_hold else "smtp,worker"
        with Sendry(sink_port, roles=roles, more=more, preload=preload) as sendry:
            wait_for_banner(port)
            sides = [
                (sendry.port, sendry.pid, ours),
                (hold_port if is_hold else port, peer_pid, peer),
            ]
            for number in range(pairs + 1):
                for side_port, pid, figures in sides if number % 2 else reversed(sides):
                    figures.append(run(side_port, pid, load, 0 if is_hold else sink_port))
                    if is_hold and figures is peer:
                        postfix.purge(folder)
    finally:
        postfix.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return ours[1:], peer[1:]


def ratio(ours: list[Figures], peer: list[Figures], name: str) -> str:
    """Minimum, median and maximum of the ratios, pair by pair."""
    values = sorted(getattr(a, name) / getattr(b, name) for a, b in zip(ours, peer, strict=True))
    return f"{values[0]:.2f}/{statistics.median(values):.2f}/{values[-1]:.2f}"


def show(title: str, goal: str, load: Load, ours: list[Figures], peer: list[Figures], *, is_hold: bool) -> None:
    """One line of the table."""
    name = "intake" if is_hold else "relayed"
    middle = statistics.median(getattr(figure, name) for figure in ours)
    other = statistics.median(getattr(figure, name) for figure in peer)
    print(
        f"{title:<34} s{load.sessions:<3} {load.length:>8} B  ours {middle:7.0f}/s  postfix {other:7.0f}/s"
        f"  ratio {ratio(ours, peer, name)} (goal {goal})  cpu {ratio(ours, peer, 'cpu')}"
        f"  memory {ratio(ours, peer, 'pss')}",
        flush=True,
    )


def slow_fsync() -> str:
    """The shared library that makes every fsync 5 ms slower."""
    library = pathlib.Path(tempfile.mkdtemp(prefix="slow-", dir="/var/tmp")) / "slow_fsync.so"
    source = pathlib.Path(__file__).with_name("slow_fsync.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    library.parent.chmod(0o755)
    return str(library)


def dkim_settings() -> str:
    """Settings that sign every mail of the load with RSA-2048."""
    from sendry.mail.dkim import generate_rsa

    key = pathlib.Path(tempfile.mkdtemp(prefix="dkim-", dir="/var/tmp")) / "key.pem"
    key.write_bytes(generate_rsa())
    return f'[dkim]\nenabled = true\nselector = "s"\ndomain = "bench.example"\nkey_file = "{key}"\n'


def everything(pairs: int) -> None:
    """Every figure of the table that has Postfix as its peer."""
    for sessions, goal in ((1, "2"), (10, "3"), (50, "4")):
        load = Load(sessions, 1000 if sessions == 1 else 3000)
        show("durable intake", goal, load, *pair(load, is_hold=True, pairs=pairs), is_hold=True)
    load = Load(10, 300, 1024 * 1024)
    show("durable intake", "1", load, *pair(load, is_hold=True, pairs=pairs), is_hold=True)
    for sessions, goal in ((1, "1.5"), (10, "3"), (50, "5")):
        load = Load(sessions, 1000 if sessions == 1 else 3000)
        show("relay", goal, load, *pair(load, is_hold=False, pairs=pairs), is_hold=False)
    load = Load(10, 3000)
    show(
        "relay, signing RSA-2048",
        "1.8",
        load,
        *pair(load, is_hold=False, pairs=pairs, more=dkim_settings()),
        is_hold=False,
    )
    load = Load(50, 2000)
    show(
        "relay, fsync 5 ms slower",
        "3",
        load,
        *pair(load, is_hold=False, pairs=pairs, preload=slow_fsync()),
        is_hold=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["all", "intake", "relay", "signed", "slow"], default="all")
    parser.add_argument("-s", "--sessions", type=int, default=10)
    parser.add_argument("-m", "--messages", type=int, default=2000)
    parser.add_argument("-l", "--length", type=int, default=2048)
    parser.add_argument("-n", "--pairs", type=int, default=3)
    wanted = parser.parse_args()
    if wanted.what == "all":
        everything(wanted.pairs)
        return
    load = Load(wanted.sessions, wanted.messages, wanted.length)
    is_hold = wanted.what == "intake"
    more = dkim_settings() if wanted.what == "signed" else ""
    preload = slow_fsync() if wanted.what == "slow" else ""
    figures = pair(load, is_hold=is_hold, pairs=wanted.pairs, more=more, preload=preload)
    show(wanted.what, "-", load, *figures, is_hold=is_hold)


if __name__ == "__main__":
    main()
