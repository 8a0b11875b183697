"""The texts of the panel as they stand in code and templates, and the catalogues that translate them.

`python -m tests.panel.catalogue` brings the catalogues up to date: new texts are added untranslated, texts that are
gone are dropped, the rest stays as it is.
"""

from __future__ import annotations

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "sendry" / "panel" / "translations"
_KEYWORDS = {
    "_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "later": None,
}


def texts() -> Catalog:
    """Every text that is to be translated."""
    found = Catalog(project="Sendry", charset="utf-8")
    sources: list[tuple[str, Path, dict[str, str]]] = [
        ("python", path, {}) for path in sorted((ROOT / "sendry" / "panel").rglob("*.py"))
    ]
    sources.append(("python", ROOT / "sendry" / "web.py", {}))
    options = {"trimmed": "true", "silent": "false", "encoding": "utf-8"}
    sources += [("jinja2", path, options) for path in sorted((ROOT / "templates").rglob("*.html"))]
    for method, path, settings in sources:
        extracted = extract_from_file(method, path, keywords=_KEYWORDS, options=settings)
        for line, message, comments, context in extracted:
            found.add(message, None, [(str(path.relative_to(ROOT)), line)], auto_comments=comments, context=context)
    return found


def catalogue(language: str) -> Catalog:
    """The catalogue of a language as it is."""
    with (FOLDER / f"{language}.po").open("rb") as source:
        return read_po(source, locale=language)


def bring_up_to_date(language: str) -> None:
    """Write the catalogue with the texts of now."""
    path = FOLDER / f"{language}.po"
    known = catalogue(language) if path.exists() else Catalog(locale=language, project="Sendry", charset="utf-8")
    known.update(texts(), no_fuzzy_matching=True)
    with path.open("wb") as target:
        write_po(target, known, width=0, no_location=True, omit_header=False, ignore_obsolete=True, sort_output=True)


if __name__ == "__main__":
    bring_up_to_date("ru")
