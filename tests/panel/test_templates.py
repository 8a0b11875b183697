from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.panel.conftest import Panel

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
PAGES = [path for path in TEMPLATES if path != ROOT / "templates" / "mail" / "sample.html"]  # that one is a mail
NAMES = [str(path.relative_to(ROOT / "templates")) for path in PAGES]


def test_every_template_compiles(sandbox: Panel) -> None:
    templates = sandbox.client.application.jinja_env
    assert all(templates.get_template(name) for name in NAMES)


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_templates_run_no_script_and_trust_no_text(path: Path) -> None:
    source = path.read_text()
    scripts = re.findall(r"<script\b(.*?)>(.*?)</script>", source, re.DOTALL)
    assert all("src=" in attributes and not body for attributes, body in scripts)
    assert not re.search(r"\son[a-z]+=", source)
    assert "javascript:" not in source
    assert "|safe" not in source.replace(" ", "")
    assert "<style" not in source
    assert "hx-confirm" not in source
    assert "hx-on" not in source


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_templates_write_no_colour_and_no_style_but_a_value_from_data(path: Path) -> None:
    source = path.read_text()
    assert re.findall(r'style="(?!--v: \{\{)[^"]*"', source) == []
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![^<]*\}\})", re.sub(r"#[a-z-]+", "", source.replace("&#", "")))


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_are_made_by_name(path: Path) -> None:
    written = re.findall(r'(?:href|action|hx-get|hx-post|src)="(/[^"]*)"', path.read_text())
    assert written == []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_form_that_changes_something_carries_the_token(path: Path) -> None:
    for form in re.findall(r'<form\b[^>]*method="post".*?</form>', path.read_text(), re.DOTALL):
        assert 'name="csrf_token"' in form


def test_every_icon_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static" / "img" / "icons.svg").read_text()))
    used: set[str] = set()
    for path in [*TEMPLATES, *(ROOT / "sendry" / "panel").rglob("*.py")]:
        used |= set(re.findall(r'icon\("([a-z0-9-]+)"', path.read_text()))
    assert used
    assert used - sprite == set()


def test_the_vendored_script_is_the_one_its_name_says() -> None:
    assert 'version:"2.0.11"' in (ROOT / "static" / "js" / "htmx-2.0.11.min.js").read_text()
