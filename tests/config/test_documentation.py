"""config.example.toml and docs/configuration.md name every key with its default and meaning, and no other."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sendry.config import load, loads
from sendry.config.listing import KnownKey, known_keys
from sendry.config.not_yet import NOT_YET_AVAILABLE, is_not_yet_available

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.toml"
DOCUMENT = ROOT / "docs" / "configuration.md"

KEYS = {key.name: key for key in known_keys()}

# What the example sets to something else than the default, because the default would be a poor start.
BETTER_IN_EXAMPLE = {
    "server.hostname": "mail.example.com",
    "smtp.domain": "example.com",
    "queue.max_retries": 40,
    "api.listen_addr": "127.0.0.1:8080",
    "domains.NAME.dkim.selector": "sendry",
    "domains.NAME.dkim.key_file": "/var/lib/sendry/dkim/example.com/sendry.pem",
}
# Tables under which the example has a name of its own choosing.
NAMED = ("domains", "rate_limit.recipient_domains", "header_rules.domains", "delivery.destinations")


def everything_active() -> str:
    """The example with every commented setting and table switched on; prose begins with «# »."""
    return re.sub(r'^#(?=[\[a-z"])', "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)


def leaves(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = f"{path}.NAME" if path in NAMED else f"{path}.{name}".removeprefix(".")
        if isinstance(value, dict) and key not in KEYS:
            yield from leaves(value, key)
        else:
            yield key, value


def documented() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| `([a-zA-Z_.]+)` \| (.*?) \| (.*) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (default, meaning) for name, default, meaning in rows}


def test_the_example_has_every_key_once_and_no_other() -> None:
    found = [key for key, _ in leaves(tomllib.loads(everything_active()))]
    assert sorted(found) == sorted(KEYS)


def test_the_example_shows_the_defaults() -> None:
    found = dict(leaves(tomllib.loads(everything_active())))
    for name, key in KEYS.items():
        assert found[name] == BETTER_IN_EXAMPLE.get(name, key.default), name


def test_the_example_says_what_each_key_means() -> None:
    text = EXAMPLE.read_text("utf-8")
    assert [name for name, key in KEYS.items() if f"\n# {key.meaning}" not in text] == []


def test_the_example_is_valid_as_it_stands_and_with_everything_active() -> None:
    assert load(EXAMPLE, {}).smtp.domain == "example.com"
    config = loads(everything_active())
    assert config.dkim_keys["example.com"][0].selector == "sendry"


def test_the_example_holds_no_credentials() -> None:
    config = loads(everything_active())
    assert config.api.api_key == ""
    assert dict(config.smtp.auth.users) == {}


def test_the_example_marks_what_is_not_yet_available_and_leaves_it_commented() -> None:
    active = dict(leaves(tomllib.loads(EXAMPLE.read_text("utf-8"))))
    assert [name for name in active if KEYS[name].is_not_yet_available] == []
    for block in EXAMPLE.read_text("utf-8").split("\n\n"):
        header = re.search(r"^#?\[(.+)\]$", block, re.MULTILINE)
        if header is None:
            continue
        table = re.sub(r'\."[^"]+"', ".NAME", header[1])
        inner = [key for name, key in KEYS.items() if name.rpartition(".")[0] == table]
        marked = block.count("(not yet available)")
        unavailable = [key for key in inner if key.is_not_yet_available]
        assert bool(marked) == bool(unavailable) or table == "header_rules.domains", table
        if len(unavailable) < len(inner):
            assert marked == len(unavailable), table


def test_the_document_has_every_key_once_and_no_other() -> None:
    assert sorted(documented()) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_the_document_says_default_meaning_and_availability(key: KnownKey) -> None:
    default, meaning = documented()[key.name]
    if key.name == "server.hostname":
        assert default == key.default
    else:
        assert default == f"`{json.dumps(key.default, ensure_ascii=False)}`"
    assert meaning.replace(" **(not yet available)**", "") == key.meaning
    assert ("not yet available" in meaning) == key.is_not_yet_available


def test_the_document_marks_every_secret() -> None:
    marked = re.findall(
        r"`([a-z_.]+)`", " ".join(re.findall(r"\*secret:\*([^.]*(?:\.[a-z_`][^.]*)*)", DOCUMENT.read_text()))
    )
    assert set(marked) == {name for name, key in KEYS.items() if key.is_secret}


def test_the_toml_in_the_document_is_valid() -> None:
    for block in re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL):
        config = loads(block) if "header_rules" not in block else None
        assert config is None or config.own_domains or config.smtp.auth.users


def test_every_line_of_what_is_not_yet_available_means_a_key() -> None:
    for line in NOT_YET_AVAILABLE:
        assert any(is_not_yet_available(name) and name.startswith(line.removesuffix("*")) for name in KEYS), line
