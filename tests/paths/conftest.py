"""A scripted world for whole-service tests: a nameserver, a receiver, and Sendry between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.paths.running import PRODUCTION, Running
from tests.remote_mx import RemoteMx
from tests.zones import Zones

Start = Callable[..., Running]


@pytest.fixture
def remote() -> Iterator[RemoteMx]:
    """The MX of example.net."""
    with RemoteMx() as remote:
        yield remote


@pytest.fixture
def zones() -> Iterator[Zones]:
    """A nameserver where the MX of example.net is on this machine."""
    with Zones() as zones:
        zones.mx("example.net", (10, "mx.example.net"))
        zones.a("mx.example.net", "127.0.0.1")
        yield zones


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Sendry with more settings, over a folder of the test's own."""
    with ExitStack() as running:

        def started(more: str = "", *, base: str = PRODUCTION, name: str = "sendry", **how: object) -> Running:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            return running.enter_context(Running(folder, base + more, **how))  # type: ignore[arg-type]  # passed on

        yield started


@pytest.fixture
def outward(remote: RemoteMx, zones: Zones) -> str:
    """The settings by which mail for example.net reaches `remote`."""
    return f'delivery.port = {remote.port}\ndns.nameservers = ["127.0.0.1:{zones.address[1]}"]\n'
