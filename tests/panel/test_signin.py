from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from werkzeug.test import TestResponse

from sendry.access.users import Role
from tests.panel.conftest import PASSWORD, Build, Panel

PAGES = (
    "/",
    "/dashboard",
    "/messages",
    "/queue",
    "/dead-letters",
    "/messages/0000000000001",
    "/sandbox",
    "/sandbox/clear",
    "/sandbox/new",
    "/sandbox/0000000000001/frame",
    "/jump?q=x",
)
ACTS = (
    "/messages/0000000000001/retry",
    "/messages/0000000000001/cancel",
    "/messages/retry",
    "/messages/cancel",
    "/sandbox/clear",
    "/sandbox/sample",
    "/sandbox/0000000000001/delete",
)


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_is_sent_to_the_sign_in_page(closed: Panel, page: str) -> None:
    answer = closed.get(page)
    assert answer.status_code == 303
    assert answer.location.startswith("/login")


@pytest.mark.parametrize("page", PAGES)
def test_a_strangers_fragment_makes_htmx_leave_the_page(closed: Panel, page: str) -> None:
    answer = closed.get(page, htmx=True, headers={"HX-Current-URL": "http://localhost:8080/messages?status=failed"})
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == "/login?next=/messages?status%3Dfailed"


@pytest.mark.parametrize("act", ACTS)
def test_a_stranger_changes_nothing(closed: Panel, act: str) -> None:
    answer = closed.post(act)
    assert (answer.status_code, answer.location) == (303, "/login")


@pytest.mark.parametrize("act", [*ACTS, "/login", "/logout", "/preferences"])
def test_what_changes_something_is_no_get(panel: Panel, act: str) -> None:
    gets = {"/sandbox/clear", "/sandbox/0000000000001/delete", "/messages/0000000000001/cancel", "/login"}
    gets |= {"/messages/cancel"}
    answer = panel.get(act)
    assert answer.status_code in ((200, 303, 404) if act in gets else (404, 405))


@pytest.mark.parametrize("act", ACTS)
def test_a_viewer_looks_and_does_not_touch(closed: Panel, act: str) -> None:
    closed.sign_in(Role.VIEWER)
    assert closed.get("/dashboard").status_code == 200
    answer = closed.post(act)
    assert answer.status_code == 403
    assert "Your role may look at this" in answer.text


def test_a_viewer_is_offered_no_acts(closed: Panel) -> None:
    made = closed.accept("boris@example.org")
    closed.end("deferred")
    closed.sign_in(Role.VIEWER)
    assert "Retry now" not in closed.get(f"/messages/{made}").text


def test_signing_in_leads_to_where_one_was_going(closed: Panel) -> None:
    form = {"email": "admin@example.com", "password": PASSWORD, "next": "/messages?status=failed"}
    answer = closed.post("/login", form)
    assert (answer.status_code, answer.location) == (303, "/messages?status=failed")
    assert closed.get("/messages").status_code == 200


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\nb", "\t//x", ""],
)
def test_the_way_back_never_leaves_the_site(closed: Panel, elsewhere: str) -> None:
    answer = closed.post("/login", {"email": "admin@example.com", "password": PASSWORD, "next": elsewhere})
    assert (answer.status_code, answer.location) == (303, "/")


@pytest.mark.parametrize("email", ["admin@example.com", "nobody@example.com"])
def test_a_refusal_does_not_tell_whether_the_address_is_known(closed: Panel, email: str) -> None:
    answer = closed.post("/login", {"email": email, "password": "wrong"})
    assert answer.status_code == 422
    assert "Email and password do not match." in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert 'value="wrong"' not in answer.text


def test_guessing_is_stopped_for_the_right_password_too(closed: Panel) -> None:
    for _ in range(5):
        closed.post("/login", {"email": "admin@example.com", "password": "wrong"})
    answer = closed.post("/login", {"email": "admin@example.com", "password": PASSWORD})
    assert answer.status_code == 429
    assert "Too many wrong tries. Try again in 15 min." in answer.text
    other = closed.post(
        "/login", {"email": "viewer@example.com", "password": "x"}, environ_base={"REMOTE_ADDR": "192.0.2.99"}
    )
    assert other.status_code == 422, "another address and another name are not blocked"


def test_signing_out_ends_the_session_on_the_server(panel: Panel) -> None:
    cookie = panel.client.get_cookie("sendry-8080", domain="localhost")
    assert cookie is not None
    answer = panel.post("/logout")
    assert (answer.status_code, answer.location) == (303, "/login")
    panel.client.set_cookie("sendry-8080", cookie.value, domain="localhost")
    assert panel.get("/dashboard").status_code == 303, "a copied cookie opens nothing any more"


def test_a_session_that_was_planted_is_not_taken_over(closed: Panel) -> None:
    closed.token()
    planted = closed.client.get_cookie("sendry-8080", domain="localhost")
    closed.sign_in()
    fresh = closed.client.get_cookie("sendry-8080", domain="localhost")
    assert planted is not None
    assert fresh is not None
    assert planted.value != fresh.value
    closed.client.set_cookie("sendry-8080", planted.value, domain="localhost")
    assert closed.get("/dashboard").status_code == 303


def cookies(answer: TestResponse) -> SimpleCookie:
    found: SimpleCookie = SimpleCookie()
    for line in answer.headers.getlist("Set-Cookie"):
        found.load(line)
    return found


def test_the_cookie_keeps_to_itself(closed: Panel) -> None:
    answer = closed.post("/login", {"email": "admin@example.com", "password": PASSWORD})
    cookie = cookies(answer)["sendry-8080"]
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["domain"]) == (True, "Lax", "", "")
    assert cookie["expires"], "it ends with the session, not with the browser"


def test_behind_tls_the_cookie_is_secure_and_bound_to_the_host(closed: Panel) -> None:
    fields = {"X-Forwarded-Proto": "https", "Referer": "https://panel.example.com/login"}
    proxied: dict[str, Any] = {
        "base_url": "http://panel.example.com",
        "environ_base": {"REMOTE_ADDR": "10.1.2.3"},
    }
    page = closed.get("/login", headers=fields, **proxied)
    token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    form = {"email": "admin@example.com", "password": PASSWORD, "csrf_token": token}
    # The client sends back no secure cookie, since it does not know that the proxy speaks TLS.
    fields["Cookie"] = f"__Host-sendry={cookies(page)['__Host-sendry'].value}"
    answer = closed.client.post("/login", data=form, headers=fields, **proxied)
    cookie = cookies(answer)["__Host-sendry"]
    assert (answer.status_code, cookie["secure"], cookie["path"], cookie["domain"]) == (303, True, "/", "")


def test_a_stranger_cannot_claim_to_be_behind_tls(closed: Panel) -> None:
    answer = closed.get("/login", headers={"X-Forwarded-Proto": "https"}, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert "__Host-sendry" not in cookies(answer)


def test_the_link_of_the_start_makes_the_first_admin_and_signs_them_in(build: Build) -> None:
    here = build()
    assert "Nobody can sign in yet" in here.get("/login").text
    token = here.service.rooms.users.first_admin_token()
    page = here.get(f"/first-admin/{token}")
    assert page.status_code == 200
    form = {"email": "olga@example.com", "name": "Olga", "password": PASSWORD}
    answer = here.post(f"/first-admin/{token}", form)
    assert (answer.status_code, answer.location) == (303, "/")
    assert "Olga" in here.get("/dashboard").text
    assert here.get(f"/first-admin/{token}").status_code == 404
    assert here.post(f"/first-admin/{token}", {**form, "email": "eve@example.com"}).status_code == 404
    assert [person.email for person in here.service.rooms.users.all()] == ["olga@example.com"]


def test_a_guessed_link_makes_nobody_admin(build: Build) -> None:
    here = build()
    assert here.get("/first-admin/guess").status_code == 404
    assert here.post("/first-admin/guess", {"email": "eve@example.com", "password": PASSWORD}).status_code == 404
    assert not here.service.rooms.users.has_any()


@pytest.mark.parametrize(
    ("email", "password", "words"),
    [("olga", PASSWORD, "«olga» is not an address"), ("olga@example.com", "short", "at least 10 characters")],
)
def test_faults_of_the_first_admin_are_shown_at_their_field(
    build: Build, email: str, password: str, words: str
) -> None:
    here = build()
    token = here.service.rooms.users.first_admin_token()
    answer = here.post(f"/first-admin/{token}", {"email": email, "name": "Olga", "password": password})
    assert answer.status_code == 422
    assert words in answer.text
    assert 'value="Olga"' in answer.text, "what was typed is kept"


def test_in_the_sandbox_on_loopback_nobody_signs_in(sandbox: Panel) -> None:
    assert sandbox.get("/").location == "/sandbox"
    assert sandbox.get("/dashboard").status_code == 200
    assert sandbox.get("/login").location == "/"


def test_a_sandbox_that_others_can_reach_needs_sign_in(build: Build) -> None:
    here = build("", PORT="8080")
    assert here.get("/sandbox").location.startswith("/login")
