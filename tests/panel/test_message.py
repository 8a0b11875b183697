from __future__ import annotations

import re

import pytest

from tests.panel.conftest import Panel

HTML = (
    b"From: shop@example.com\r\nTo: b@example.org\r\nSubject: Your code\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\nContent-Type: text/html; charset=utf-8\r\n\r\n'
    b'<p>Code 482913</p><img src="https://shop.example.com/o.gif"><script>steal()</script>\r\n--x\r\n'
    b"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=invoice.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--x--\r\n"
)


def test_the_page_shows_the_trail(panel: Panel) -> None:
    made = panel.accept("boris@example.org", subject="Invoice")
    panel.end("deferred", response="Greylisted", bounce_class="greylist")
    page = panel.get(f"/messages/{made}").text
    for part in ("Invoice", "boris@example.org", "greylisted", "<b>451 4.7.1</b> Greylisted", "Try 2 of 40",
                 "mx.example.org, 192.0.2.25", "TLS 1.3, verified", "next try in 10 min"):  # fmt: skip
        assert part in page


@pytest.mark.parametrize("message_id", ["0000000000001", "nonsense", "'", "0" * 200])
def test_a_message_that_is_not_there_is_not_here(panel: Panel, message_id: str) -> None:
    assert panel.get(f"/messages/{message_id}").status_code == 404
    assert panel.post(f"/messages/{message_id}/retry").status_code == 404


def test_the_page_asks_for_itself_only_while_something_can_change(panel: Panel) -> None:
    made = panel.accept("boris@example.org")
    page = panel.get(f"/messages/{made}").text
    assert 'hx-trigger="every 5s"' in page
    seen = re.search(r'"seen": "([\w-]+)"', panel.get(f"/messages/{made}", htmx=True).text)
    assert seen
    assert panel.get(f"/messages/{made}?seen={seen[1]}", htmx=True).status_code in (200, 204)
    panel.end("delivered")
    assert 'hx-trigger="every 5s"' not in panel.get(f"/messages/{made}", htmx=True).text


def test_retry_makes_it_due_and_answers_with_the_page_anew(panel: Panel) -> None:
    made = panel.accept("boris@example.org")
    panel.end("deferred")
    assert panel.claim() == []
    answer = panel.post(f"/messages/{made}/retry", htmx=True)
    assert answer.status_code == 200
    assert answer.text.lstrip().startswith('<div id="message"')
    assert "1 recipient will be tried now." in answer.text
    assert [work.address for work in panel.claim()] == ["boris@example.org"]


def test_without_script_an_act_leads_back_to_the_page_and_says_what_was_done(panel: Panel) -> None:
    made = panel.accept("boris@example.org")
    answer = panel.post(f"/messages/{made}/cancel")
    assert (answer.status_code, answer.location) == (303, f"/messages/{made}")
    page = panel.get(f"/messages/{made}").text
    assert "1 recipient was cancelled." in page
    assert "Cancelled" in page
    assert "1 recipient was cancelled." not in panel.get(f"/messages/{made}").text, "it is said once"


def test_the_question_before_a_cancel_names_what_stays(panel: Panel) -> None:
    made = panel.accept("a@example.org", "b@example.org", subject="Invoice")
    work = panel.claim()
    panel.end("delivered", work[:1])
    panel.end("deferred", work[1:])
    page = panel.get(f"/messages/{made}/cancel").text
    assert "Cancel «Invoice» for 1 recipient?" in page
    assert "The one already delivered stays delivered." in page
    fragment = panel.get(f"/messages/{made}/cancel", htmx=True).text
    assert fragment.lstrip().startswith("<dialog")
    assert panel.service.rooms.lookup.counts().deferred == 1, "asking changes nothing"


@pytest.mark.parametrize("act", ["retry", "cancel"])
def test_when_somebody_was_quicker_the_present_state_is_shown(panel: Panel, act: str) -> None:
    made = panel.accept("boris@example.org")
    panel.end("delivered")
    answer = panel.post(f"/messages/{made}/{act}", htmx=True)
    assert answer.status_code == 409
    assert "somebody was quicker" in answer.text
    assert "Delivered" in answer.text
    assert panel.post(f"/messages/{made}/{act}").status_code == 303
    assert "somebody was quicker" in panel.get(f"/messages/{made}").text


def test_only_possible_acts_are_offered(panel: Panel) -> None:
    made = panel.accept("boris@example.org")
    page = panel.get(f"/messages/{made}").text
    assert ("Retry now" in page, "Cancel…" in page) == (False, True)
    panel.end("failed")
    page = panel.get(f"/messages/{made}").text
    assert ("Retry now" in page, "Cancel…" in page) == (True, False)


def test_content_is_shown_in_a_frame_of_its_own(panel: Panel) -> None:
    made = panel.accept("boris@example.org", raw=HTML, sender="shop@example.com")
    page = panel.get(f"/messages/{made}/content").text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page
    assert f'src="/messages/{made}/frame"' in page
    assert "steal()" not in page, "the mail's HTML is nowhere on our page"
    assert "1 remote image blocked" in page
    framed = panel.get(f"/messages/{made}/frame")
    assert "Code 482913" in framed.text
    assert framed.headers["Content-Security-Policy"].startswith("sandbox allow-popups")
    assert "img-src data:;" in framed.headers["Content-Security-Policy"]
    remote = panel.get(f"/messages/{made}/frame?remote=1")
    assert "img-src data: http: https:" in remote.headers["Content-Security-Policy"]


def test_attachments_are_downloads(panel: Panel) -> None:
    made = panel.accept("boris@example.org", raw=HTML, sender="shop@example.com")
    page = panel.get(f"/messages/{made}/content").text
    link = re.search(rf'href="(/messages/{made}/parts/\d+)">invoice.pdf<', page)
    assert link
    file = panel.get(link[1])
    assert file.data == b"%PDF"
    assert file.headers["Content-Disposition"].startswith('attachment; filename="invoice.pdf"')
    assert panel.get(f"/messages/{made}/parts/99").status_code == 404


def test_plain_text_is_shown_as_text(panel: Panel) -> None:
    made = panel.accept("boris@example.org", body=b"Look: <b>https://a.example/</b>\r\n")
    page = panel.get(f"/messages/{made}/content").text
    assert "Look: &lt;b&gt;" in page
    assert "<iframe" not in page


def test_headers_raw_and_events(panel: Panel) -> None:
    made = panel.accept("boris@example.org", raw=HTML, sender="shop@example.com")
    panel.end("delivered")
    headers = panel.get(f"/messages/{made}/headers").text
    assert "<dt>Subject</dt><dd>Your code</dd>" in headers
    raw = panel.get(f"/messages/{made}/raw").text
    assert "&lt;script&gt;steal()&lt;/script&gt;" in raw
    events = panel.get(f"/messages/{made}/events").text
    assert "250 2.0.0 this is delivered" in events


def test_the_file_is_what_was_accepted(panel: Panel) -> None:
    made = panel.accept("boris@example.org", raw=HTML, sender="shop@example.com")
    file = panel.get(f"/messages/{made}/mail.eml")
    assert file.data == HTML
    assert file.headers["Content-Disposition"] == f'attachment; filename="{made}.eml"'
    assert file.content_type == "message/rfc822"


def test_a_long_source_is_cut_and_says_so(panel: Panel) -> None:
    made = panel.accept("boris@example.org", body=b"x" * 70 + b"\r\n" + b"y\r\n" * 300_000)
    page = panel.get(f"/messages/{made}/raw").text
    assert "These are the first 512 KB." in page
    assert len(page) < 700_000


def test_hostile_facts_are_text(panel: Panel) -> None:
    raw = b"From: <x@example.com>\r\nSubject: <script>a</script>\r\nX-A: <img src=x onerror=b>\r\n\r\n<u>\r\n"
    made = panel.accept("boris@example.org", raw=raw, sender="x@example.com")
    panel.end("failed", host='"><script>c</script>', response="<script>d</script>")
    for tab in ("", "/content", "/headers", "/raw", "/events"):
        page = panel.get(f"/messages/{made}{tab}").text
        assert not re.search(r"<script>[a-d]|<img src=x|<u>", page)


def test_captured_mail_leads_to_the_inbox(sandbox: Panel) -> None:
    made = sandbox.accept("qa@example.org")
    page = sandbox.get(f"/messages/{made}").text
    assert "kept in the sandbox, sent to nobody" in page
    assert f'href="/sandbox/{made}"' in page
