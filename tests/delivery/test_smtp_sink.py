"""Postfix's smtp-sink as the other side: its faults, and a load that must arrive once, all of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import make
from tests.delivery.office import Office

OpenOffice = Callable[..., Office]
PROGRAM = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


@contextmanager
def sink(*flags: str) -> Iterator[int]:
    """A running smtp-sink; gives its port."""
    if not Path(PROGRAM).exists():
        pytest.fail("smtp-sink is missing: apt-get install postfix", pytrace=False)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    process = subprocess.Popen([PROGRAM, *user, *flags, f"127.0.0.1:{port}", "200"], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while not answers(port) and time.monotonic() < until:
            assert process.poll() is None, "smtp-sink ended"
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def office_for(open_office: OpenOffice) -> Iterator[Callable[..., Office]]:
    """Opens an office whose mail for example.org goes to an smtp-sink with these flags."""
    with ExitStack() as stack:

        def opened(*flags: str, **changes: Any) -> Office:
            office = open_office(port=stack.enter_context(sink(*flags)), connections_per_destination=4, **changes)
            office.zones.mx("example.org", (10, "mx.example.org"))
            office.zones.a("mx.example.org", "127.0.0.1")
            return office

        yield opened


FAULTS: list[tuple[list[str], str, int]] = [
    ([], "delivered", 250),
    (["-p"], "delivered", 250),
    (["-e"], "delivered", 250),
    (["-8", "-N", "-E", "-a"], "delivered", 250),
    (["-f", "EHLO"], "delivered", 250),
    (["-f", "CONNECT"], "deferred", 500),
    (["-f", "MAIL"], "failed", 500),
    (["-f", "RCPT"], "failed", 500),
    (["-f", "DATA"], "failed", 500),
    (["-f", "."], "failed", 500),
    (["-r", "CONNECT"], "deferred", 450),
    (["-r", "EHLO"], "deferred", 450),
    (["-r", "MAIL"], "deferred", 450),
    (["-r", "RCPT"], "deferred", 450),
    (["-r", "DATA"], "deferred", 450),
    (["-r", "."], "deferred", 450),
    (["-Q", "MAIL"], "deferred", 421),
    (["-Q", "RCPT"], "deferred", 421),
    (["-Q", "DATA"], "deferred", 421),
    (["-Q", "."], "deferred", 421),
    (["-q", "CONNECT"], "deferred", 0),
    (["-q", "EHLO"], "deferred", 0),
    (["-q", "MAIL"], "deferred", 0),
    (["-q", "RCPT"], "deferred", 0),
    (["-q", "DATA"], "deferred", 0),
    (["-q", "."], "deferred", 0),
    (["-A", "0"], "failed", 550),
]


@pytest.mark.parametrize("recipients", [1, 2, 50])
@pytest.mark.parametrize(
    ("flags", "status", "code"), FAULTS, ids=lambda value: " ".join(value) if isinstance(value, list) else str(value)
)
def test_a_fault_of_the_other_side_is_what_it_is_for_every_recipient(
    office_for: Callable[..., Office], flags: list[str], status: str, code: int, recipients: int
) -> None:
    office = office_for(*flags)
    sent = office.send(*(f"r{n}@example.org" for n in range(recipients)))

    office.turn()

    rows = office.view(sent).recipients
    assert {(str(row.status), row.last_code, row.attempts) for row in rows} == {(status, code, 1)}
    assert {row.is_possible_duplicate for row in rows} == {flags == ["-q", "."]}


def test_large_mail_to_a_slow_reader_arrives(office_for: Callable[..., Office]) -> None:
    office = office_for("-H", "1", "-T", "4096", command_timeout=10.0, dot_timeout=10.0)
    body = (b"y" * 76 + b"\r\n") * 12_000
    sent = office.send(content=make.spooled(office.store, body))

    office.turn()

    assert office.recipient(sent).status == "delivered"


@pytest.fixture
def dump() -> Iterator[Path]:
    """A folder that smtp-sink, which gives up root, can write to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_two_thousand_messages_arrive_once_each(office_for: Callable[..., Office], dump: Path) -> None:
    office = office_for("-d", f"{dump}/m.")
    envelopes = [make.envelope(f"r{n}@example.org") for n in range(2000)]
    for start in range(0, 2000, 500):
        office.intake.accept_many(envelopes[start : start + 500], office.clock()).result(30)

    for _ in range(8):
        office.turn()

    arrived = Counter(
        line
        for file in dump.iterdir()
        for line in file.read_text(errors="replace").splitlines()
        if line.startswith("X-Rcpt-Args:")
    )
    assert office.lookup.counts().delivered == 2000
    assert len(arrived) == 2000
    assert set(arrived.values()) == {1}
