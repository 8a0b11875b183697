"""CPU and memory of a process tree from /proc, and waiting for a port; no root needed."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import time

_TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> tuple[int, float] | None:
    """(parent, CPU seconds with those of reaped children) of one process."""
    try:
        raw = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = raw[raw.rindex(")") + 2 :].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15]) / _TICK


def tree(root: int) -> list[int]:
    """root and all its living descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := _stat(int(name))):
            children.setdefault(found[0], []).append(int(name))
    seen, todo = [], [root]
    while todo:
        pid = todo.pop()
        seen.append(pid)
        todo += children.get(pid, [])
    return seen


def cpu_seconds(root: int) -> float:
    """CPU seconds used so far by the tree, ended children included."""
    return sum(found[1] for pid in tree(root) if (found := _stat(pid)))


def memory_mib(root: int) -> tuple[float, float]:
    """(RSS, PSS) of the tree in MiB; PSS counts shared pages once."""
    rss = pss = 0
    for pid in tree(root):
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if match := re.match(r"(Rss|Pss):\s+(\d+)", line):
                if match[1] == "Rss":
                    rss += int(match[2])
                else:
                    pss += int(match[2])
    return rss / 1024, pss / 1024


def wait_for_banner(port: int, timeout: float = 30) -> float:
    """Seconds until something answers 220 on 127.0.0.1:port. Raises TimeoutError."""
    begun = time.monotonic()
    while time.monotonic() - begun < timeout:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.settimeout(5)
                if connection.recv(200).startswith(b"220"):
                    connection.sendall(b"QUIT\r\n")
                    return time.monotonic() - begun
        except OSError:
            pass
        time.sleep(0.01)
    raise TimeoutError(f"nothing answers 220 on 127.0.0.1:{port}")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
