"""Arranging: settings, work, contents for the tests of delivery."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from sendry.config.values import DeliveryTls, HostPort
from sendry.delivery.settings import Settings
from sendry.queue.states import Route
from sendry.queue.work import Work

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MESSAGE = (
    b"From: Alice <alice@example.com>\r\nTo: bob@example.test\r\nSubject: hello\r\n"
    b"Message-ID: <1@example.com>\r\n\r\nHello Bob.\r\n"
)
_numbers = itertools.count(1)


def settings(**changes: Any) -> Settings:
    """Settings with short times; loopback may be an MX."""
    import ipaddress

    usual: dict[str, Any] = {
        "hostname": "out.example.com",
        "relay": None,
        "port": 25,
        "allowed_networks": (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        "own_listeners": (),
        "tls": DeliveryTls.OPPORTUNISTIC,
        "tls_of_destination": {},
        "connections": 256,
        "connections_per_destination": 10,
        "messages_per_connection": 100,
        "connect_timeout": 2.0,
        "command_timeout": 2.0,
        "dot_timeout": 2.0,
        "idle_kept": 30.0,
        "retry_interval": timedelta(minutes=5),
        "retry_max_interval": timedelta(hours=4),
        "max_retries": 5,
        "horizon": timedelta(minutes=75),
        "process_interval": 10.0,
    }
    return Settings(**(usual | changes))


def listener(text: str) -> HostPort:
    host, _, port = text.rpartition(":")
    return HostPort(host, int(port))


def work(address: str = "bob@example.test", **changes: Any) -> Work:
    """One claimed recipient of a small message of its own."""
    number = next(_numbers)
    small = changes.get("small", MESSAGE)
    usual: dict[str, Any] = {
        "recipient_id": number,
        "message_id": number,
        "address": address,
        "destination": address.rpartition("@")[2],
        "route": Route.MX,
        "original": "",
        "attempts": 0,
        "is_possible_duplicate": False,
        "notify": "",
        "orcpt": "",
        "is_delay_told": False,
        "created_at": NOW,
        "sender": "alice@example.com",
        "domain": "example.com",
        "header_from": "Alice <alice@example.com>",
        "origin_kind": "smtp",
        "priority": 0,
        "size": len(small) if small is not None else 0,
        "smtputf8": False,
        "eight_bit": False,
        "ret": "",
        "envid": "",
        "recipient_count": 1,
        "small": small,
    }
    return Work(**(usual | changes))
