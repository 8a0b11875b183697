"""Signing in and out, and the page behind the one-time link that makes the first admin.

A refusal says the same for an unknown address and a wrong password, takes as long, and counts against address
and name in the guard that SMTP logins share.
"""

from __future__ import annotations

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue

from sendry.access.users import LONGEST_PASSWORD, SHORTEST_PASSWORD, UserFault
from sendry.panel import session, words
from sendry.panel.htmx import go
from sendry.panel.language import gettext
from sendry.panel.pages import free, panel


@panel.get("/")
def start() -> ResponseReturnValue:
    """The start page: the inbox in the sandbox profile, the dashboard otherwise."""
    is_sandbox = session.rooms().config.is_sandbox_profile
    return go(url_for("panel.inbox" if is_sandbox else "panel.dashboard"))


@panel.get("/login")
@free
def sign_in() -> ResponseReturnValue:
    """The sign-in card, or word of the first-admin link while there is nobody who could sign in."""
    if not session.rooms().config.needs_sign_in or session.person() is not None:
        return go(session.next_page(request.args.get("next", "")))
    if not session.rooms().users.has_any():
        return render_template("signin/nobody.html")
    return _card(request.args.get("next", ""))


@panel.post("/login")
@free
def sign_in_now() -> ResponseReturnValue:
    """Take address and password."""
    rooms, now = session.rooms(), words.now()
    email = request.form.get("email", "").strip()
    wanted = request.form.get("next", "")
    ip, name = session.caller_ip(), email.lower()
    if (blocked_until := rooms.guard.is_blocked(ip, name, now)) is not None:
        text = gettext("Too many wrong tries. Try again %(when)s.", when=words.until(blocked_until))
        return _card(wanted, email, text, 429)
    person = rooms.users.authenticate(email, request.form.get("password", ""))
    if person is None:
        rooms.guard.failed(ip, name, now)
        return _card(wanted, email, gettext("Email and password do not match."), 422)
    rooms.guard.succeeded(ip, name)
    session.begin(person)
    return go(session.next_page(wanted))


@panel.post("/logout")
@free
def sign_out() -> ResponseReturnValue:
    """End this session."""
    session.finish()
    return go(url_for("panel.sign_in"))


@panel.get("/first-admin/<token>")
@free
def first_admin(token: str) -> ResponseReturnValue:
    """The card that makes the first admin."""
    if not session.rooms().users.is_first_admin_token(token):
        return render_template("signin/spent.html"), 404
    return render_template("signin/first.html", token=token, email="", name="", faults={})


@panel.post("/first-admin/<token>")
@free
def make_first_admin(token: str) -> ResponseReturnValue:
    """Make the first admin and sign them in."""
    email, name = request.form.get("email", ""), request.form.get("name", "")
    try:
        person = session.rooms().users.create_first_admin(
            token, email, name, request.form.get("password", ""), words.now()
        )
    except UserFault as fault:
        faults = {fault.field: _fault_words(fault, email)}
        return render_template("signin/first.html", token=token, email=email, name=name, faults=faults), 422
    if person is None:
        return render_template("signin/spent.html"), 404
    session.begin(person)
    return go(url_for("panel.start"))


def _card(wanted: str, email: str = "", fault: str = "", status: int = 200) -> ResponseReturnValue:
    return render_template("signin/login.html", next=wanted, email=email, fault=fault), status


def _fault_words(fault: UserFault, email: str) -> str:
    if fault.code == "email":
        return gettext("«%(text)s» is not an address. Write it like name@example.com.", text=email.strip())
    if fault.code == "short":
        return gettext("A password has at least %(n)s characters.", n=SHORTEST_PASSWORD)
    if fault.code == "long":
        return gettext("A password has at most %(n)s characters.", n=LONGEST_PASSWORD)
    raise fault
