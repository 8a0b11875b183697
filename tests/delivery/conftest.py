"""Fixtures of the delivery room: names, hosts, an office."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from sendry.store.database import Store
from tests.delivery.office import Office
from tests.remote_mx import EXTENSIONS, Authority, RemoteMx
from tests.zones import Zones


@pytest.fixture
def zones() -> Iterator[Zones]:
    with Zones() as zones:
        yield zones


@pytest.fixture
def mx() -> Iterator[RemoteMx]:
    with RemoteMx() as mx:
        yield mx


@pytest.fixture(params=[True, False], ids=["pipelined", "one by one"])
def either_mx(request: pytest.FixtureRequest) -> Iterator[RemoteMx]:
    """A host that takes pipelining, then one that does not."""
    plain = tuple(name for name in EXTENSIONS if name != "PIPELINING")
    with RemoteMx(extensions=EXTENSIONS if request.param else plain) as mx:
        yield mx


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts unless told."""
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return Authority(ca, str(path))


@pytest.fixture
def open_office(sqlite_store: Store, zones: Zones) -> Iterator[Callable[..., Office]]:
    """Opens an office; `text` is TOML, other names are changed settings."""
    with ExitStack() as stack:

        def opened(text: str = "", **changes: Any) -> Office:
            return stack.enter_context(Office(sqlite_store, zones, text, **changes))

        yield opened


@pytest.fixture
def office(open_office: Callable[..., Office], mx: RemoteMx) -> Office:
    """An office whose remote hosts listen where `mx` does; example.org is the domain of `mx`."""
    office = open_office(port=mx.port)
    office.route("example.org", mx)
    return office
