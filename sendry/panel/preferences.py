"""The reader's language and theme, kept in cookies, so that the first paint is right; the language also by person."""

from __future__ import annotations

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from sendry.panel import session
from sendry.panel.htmx import is_own_path
from sendry.panel.language import COOKIE, LANGUAGES
from sendry.panel.pages import THEME_COOKIE, THEMES, free, panel

_YEAR = 365 * 24 * 3600


@panel.post("/preferences")
@free
def choose() -> ResponseReturnValue:
    """Set language or theme and go back."""
    back = request.form.get("back", "")
    response = redirect(back if is_own_path(back) else url_for("panel.start"), 303)
    assert isinstance(response, Response)
    chosen = request.form.get("lang", "")
    if chosen in LANGUAGES:
        _keep(response, COOKIE, chosen)
        if (somebody := session.person()) is not None:
            session.rooms().users.set_locale(somebody.id, chosen)
    wanted = request.form.get("theme", "")
    if wanted in THEMES:
        _keep(response, THEME_COOKIE, wanted)
    return response


def _keep(response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, max_age=_YEAR, samesite="Lax", secure=request.is_secure)
