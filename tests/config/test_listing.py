"""What `config show` prints: every key, its value, its origin, no secret."""

from __future__ import annotations

from pathlib import Path

from sendry.config import loads
from sendry.config.listing import effective, known_keys, masked

TEXT = """
[smtp]
domain = "example.com"
auth.users = { app = "hunter2" }
[domains."a.example".dkim]
selector = "s"
key_file = "/k"
[api]
api_key = "hunter2"
"""


def shown(text: str) -> dict[str, tuple[object, str]]:
    config = loads(text, {"SENDRY_QUEUE__WORKERS": "2"}, Path("c.toml"))
    return {item.key: (item.value, str(item.origin)) for item in effective(config)}


def test_every_key_is_shown_with_its_origin() -> None:
    found = shown(TEXT)
    assert found["smtp.domain"] == ("example.com", "c.toml:3")
    assert found["smtp.listen_addr"] == (":25", "default")
    assert found["queue.workers"] == (2, "environment SENDRY_QUEUE__WORKERS")
    assert found["queue.retry_interval"] == ("5m", "default")
    assert found["dlq.max_age"] == (0, "default")
    assert found['domains."a.example".mode'] == ("production", "default")
    assert found['domains."a.example".dkim.selector'] == ("s", "c.toml:6")
    assert found["smtp.trusted_networks"] == (["127.0.0.0/8", "::1/128"], "default")
    assert shown("")["smtp.listen_addr"] == ("127.0.0.1:1025", "sandbox profile")


def test_secrets_are_masked_and_what_is_not_set_stays_empty() -> None:
    found = shown(TEXT)
    assert found["api.api_key"] == ("********", "c.toml:9")
    assert found["smtp.auth.users.app"] == ("********", "c.toml:4")
    assert found["web.secret_key"] == ("", "default")
    assert shown("")["smtp.auth.users"] == ({}, "default")


def test_of_a_database_url_host_and_name_stay() -> None:
    assert masked("postgresql://u:hunter2@db:5433/mail?password=hunter2") == "postgresql://********@db:5433/mail"
    assert masked("postgres://u:hunter2@[::1/mail") == "********"


def test_shown_keys_are_known_keys() -> None:
    known = {key.name for key in known_keys()}
    assert {key for key in shown("") if key not in known} == set()
    assert len(known) == len(list(known_keys()))


def test_what_is_shown_loads_as_the_same_configuration() -> None:
    before = loads("")
    lines = [f"{item.key} = {_toml(item.value)}" for item in effective(before)]
    assert loads("\n".join(lines)) == before


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{}"
    return (
        str(value).lower()
        if isinstance(value, bool)
        else str(value)
        if isinstance(value, int | float)
        else repr(value)
    )
