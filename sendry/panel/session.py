"""Who is looking at the panel, and the rooms that its views may call.

In the sandbox profile on loopback nobody signs in and everybody may act. Everywhere else a session of
`access.sessions` stands behind each request; the browser's cookie holds its token, signed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec

from flask import Flask, abort, current_app, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, current_user, login_user, logout_user

from sendry.access.keys import client_ip
from sendry.access.sessions import SignedIn
from sendry.access.users import Person
from sendry.panel import language, words
from sendry.panel.htmx import go, is_htmx, is_own_path
from sendry.rooms import Rooms

P = ParamSpec("P")


def rooms() -> Rooms:
    """The rooms of this process."""
    found: Rooms = current_app.extensions["sendry"]
    return found


class Viewer:
    """What flask-login keeps of a signed-in person: its id is the token of the session, not of the person."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, signed_in: SignedIn) -> None:
        self.person = signed_in.person
        self._token = signed_in.token

    def get_id(self) -> str:
        """The session's token."""
        return self._token


class Cookies(SecureCookieSessionInterface):
    """The session cookie: bound to the host and Secure behind TLS, and apart for each port of one machine."""

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002 - given by Flask
        """`__Host-sendry` over TLS; over plain HTTP the port is in the name, since cookies know no ports."""
        if request.is_secure:
            return "__Host-sendry"
        port = request.host.rpartition(":")[2]
        return f"sendry-{port}" if port.isdigit() else "sendry"

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - given by Flask
        """Secure exactly when the request came over TLS."""
        return request.is_secure


def init_app(app: Flask, lifetime: timedelta) -> None:
    """Let flask-login find people by their session token, and give the cookie its manners."""
    app.session_interface = Cookies()
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=lifetime,
    )
    manager = LoginManager()
    manager.session_protection = None  # the token is revocable; an address that changes is no theft
    manager.init_app(app)

    manager.user_loader(_load)


def _load(token: str) -> Viewer | None:
    signed_in = rooms().sessions.find(token, words.now())
    if signed_in is None:
        return None
    language.use(signed_in.person.locale)
    return Viewer(signed_in)


def person() -> Person | None:
    """Who is signed in, or None: a stranger, or a sandbox that knows no people."""
    return current_user.person if current_user.is_authenticated else None


def may_act() -> bool:
    """Whether the one who asks may change something."""
    somebody = person()
    if somebody is not None:
        return somebody.may_act
    return not rooms().config.needs_sign_in


def caller_ip() -> str:
    """The address of the one who asks, behind trusted proxies."""
    return client_ip(request.environ, rooms().config.api.trusted_proxies)


def check() -> ResponseReturnValue | None:
    """Before each view of the panel: a stranger goes to the sign-in page and comes back afterwards."""
    if not rooms().config.needs_sign_in or person() is not None:
        return None
    target = request.full_path.rstrip("?")
    if is_htmx():
        # A poller must not send the browser back to a fragment: the page that shows it is where we return to.
        target = request.headers.get("HX-Current-URL", "/").split("://", 1)[-1]
        target = "/" + target.partition("/")[2]
    elif request.method != "GET":
        target = "/"
    values: dict[str, Any] = {"next": target} if target != "/" else {}
    return go(url_for("panel.sign_in", **values))


def acting(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """For views that change something: a viewer gets 403."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if not may_act():
            abort(403)
        return view(*args, **kwargs)

    return guarded


def begin(somebody: Person) -> None:
    """Sign a person in. What the browser's session held before is gone: nobody can plant one."""
    token = rooms().sessions.open(somebody.id, words.now(), caller_ip(), request.headers.get("User-Agent", ""))
    session.clear()
    session.permanent = True
    signed_in = rooms().sessions.find(token, words.now())
    assert signed_in is not None
    login_user(Viewer(signed_in))


def finish() -> None:
    """Sign out: the session ends on the server, whatever copies of the cookie there are."""
    if current_user.is_authenticated:
        rooms().sessions.end(current_user.get_id())
    logout_user()
    session.clear()


def next_page(wanted: str) -> str:
    """Where to go after signing in: a path on this site, else the start page."""
    return wanted if is_own_path(wanted) else url_for("panel.start")
