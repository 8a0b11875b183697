"""The WSGI application: panel, API and public pages put together, and what holds for every answer of theirs.

Nobody's script runs here but ours: the content policy allows no inline script and no outside host. A request that
changes something carries a token of its page and comes from this site. Where nobody signs in (sandbox profile on
loopback) only this machine's own names are answered, so that a foreign page cannot reach in by DNS rebinding.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Flask, Response, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import Forbidden, HTTPException

from sendry.access.keys import Network, client_ip, is_within
from sendry.api import blueprint as api
from sendry.api import error_response
from sendry.config.tree import Config
from sendry.panel import language, pages, session
from sendry.panel.htmx import is_htmx
from sendry.panel.language import gettext
from sendry.panel.screens import panel
from sendry.public import blueprint as public
from sendry.rooms import Rooms

log = logging.getLogger(__name__)

ROOT: Final = Path(__file__).resolve().parents[1]
CONTENT_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",  # widths that come from data, see the design guide
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: over TLS the check of the form token wants to see where a form came from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FORM_LIMIT: Final = 256 * 1024
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_forms = CSRFProtect()

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


def create_app(rooms: Rooms, secret_key: str) -> Flask:
    """Put the application together. `secret_key` signs cookies and form tokens."""
    app = Flask("sendry", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static"))
    app.extensions["sendry"] = rooms
    app.config.update(
        SECRET_KEY=secret_key,
        WTF_CSRF_TIME_LIMIT=None,  # pages stay open for days
        MAX_FORM_MEMORY_SIZE=1024 * 1024,
    )
    app.before_request(_begin)
    app.before_request(_refuse_strangers)
    session.init_app(app, rooms.config.web.session_ttl)
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # asked for below, where there are forms
    _forms.init_app(app)
    language.init_app(app)
    pages.init_app(app)
    app.register_blueprint(panel)
    app.register_blueprint(api)
    app.register_blueprint(public)
    app.register_error_handler(Exception, _error)
    app.after_request(_finish)
    app.wsgi_app = _behind_proxies(app.wsgi_app, rooms.config.api.trusted_proxies)  # type: ignore[assignment,method-assign]  # the place Flask has for it
    return app


def _behind_proxies(app: WsgiApp, trusted: Sequence[Network]) -> WsgiApp:
    """Believe a trusted proxy what scheme and host the browser used. Its X-Forwarded-For is read by access.keys."""

    def translated(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if trusted and is_within(str(environ.get("REMOTE_ADDR", "")), trusted):
            scheme = str(environ.get("HTTP_X_FORWARDED_PROTO", "")).rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
            if host := str(environ.get("HTTP_X_FORWARDED_HOST", "")).rpartition(",")[2].strip():
                environ["HTTP_HOST"] = host
        return app(environ, start_response)

    return translated


def _begin() -> None:
    g.request_id = secrets.token_hex(6)


def _is_api() -> bool:
    return request.path.startswith("/api/")


def _is_panel() -> bool:
    return request.blueprint == panel.name


def _refuse_strangers() -> None:
    config: Config = session.rooms().config
    if not (_is_panel() or _is_api()):
        return
    if config.api.allowed_ips and not is_within(
        client_ip(request.environ, config.api.trusted_proxies), config.api.allowed_ips
    ):
        raise Forbidden(gettext("Your address may not use this Sendry. Its list is the setting api.allowed_ips."))
    is_open_api = config.allows_anonymous_api and not config.api.allow_anonymous
    if not config.needs_sign_in or (is_open_api and _is_api()):
        _refuse_foreign_name(config)
        _refuse_foreign_origin()
    elif _is_panel() and request.method in _CHANGING:
        _refuse_foreign_origin()
    if _is_panel() and request.method in _CHANGING:
        request.max_content_length = _FORM_LIMIT
        _forms.protect()


def _refuse_foreign_name(config: Config) -> None:
    name = (urlsplit(f"//{request.host}").hostname or "").rstrip(".")
    own = {"localhost", config.server.hostname, urlsplit(config.api.public_url).hostname}
    if name in own or name.endswith(".localhost") or is_within(name, _LOOPBACK):
        return
    raise Forbidden(gettext("Without sign-in Sendry answers as localhost only, not as «%(name)s».", name=name))


def _refuse_foreign_origin() -> None:
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.host}":
        raise Forbidden(gettext("This request comes from another site. Open the page here and try again."))
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.method in _CHANGING:
        raise Forbidden(gettext("This request comes from another site. Open the page here and try again."))


def _finish(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "static":
        # The version is in the address: a changed file has another one.
        response.headers["Cache-Control"] = _FOR_GOOD if "v" in request.args else "no-cache"
    return response


def _error(error: Exception) -> ResponseReturnValue:
    if _is_api():
        return error_response(error)
    if not isinstance(error, HTTPException):
        log.error("a page ended in an unforeseen error", extra={"request_id": g.request_id}, exc_info=error)
    elif error.code is not None and error.code < 400:
        return error.get_response()  # a redirect of the router
    status = error.code or 500 if isinstance(error, HTTPException) else 500
    title, advice = _words_of(error, status)
    if is_htmx():
        response = make_response(advice, status)
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
        return response
    return render_template(
        "errors/error.html", status=status, title=title, advice=advice, request_id=g.request_id
    ), status


def _words_of(error: Exception, status: int) -> tuple[str, str]:
    """What happened, and what to do."""
    if isinstance(error, CSRFError):
        return gettext("This page was too old"), gettext(
            "Load it again and repeat what you did. Nothing was changed."
        )
    if isinstance(error, Forbidden):
        own_words = error.description if error.description != Forbidden.description else None
        return (
            gettext("Not allowed"),
            own_words or gettext("Your role may look at this, not change it. Ask an admin."),
        )
    known = {
        404: (gettext("Not here"), gettext("There is nothing at this address. What was here may have been deleted.")),
        405: (gettext("Not like this"), gettext("This address takes another kind of request. Start from the page.")),
        413: (gettext("Too large"), gettext("What was sent is larger than this page takes.")),
    }
    if status in known:
        return known[status]
    if status < 500:
        return gettext("Not understood"), gettext("The browser sent something that makes no sense here. Go back.")
    return gettext("Something broke"), gettext(
        "Nothing of yours is lost. Try again; the log of the server says more."
    )
