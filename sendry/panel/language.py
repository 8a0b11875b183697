"""The languages of the panel: which one a request reads, and the texts in it.

Texts are written in English in code and templates and translated by a gettext catalogue beside this file, read
once when somebody first asks for it. Outside a request everything is English.
"""

from __future__ import annotations

import io
import threading
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Final

from flask import Flask, g, has_request_context, request

ENGLISH: Final = "en"
LANGUAGES: Final = {"en": "English", "ru": "Русский"}
COOKIE: Final = "lang"
FOLDER: Final = Path(__file__).with_name("translations")

_catalogues: dict[str, NullTranslations] = {ENGLISH: NullTranslations()}
_reading = threading.Lock()


def current() -> str:
    """The language of this request: the cookie, else the person's own, else what the browser asks for."""
    if not has_request_context():
        return ENGLISH
    chosen: str | None = getattr(g, "language", None)
    if chosen is None:
        cookie = request.cookies.get(COOKIE, "")
        chosen = cookie if cookie in LANGUAGES else request.accept_languages.best_match(LANGUAGES) or ENGLISH
        g.language = chosen
    return chosen


def use(language: str) -> None:
    """Read the rest of this request in `language`, when we speak it and the browser has not chosen one."""
    if language in LANGUAGES and request.cookies.get(COOKIE, "") not in LANGUAGES:
        g.language = language


def gettext(text: str, /, **values: object) -> str:
    """The text in the language of this request, `%(name)s` filled in."""
    found = _catalogue(current()).gettext(text)
    return found % values if values else found


def ngettext(one: str, many: str, number: int, /, **values: object) -> str:
    """The same with the plural form of `number`, which is there as `%(num)s` too."""
    found = _catalogue(current()).ngettext(one, many, number)
    return found % {"num": number, **values}


def pgettext(context: str, text: str, /, **values: object) -> str:
    """The same for a text that means different things in different places."""
    found = _catalogue(current()).pgettext(context, text)
    return found % values if values else found


def later(text: str) -> str:
    """Mark a text of a table for translation; it is looked up when it is shown."""
    return text


def init_app(app: Flask) -> None:
    """Let templates speak: `_()`, `ngettext()` and `{% trans %}`."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # the extension adds it
        lambda text: _catalogue(current()).gettext(text),
        lambda one, many, number: _catalogue(current()).ngettext(one, many, number),
        newstyle=True,
        pgettext=lambda context, text: _catalogue(current()).pgettext(context, text),
        npgettext=lambda context, one, many, number: _catalogue(current()).npgettext(context, one, many, number),
    )


def _catalogue(language: str) -> NullTranslations:
    found = _catalogues.get(language)
    if found is None:
        with _reading:
            found = _catalogues.setdefault(language, _read(FOLDER / f"{language}.po"))
    return found


def _read(path: Path) -> GNUTranslations:
    # Imported here: a panel read in English only never needs it.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    with path.open("rb") as source:
        catalogue = read_po(source)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)
