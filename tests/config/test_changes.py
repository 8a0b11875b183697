"""A reload takes over domains, DKIM and users, and names every other key that changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sendry.config import Config, DomainMode, loads
from sendry.config.changes import changed_keys, needs_restart, taken_over

BASE = """
[smtp]
domain = "example.com"
[smtp.auth.users]
ann = "secret one"
[api]
api_key = "sk_0123456789"
[domains."a.example"]
mode = "sandbox"
"""


def test_the_same_text_has_no_changes() -> None:
    assert changed_keys(loads(BASE), loads(BASE)) == ()


def test_changed_keys_are_named_in_the_order_of_the_tables_secrets_too() -> None:
    changed = BASE.replace("one", "two").replace("sk_0123456789", "sk_9876543210").replace("sandbox", "production")
    assert changed_keys(loads(BASE), loads("queue.workers = 2\n" + changed)) == (
        "smtp.auth.users",
        "domains",
        "api.api_key",
        "queue.workers",
    )


@pytest.mark.parametrize("key", ["domains", "dkim.selector", "smtp.auth.users"])
def test_domains_keys_and_users_are_taken_over(key: str) -> None:
    assert not needs_restart(key)


@pytest.mark.parametrize("key", ["smtp.auth.required", "smtp.domain", "api.api_key", "domainsx"])
def test_the_rest_waits_for_a_restart(key: str) -> None:
    assert needs_restart(key)


@pytest.mark.parametrize(
    "read",
    [
        lambda config: config.domains["a.example"].mode is DomainMode.PRODUCTION,
        lambda config: "b.example" in config.own_domains,
        lambda config: config.smtp.auth.users == {"bob": "secret two"},
    ],
)
def test_what_is_taken_over_has_the_new_value(read: Callable[[Config], bool]) -> None:
    text = BASE.replace("sandbox", "production").replace('ann = "secret one"', 'bob = "secret two"')
    assert read(taken_over(loads(BASE), loads(text + '[domains."b.example"]\n')))


def test_what_is_not_taken_over_keeps_the_old_value() -> None:
    new = loads("queue.workers = 2\n" + BASE.replace("example.com", "example.net"))
    kept = taken_over(loads(BASE), new)
    assert kept == loads(BASE)
