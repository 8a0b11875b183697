from __future__ import annotations

import pytest

from sendry.service import Role
from tests.panel.conftest import Build, Panel, build, closed, panel, sandbox

__all__ = ["build", "closed", "panel", "sandbox"]  # fixtures


def test_no_page_lets_a_foreign_script_run(panel: Panel) -> None:
    policy = panel.get("/dashboard").headers["Content-Security-Policy"]
    assert policy.startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'"
    )
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "path", ["/dashboard", "/no-such-page", "/static/css/tokens.css", "/health", "/api/v1/queue"]
)
def test_every_answer_has_its_guards(panel: Panel, path: str) -> None:
    headers = panel.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"


def test_pages_are_not_kept_and_versioned_files_are_kept_for_good(panel: Panel) -> None:
    page = panel.get("/dashboard")
    assert page.headers["Cache-Control"] == "no-store"
    file = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    assert panel.get(file).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert panel.get(file.split("?")[0]).headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("token", [None, "", "guessed"])
def test_a_form_without_its_token_changes_nothing(panel: Panel, token: str | None) -> None:
    made = panel.accept("boris@example.org")
    data = {} if token is None else {"csrf_token": token}
    answer = panel.client.post(f"/messages/{made}/cancel", base_url=panel.base, data=data)
    assert answer.status_code == 400
    assert "This page was too old" in answer.text
    assert panel.service.rooms.lookup.counts().pending == 1


def test_the_token_may_come_as_a_header_as_htmx_sends_it(panel: Panel) -> None:
    made = panel.accept("boris@example.org")
    fields = {"X-CSRFToken": panel.token(), "HX-Request": "true"}
    answer = panel.client.post(f"/messages/{made}/cancel", base_url=panel.base, headers=fields)
    assert answer.status_code == 200
    assert panel.service.rooms.lookup.counts().cancelled == 1


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:8081", "null"])
def test_a_form_from_another_site_changes_nothing_even_with_its_token(panel: Panel, origin: str) -> None:
    made = panel.accept("boris@example.org")
    answer = panel.post(f"/messages/{made}/cancel", headers={"Origin": origin})
    assert answer.status_code == 403
    assert panel.service.rooms.lookup.counts().pending == 1
    good = panel.post(f"/messages/{made}/cancel", headers={"Origin": "http://localhost:8080"})
    assert good.status_code == 303


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "app.localhost", "mail.example.com"]
)
def test_the_open_sandbox_answers_to_names_of_this_machine(sandbox: Panel, host: str) -> None:
    assert sandbox.get("/sandbox", base_url=f"http://{host}").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.0.2.7:8080", "127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("path", ["/sandbox", "/dashboard", "/api/v1/queue", "/api/v1/sandbox/messages"])
def test_the_open_sandbox_refuses_a_foreign_name(sandbox: Panel, host: str, path: str) -> None:
    answer = sandbox.get(path, base_url=f"http://{host}")
    assert answer.status_code == 403
    assert answer.is_json == path.startswith("/api")
    if not answer.is_json:
        assert host.split(":")[0] in answer.text


@pytest.mark.parametrize("path", ["/sandbox", "/api/v1/sandbox/messages"])
def test_the_open_sandbox_refuses_a_foreign_origin_even_to_read(sandbox: Panel, path: str) -> None:
    assert sandbox.get(path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert sandbox.get(path, headers={"Origin": "http://localhost:8080"}).status_code == 200


def test_a_foreign_page_cannot_send_through_the_open_sandbox(sandbox: Panel) -> None:
    mail = {"from": "a@example.com", "to": ["b@example.net"], "subject": "Hello", "body": "Hello"}
    foreign = {"Origin": "https://evil.example"}
    blind = {"Sec-Fetch-Site": "cross-site"}
    for fields in (foreign, blind):
        answer = sandbox.client.post("/api/v1/send", json=mail, base_url=sandbox.base, headers=fields)
        assert answer.status_code == 403
    assert sandbox.client.post("/api/v1/send", json=mail, base_url=sandbox.base).status_code == 202
    assert sandbox.service.rooms.lookup.counts().captured == 1


def test_production_answers_to_whatever_name_it_has(closed: Panel) -> None:
    assert closed.get("/login", base_url="http://panel.example.org").status_code == 200


def test_only_listed_addresses_reach_panel_and_api(build: Build) -> None:
    here = build('[smtp]\ndomain = "example.com"\n[api]\napi_key = "k"\nallowed_ips = ["192.0.2.0/24"]\n')
    inside, outside = {"REMOTE_ADDR": "192.0.2.9"}, {"REMOTE_ADDR": "198.51.100.9"}
    assert here.get("/login", environ_base=inside).status_code == 200
    assert here.get("/login", environ_base=outside).status_code == 403
    assert (here.get("/api/v1/queue", environ_base=outside).json or {})["code"] == "forbidden"
    assert here.get("/health", environ_base=outside).status_code == 200
    forwarded = {"X-Forwarded-For": "192.0.2.9"}
    assert here.get("/login", environ_base=outside, headers=forwarded).status_code == 403


def test_an_unknown_address_says_what_to_do(panel: Panel) -> None:
    answer = panel.get("/nothing")
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.text
    assert "To the start page" in answer.text


def test_an_error_below_api_is_json(panel: Panel) -> None:
    answer = panel.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert set(answer.json or {}) == {"error", "code", "details"}


def test_what_nobody_foresaw_is_told_in_the_log_only(panel: Panel, caplog: pytest.LogCaptureFixture) -> None:
    panel.service.store.writer.call(lambda tx: tx.execute("DROP TABLE message_tag")).result()
    answer = panel.get("/messages?tag=march")
    assert answer.status_code == 500
    assert "message_tag" not in answer.text
    request_id = answer.text.split('data-copy="')[1].split('"')[0]
    record = next(record for record in caplog.records if record.message == "a page ended in an unforeseen error")
    assert record.__dict__["request_id"] == request_id
    fragment = panel.get("/messages?tag=march", htmx=True)
    assert fragment.content_type == "text/plain; charset=utf-8"
    assert "<" not in fragment.text


def test_a_form_of_unreasonable_size_is_refused(panel: Panel) -> None:
    token = panel.token()
    answer = panel.client.post("/preferences", base_url=panel.base, data={"csrf_token": token, "back": "x" * 300_000})
    assert answer.status_code == 413


def test_everything_a_page_asks_for_is_here(panel: Panel) -> None:
    page = panel.get("/dashboard").text
    assert "http://" not in page.replace("http://localhost:8080/api/v1/send", "")
    assert "https://" not in page


def test_the_web_role_alone_serves_the_panel(panel: Panel) -> None:
    assert panel.service.roles == (Role.WEB,)
