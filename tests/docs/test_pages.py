"""The pages hang together: links lead somewhere, settings exist, TOML is valid, the index names every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sendry.config import loads
from sendry.config.listing import known_keys
from tests.docs.guides import DOCS, ROOT, anchors, blocks, documents, links, read, spans

KEYS = {key.name: key for key in known_keys()}
TABLES = {name[:end] for name in KEYS for end in [match.start() for match in re.finditer(r"\.", name)]}
_FIRST = "|".join(sorted({name.partition(".")[0] for name in KEYS}))
_SETTING = re.compile(rf"((?:{_FIRST})(?:\.[A-Za-z_]+)+)(?![\w.-])(?: = .*)?")
_VARIABLE = re.compile(r"SENDRY_([A-Z_]+)")
_OTHERWISE_TOLD = frozenset({"SENDRY_CONFIG"})  # names the file
_FILES = (".db", ".md", ".py", ".toml", ".txt", ".service", ".pem", ".gz")

_PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in documents()]
# The page of all settings shows them in fragments, and marks what is not yet available; it has tests of its own.
_GUIDES = [page for page in _PAGES if page.values != (DOCS / "configuration.md",)]


def settings_in(text: str) -> list[str]:
    """The settings that a page names between backticks."""
    found = [match[1] for span in spans(text) if (match := _SETTING.fullmatch(span))]
    return [name for name in found if not name.endswith(_FILES)]


def general(name: str) -> str:
    """A setting with NAME for a name of the user's choosing; of a secret in a file the secret itself."""
    short = name.removesuffix("_file")
    return short if name not in KEYS and short in KEYS and KEYS[short].is_secret else name


def variables_in(text: str) -> list[str]:
    """The settings that a page names as variables of the environment, in lower case with dots."""
    names = [match[0] for match in _VARIABLE.finditer(text) if match[0] not in _OTHERWISE_TOLD]
    paths = [name.removeprefix("SENDRY_").lower().replace("__", ".") for name in names]
    return [re.sub(r"^(domains|smtp\.auth\.users)\.[a-z0-9_]+", r"\1.NAME", path) for path in paths if path]


@pytest.mark.parametrize("page", _PAGES)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for link in links(read(page)):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(read(target)), link


@pytest.mark.parametrize("page", _PAGES)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = [general(name) for name in settings_in(read(page))]
    assert [name for name in named if name not in KEYS and name not in TABLES] == []


@pytest.mark.parametrize("page", _PAGES)
def test_every_variable_that_a_page_names_is_a_setting(page: Path) -> None:
    named = [general(name) for name in variables_in(read(page))]
    known = {*KEYS, *TABLES, "smtp.auth.users.NAME"}
    assert [name for name in named if name not in known and not name.endswith("_")] == []


@pytest.mark.parametrize("page", _GUIDES)
def test_no_guide_builds_on_what_is_not_yet_available(page: Path) -> None:
    named = {*map(general, settings_in(read(page))), *map(general, variables_in(read(page)))}
    assert [name for name in named if name in KEYS and KEYS[name].is_not_yet_available] == []


@pytest.mark.parametrize("page", _GUIDES)
def test_the_toml_of_a_page_is_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks(read(page), "toml"):
        for secret in re.findall(r'"/run/secrets/(\w+)"', block.text):
            (tmp_path / secret).write_text("a secret")
        text = block.text.replace("/run/secrets/", f"{tmp_path}/")
        loads(text, {"SENDRY_SMTP__DOMAIN": "example.com", "SENDRY_API__API_KEY": "a-key-of-good-length"})


def test_the_index_names_every_page() -> None:
    named = {(DOCS / link).resolve() for link in links(read(DOCS / "README.md"))}
    assert named == {*DOCS.glob("*.md"), ROOT / "bench" / "README.md"} - {DOCS / "README.md"}
