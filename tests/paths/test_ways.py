"""The natural ways of mail through the house, each from the door it comes in by to the one it leaves by."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from tests.paths.running import PRODUCTION, Running, send_by
from tests.paths.visiting import Visitor
from tests.paths.waiting import until
from tests.remote_mx import Received, RemoteMx
from tests.zones import Zones

pytestmark = pytest.mark.xdist_group("ways")

DOMAINS = """
[domains."sandbox.example"]
mode = "sandbox"
[domains."redirect.example"]
mode = "redirect"
redirect_to = ["qa@example.net"]
[domains."bcc.example"]
mode = "bcc"
bcc_to = ["archive@example.net"]
"""


@dataclass
class World:
    """Sendry between its clients and one remote host that is the MX of everybody.

    `replies` is what that host says to RCPT for an address, in place of 250.
    """

    sendry: Running
    remote: RemoteMx
    replies: dict[str, str] = field(default_factory=dict)

    def arrived(self, recipient: str, times: int = 1) -> list[Received]:
        """The mails for a recipient, as soon as there are so many."""

        def found() -> list[Received]:
            return [message for message in self.remote.messages if recipient in message.recipients]

        until(lambda: len(found()) >= times, f"{times} mail for {recipient}")
        return found()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Zones() as zones, RemoteMx() as remote:
        for name in ("example.net", "example.com"):
            zones.mx(name, (10, "mx.example.net"))
        zones.a("mx.example.net", "127.0.0.1")
        outward = f'delivery.port = {remote.port}\ndns.nameservers = ["127.0.0.1:{zones.address[1]}"]\n'
        with Running(tmp_path_factory.mktemp("sendry"), PRODUCTION + outward + DOMAINS) as sendry:
            world = World(sendry, remote)
            remote.judge_recipient = world.replies.get
            yield world


def read(received: Received) -> EmailMessage:
    """The message that arrived."""
    message = message_from_bytes(received.octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


# SMTP to the remote MX


def test_a_mail_by_smtp_reaches_the_remote_mx_and_its_history_is_told(world: World) -> None:
    identity = world.sendry.send("a@example.com", ["b1@example.net", "c1@example.net"], body="Hello\r\n.dot\r\nend")
    (arrived,) = world.arrived("b1@example.net")
    assert (arrived.sender, arrived.recipients) == ("a@example.com", ["b1@example.net", "c1@example.net"])
    message = read(arrived)
    assert message.get_content().split() == ["Hello", ".dot", "end"]
    assert f" id {identity}" in message["Received"]
    assert "mail.example.com" in message["Received"]
    told = world.sendry.wait_for_status(identity, "delivered")
    assert [r["status"] for r in told["recipients"]] == ["delivered", "delivered"]
    events = world.sendry.api("GET", f"/messages/{identity}/events").json["items"]
    delivered = [event for event in events if event["type"] == "delivered"]
    assert {event["recipient"] for event in delivered} == {"b1@example.net", "c1@example.net"}
    assert (delivered[0]["attempt"]["host"], delivered[0]["attempt"]["ip"]) == ("mx.example.net", "127.0.0.1")


def test_a_recipient_refused_for_good_comes_back_as_a_report_and_the_other_is_delivered(world: World) -> None:
    world.replies["no@example.net"] = "550 5.1.1 No such user"
    identity = world.sendry.send("bills@example.com", ["b2@example.net", "no@example.net"], subject="Bill 7")
    (first,), (report,) = world.arrived("b2@example.net"), world.arrived("bills@example.com")
    assert first.recipients == ["b2@example.net"]
    assert (report.sender, report.recipients) == ("", ["bills@example.com"])
    message = read(report)
    assert message.get_content_type() == "multipart/report"
    text, status, _original = message.iter_parts()
    assert "no@example.net" in text.get_content()
    assert "b2@example.net" not in text.get_content()
    assert "Final-Recipient: rfc822; no@example.net" in status.as_string()
    assert "Status: 5.1.1" in status.as_string()
    world.sendry.wait_for_status(identity, "failed")
    assert identity in [item["id"] for item in world.sendry.api("GET", "/dlq").json["messages"]]
    (line,) = until(lambda: world.sendry.logged(message_id=identity), "the line of the log")
    assert (line["recipient"], line["code"]) == ("no@example.net", 550)


def test_a_host_that_wants_to_wait_gets_the_mail_later(world: World) -> None:
    world.replies["grey@example.net"] = "451 4.7.1 greylisted"
    identity = world.sendry.send("a@example.com", ["grey@example.net"])
    waiting = world.sendry.wait_for_status(identity, "deferred")
    assert waiting["recipients"][0]["last_response"].endswith("greylisted")
    del world.replies["grey@example.net"]
    told = world.sendry.wait_for_status(identity, "delivered", 25)
    assert told["recipients"][0]["attempts"] >= 2
    assert len(world.arrived("grey@example.net")) == 1


def test_a_large_mail_goes_through_whole(world: World) -> None:
    octets = b"From: <a@example.com>\r\nSubject: large\r\n\r\n" + b"x" * 76 + b"\r\n." + b"\r\n..\r\n" * 200_000
    with world.sendry.smtp() as client:
        identity = send_by(client, "a@example.com", ["large@example.net"], octets)
    (arrived,) = world.arrived("large@example.net")
    assert arrived.octets.endswith(octets)
    world.sendry.wait_for_status(identity, "delivered")


# API


def test_a_mail_by_api_reaches_the_remote_mx(world: World) -> None:
    draft = {
        "from": "Анна <a@example.com>",
        "to": ["b3@example.net"],
        "bcc": ["hidden@example.net"],
        "subject": "Счёт 7",
        "body": "Привет",
        "html": "<p>Привет</p>",
        "attachments": [{"filename": "a.txt", "content": base64.b64encode(b"attached").decode()}],
        "tags": ["bill"],
    }
    answer = world.sendry.api("POST", "/send", draft)
    assert answer.status == 202
    identity = answer.json["id"]
    (arrived,) = world.arrived("b3@example.net")
    assert sorted(arrived.recipients) == ["b3@example.net", "hidden@example.net"]
    message = read(arrived)
    assert message["Subject"] == "Счёт 7"
    assert "hidden@example.net" not in arrived.octets.decode()
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/plain",
    ]  # fmt: skip
    world.sendry.wait_for_status(identity, "delivered")
    assert world.sendry.api("GET", f"/status/{identity}").json["status"] == "delivered"
    assert [item["id"] for item in world.sendry.api("GET", "/messages?tag=bill").json["items"]] == [identity]


def test_without_the_key_nothing_is_taken(world: World) -> None:
    draft = {"from": "a@example.com", "to": ["stranger@example.net"], "body": "x"}
    assert world.sendry.api("POST", "/send", draft, key="").status == 401
    assert world.sendry.api("POST", "/send", draft, key="wrong").status == 401
    assert world.sendry.api("GET", "/messages?address=stranger@example.net").json["items"] == []


# Panel


def test_the_first_admin_retries_a_failing_message_by_a_click(world: World) -> None:
    world.replies["click@example.net"] = "550 5.1.1 No such user"
    identity = world.sendry.send("", ["click@example.net"])  # the null sender: no report follows
    world.sendry.wait_for_status(identity, "failed")
    del world.replies["click@example.net"]

    link = re.search(r"http://\S+(/first-admin/\S+)", world.sendry.said)
    assert link is not None
    admin = Visitor(f"http://127.0.0.1:{world.sendry.http_port}")
    admin.open("/messages")
    assert "/login" in admin.path
    admin.open(link[1])
    admin.submit(link[1], email="ann@example.com", name="Ann", password="correct horse")
    assert admin.status == 200
    assert identity in admin.open("/messages")
    page = admin.open(f"/messages/{identity}")
    assert "No such user" in page
    page = admin.submit(f"/messages/{identity}/retry")
    assert admin.status == 200
    assert "1 recipient will be tried now" in page
    assert world.arrived("click@example.net")[0].sender == ""
    world.sendry.wait_for_status(identity, "delivered")
    admin.open(link[1])
    assert admin.status == 404  # the link is spent


# Modes


def captured(world: World, identity: str) -> dict[str, object] | None:
    """The mail in the inbox, or None."""
    items = world.sendry.api("GET", "/sandbox/messages?limit=500").json["items"]
    return next((item for item in items if item["id"] == identity), None)


def test_sandbox_mail_is_captured_and_nothing_leaves(world: World) -> None:
    identity = world.sendry.send("a@sandbox.example", ["b4@example.net"], subject="Caught")
    told = world.sendry.api("GET", f"/messages/{identity}").json
    assert (told["status"], told["mode"], told["is_captured"]) == ("delivered", "sandbox", True)
    events = world.sendry.api("GET", f"/messages/{identity}/events").json["items"]
    assert {event["type"] for event in events} == {"accepted", "captured"}
    mail = captured(world, identity)
    assert mail is not None
    assert (mail["to"], mail["subject"]) == (["b4@example.net"], "Caught")
    assert b"Subject: Caught\r\n" in world.sendry.api("GET", f"/sandbox/messages/{identity}/raw").body
    assert not [m for m in world.remote.messages if "b4@example.net" in m.recipients]


def test_redirected_mail_goes_to_one_address_only_and_tells_for_whom_it_was(world: World) -> None:
    identity = world.sendry.send("a@redirect.example", ["b5@example.net", "c5@example.net"])
    (arrived,) = world.arrived("qa@example.net")
    assert arrived.recipients == ["qa@example.net"]
    originals = str(read(arrived).get_all("X-Original-To"))
    assert "b5@example.net" in originals
    assert "c5@example.net" in originals
    world.sendry.wait_for_status(identity, "delivered")
    mail = captured(world, identity)
    assert mail is not None
    assert mail["original_to"] == ["b5@example.net", "c5@example.net"]


def test_bcc_mail_goes_to_its_recipients_and_to_the_copy(world: World) -> None:
    identity = world.sendry.send("a@bcc.example", ["b6@example.net"])
    assert world.arrived("b6@example.net")
    assert world.arrived("archive@example.net")
    told = world.sendry.wait_for_status(identity, "delivered")
    assert {(r["address"], r["route"]) for r in told["recipients"]} == {
        ("b6@example.net", "mx"),
        ("archive@example.net", "copy"),
    }
    assert captured(world, identity) is None


def test_a_domain_that_is_not_ours_is_refused_at_both_doors(world: World) -> None:
    with world.sendry.smtp() as client:
        client.ehlo()
        code, text = client.mail("a@stranger.example")
    assert (code, text[:5]) == (550, b"5.7.1")
    draft = {"from": "a@stranger.example", "to": ["b@example.net"], "body": "x"}
    answer = world.sendry.api("POST", "/send", draft)
    assert (answer.status, answer.json["code"]) == (403, "domain_not_allowed")
