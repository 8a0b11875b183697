"""What the commands of the guides talk to: a Sendry in production before a scripted host, and one as sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from tests.docs.running import Sendry
from tests.remote_mx import Action, RemoteMx

KEY = "the-root-key-of-the-guides"

LISTENERS = """
[smtp]
listen_addr = "127.0.0.1:0"
submission_addr = ""
smtps_addr = ""
{smtp}
[api]
listen_addr = "127.0.0.1:0"
api_key = "{key}"
[storage]
path = "{folder}/data/queue.db"
"""
PRODUCTION = """
[delivery]
relay = "127.0.0.1:{port}"
relay_tls = "none"
[domains."test.example.com"]
mode = "sandbox"
"""
ATTACHMENT = {"filename": "order.txt", "content": "NDcxMQo="}


def judge_recipient(address: str) -> Action | None:
    """What the host says to a recipient: there is no nobody."""
    return "550 5.1.1 no such user here" if address.startswith("nobody@") else None


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sendry]:
    """A Sendry that sends for example.com, with a key."""
    folder = tmp_path_factory.mktemp("production")
    with RemoteMx() as mx:
        mx.judge_recipient = judge_recipient
        settings = LISTENERS.format(smtp='domain = "example.com"', key=KEY, folder=folder)
        with Sendry(folder, settings + PRODUCTION.format(port=mx.port), KEY) as sendry:
            yield sendry


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sendry]:
    """A Sendry without a mail domain and without a key."""
    folder = tmp_path_factory.mktemp("sandbox")
    with Sendry(folder, LISTENERS.format(smtp="", key="", folder=folder)) as sendry:
        yield sendry


def _next_month() -> str:
    return (datetime.now(UTC) + timedelta(days=30)).isoformat()


# The variables that commands have beside $KEY, and how to come by a fresh value.
VALUES: Mapping[str, Callable[[Sendry], str]] = {
    "ID": lambda sendry: sendry.wait_for(sendry.send(tags=["orders"]), "delivered"),
    "WAITING": lambda sendry: sendry.send(send_at=_next_month()),
    "DEAD": lambda sendry: sendry.wait_for(sendry.send(to=["nobody@example.net"]), "failed"),
    "CAPTURED": lambda sendry: sendry.send(**{"from": "shop@test.example.com"}, attachments=[ATTACHMENT]),
}
