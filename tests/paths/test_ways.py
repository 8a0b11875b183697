"""The natural ways of mail through the house, each from the door it comes in by to the one it leaves by."""

from __future__ import annotations

import base64
import re
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from tests.paths.conftest import Start
from tests.paths.running import KEY, Running, send_by
from tests.paths.visiting import Visitor
from tests.paths.waiting import until
from tests.remote_mx import Received, RemoteMx
from tests.zones import Zones


def read(received: Received) -> EmailMessage:
    """The message that arrived."""
    message = message_from_bytes(received.octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


# SMTP to the remote MX


def test_a_mail_by_smtp_reaches_the_remote_mx_and_its_history_is_told(
    start: Start, outward: str, remote: RemoteMx
) -> None:
    sendry = start(outward)
    identity = sendry.send("a@example.com", ["b@example.net", "c@example.net"], body="Hello\r\n.dot\r\nend")
    (arrived,) = remote.wait_for(1)
    assert (arrived.sender, arrived.recipients) == ("a@example.com", ["b@example.net", "c@example.net"])
    message = read(arrived)
    assert message.get_content().split() == ["Hello", ".dot", "end"]
    assert f" id {identity}" in message["Received"]
    assert "mail.example.com" in message["Received"]
    told = sendry.wait_for_status(identity, "delivered")
    assert [r["status"] for r in told["recipients"]] == ["delivered", "delivered"]
    events = sendry.api("GET", f"/messages/{identity}/events").json["items"]
    delivered = [event for event in events if event["type"] == "delivered"]
    assert {event["recipient"] for event in delivered} == {"b@example.net", "c@example.net"}
    assert delivered[0]["attempt"]["host"] == "mx.example.net"
    assert delivered[0]["attempt"]["ip"] == "127.0.0.1"


def test_a_recipient_refused_for_good_comes_back_as_a_report_and_the_other_is_delivered(
    start: Start, zones: Zones, outward: str, remote: RemoteMx
) -> None:
    zones.mx("example.com", (10, "mx.example.net"))
    remote.judge_recipient = lambda address: "550 5.1.1 No such user" if address == "no@example.net" else None
    sendry = start(outward)
    identity = sendry.send("a@example.com", ["b@example.net", "no@example.net"], subject="Bill 7")
    first, report = remote.wait_for(2)
    assert first.recipients == ["b@example.net"]
    assert (report.sender, report.recipients) == ("", ["a@example.com"])
    message = read(report)
    assert message.get_content_type() == "multipart/report"
    text, status, _original = message.iter_parts()
    assert "no@example.net" in text.get_content()
    assert "b@example.net" not in text.get_content()
    assert "Final-Recipient: rfc822; no@example.net" in status.as_string()
    assert "Status: 5.1.1" in status.as_string()
    sendry.wait_for_status(identity, "failed")
    assert sendry.api("GET", "/dlq").json["stats"]["count"] == 1
    (line,) = until(lambda: sendry.logged(message_id=identity), "the line of the log")
    assert (line["recipient"], line["code"]) == ("no@example.net", 550)


def test_a_host_that_wants_to_wait_gets_the_mail_later(start: Start, outward: str, remote: RemoteMx) -> None:
    remote.say("RCPT", "451 4.7.1 greylisted", "250 ok")
    sendry = start(outward)
    identity = sendry.send("a@example.com", ["b@example.net"])
    told = sendry.wait_for_status(identity, "delivered", 20)
    assert told["recipients"][0]["attempts"] == 2
    assert len(remote.messages) == 1


# API


def test_a_mail_by_api_reaches_the_remote_mx(start: Start, outward: str, remote: RemoteMx) -> None:
    sendry = start(outward)
    draft = {
        "from": "Анна <a@example.com>",
        "to": ["b@example.net"],
        "bcc": ["c@example.net"],
        "subject": "Счёт 7",
        "body": "Привет",
        "html": "<p>Привет</p>",
        "attachments": [{"filename": "a.txt", "content": base64.b64encode(b"attached").decode()}],
        "tags": ["bill"],
    }
    answer = sendry.api("POST", "/send", draft)
    assert answer.status == 202
    identity = answer.json["id"]
    arrived = remote.wait_for(1)[0]
    assert sorted(arrived.recipients) == ["b@example.net", "c@example.net"]
    message = read(arrived)
    assert message["Subject"] == "Счёт 7"
    assert "c@example.net" not in arrived.octets.decode()
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/plain",
    ]  # fmt: skip
    sendry.wait_for_status(identity, "delivered")
    assert sendry.api("GET", f"/status/{identity}").json["status"] == "delivered"
    assert [item["id"] for item in sendry.api("GET", "/messages?tag=bill").json["items"]] == [identity]


def test_without_the_key_nothing_is_taken(start: Start, outward: str) -> None:
    sendry = start(outward)
    draft = {"from": "a@example.com", "to": ["b@example.net"], "body": "x"}
    assert sendry.api("POST", "/send", draft, key="").status == 401
    assert sendry.api("POST", "/send", draft, key="wrong").status == 401
    assert sendry.api("GET", "/queue").json["stats"]["total"] == 0


# Panel


def test_the_first_admin_retries_a_failing_message_by_a_click(start: Start, outward: str, remote: RemoteMx) -> None:
    remote.say("RCPT", "550 5.1.1 No such user")
    sendry = start(outward)
    identity = sendry.send("", ["b@example.net"])  # the null sender: no report follows
    sendry.wait_for_status(identity, "failed")
    remote.say("RCPT", "250 ok")

    link = re.search(r"http://\S+(/first-admin/\S+)", sendry.said)
    assert link is not None
    admin = Visitor(f"http://127.0.0.1:{sendry.http_port}")
    admin.open("/messages")
    assert admin.path.endswith("/login?next=/messages") or "/login" in admin.path
    admin.open(link[1])
    admin.submit(link[1], email="ann@example.com", name="Ann", password="correct horse")
    assert admin.status == 200
    assert identity in admin.open("/messages")
    page = admin.open(f"/messages/{identity}")
    assert "No such user" in page
    page = admin.submit(f"/messages/{identity}/retry")
    assert admin.status == 200
    assert "1 recipient will be tried now" in page
    assert remote.wait_for(1)[0].recipients == ["b@example.net"]
    sendry.wait_for_status(identity, "delivered")
    assert admin.open(link[1])
    assert admin.status == 404  # the link is spent


# Modes


def test_sandbox_mail_is_captured_and_nothing_leaves(start: Start, outward: str, remote: RemoteMx) -> None:
    sendry = start(outward + '[domains."example.com"]\nmode = "sandbox"\n')
    identity = sendry.send("a@example.com", ["b@example.net"], subject="Caught")
    told = sendry.api("GET", f"/messages/{identity}").json
    assert (told["status"], told["mode"], told["is_captured"]) == ("delivered", "sandbox", True)
    events = sendry.api("GET", f"/messages/{identity}/events").json["items"]
    assert "captured" in [event["type"] for event in events]
    (mail,) = sendry.api("GET", "/sandbox/messages").json["items"]
    assert (mail["id"], mail["to"], mail["subject"]) == (identity, ["b@example.net"], "Caught")
    raw = sendry.api("GET", f"/sandbox/messages/{identity}/raw").body
    assert b"Subject: Caught\r\n" in raw
    assert remote.connections == 0


def test_redirected_mail_goes_to_one_address_only_and_tells_for_whom_it_was(
    start: Start, outward: str, remote: RemoteMx
) -> None:
    sendry = start(outward + '[domains."example.com"]\nmode = "redirect"\nredirect_to = ["qa@example.net"]\n')
    identity = sendry.send("a@example.com", ["b@example.net", "c@example.net"])
    (arrived,) = remote.wait_for(1)
    assert arrived.recipients == ["qa@example.net"]
    assert "b@example.net" in read(arrived)["X-Original-To"]
    assert "c@example.net" in str(read(arrived).get_all("X-Original-To"))
    sendry.wait_for_status(identity, "delivered")
    (mail,) = sendry.api("GET", "/sandbox/messages").json["items"]
    assert mail["original_to"] == ["b@example.net", "c@example.net"]


def test_bcc_mail_goes_to_its_recipients_and_to_the_copy(start: Start, outward: str, remote: RemoteMx) -> None:
    sendry = start(outward + '[domains."example.com"]\nmode = "bcc"\nbcc_to = ["archive@example.net"]\n')
    identity = sendry.send("a@example.com", ["b@example.net"])
    until(lambda: sum(len(m.recipients) for m in remote.messages) == 2, "both")
    assert {r for m in remote.messages for r in m.recipients} == {"b@example.net", "archive@example.net"}
    told = sendry.wait_for_status(identity, "delivered")
    assert {(r["address"], r["route"]) for r in told["recipients"]} == {
        ("b@example.net", "mx"),
        ("archive@example.net", "copy"),
    }
    assert sendry.api("GET", "/sandbox/messages").json["items"] == []


@pytest.mark.parametrize("door", ["smtp", "api"])
def test_a_domain_that_is_not_ours_is_refused_at_both_doors(door: str, start: Start) -> None:
    sendry = start()
    if door == "smtp":
        with sendry.smtp() as client:
            client.ehlo()
            code, text = client.mail("a@stranger.example")
            assert (code, text[:5]) == (550, b"5.7.1")
    else:
        draft = {"from": "a@stranger.example", "to": ["b@example.net"], "body": "x"}
        answer = sendry.api("POST", "/send", draft)
        assert (answer.status, answer.json["code"]) == (403, "domain_not_allowed")


def test_a_large_mail_goes_through_whole(start: Start, outward: str, remote: RemoteMx) -> None:
    sendry = start(outward)
    line = b"x" * 76 + b"\r\n"
    octets = b"From: <a@example.com>\r\nSubject: large\r\n\r\n" + line * 30_000
    with sendry.smtp() as client:
        identity = send_by(client, "a@example.com", ["b@example.net"], octets)
    (arrived,) = remote.wait_for(1)
    assert arrived.octets.endswith(octets)
    sendry.wait_for_status(identity, "delivered")


def test_the_smart_host_takes_everything(start: Start, remote: RemoteMx) -> None:
    sendry = start(f'delivery.relay = "127.0.0.1:{remote.port}"\n')
    sendry.send("a@example.com", ["b@example.net", "c@example.org"])
    (arrived,) = remote.wait_for(1)
    assert arrived.recipients == ["b@example.net", "c@example.org"]


def scrape(sendry: Running) -> dict[str, float]:
    """The metrics page: the sum of each metric over its labels."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{sendry.places['metrics']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    sums: dict[str, float] = {}
    for series, _, value in (line.rpartition(" ") for line in lines if line[0] != "#"):
        name = series.partition("{")[0]
        sums[name] = sums.get(name, 0) + float(value)
    return sums


def test_metrics_and_health_tell_what_happened_and_remember_it(start: Start, outward: str, remote: RemoteMx) -> None:
    sendry = start(outward + 'metrics.enabled = true\nmetrics.listen_addr = "127.0.0.1:0"\n')
    for _ in range(3):
        sendry.wait_for_status(sendry.send("a@example.com", ["b@example.net"]), "delivered")
    health = sendry.http("GET", "/health").json
    assert (health["status"], health["queue"]["delivered"], health["queue"]["total"]) == ("ok", 3, 3)
    assert scrape(sendry)["sendry_messages_sent_total"] == 3
    assert scrape(sendry)["sendry_smtp_connections_total"] >= 3
    assert sendry.stop() == 0
    sendry.start()
    assert scrape(sendry)["sendry_messages_sent_total"] == 3
    assert scrape(sendry)["sendry_smtp_connections_total"] >= 3
    assert KEY not in sendry.log
