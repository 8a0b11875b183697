"""The four modes: who gets the mail, what is kept in the inbox, what the head tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from sendry.intake.accept import Intake
from sendry.mail import headers
from sendry.mail.envelope import Addressee, Content, Envelope
from sendry.queue.line import Queue
from sendry.store.ids import from_text
from tests import make

MODES = """
[domains."catch.example"]
mode = "sandbox"
[domains."divert.example"]
mode = "redirect"
redirect_to = ["qa@example.com", "lead@other.example", "qa@example.com"]
[domains."copy.example"]
mode = "bcc"
bcc_to = ["archive@other.example", "boris@example.org"]
[domains."deep.catch.example"]
"""


@dataclass(frozen=True)
class Kept:
    """What stands in the tables after acceptance."""

    mode: str
    domain: str
    status: str
    recipients: list[tuple[str, str, str, str]]  # address, route, status, who was addressed
    captured: tuple[list[str], list[str]] | None  # recipients, original_to
    head: bytes
    events: list[str]


def accepted(queue: Queue, intake: Intake, envelope: Envelope) -> Kept:
    number = from_text(intake.accept(envelope, make.NOW).result())
    assert number is not None
    ask = queue.store.rows
    ((mode, domain, status),) = ask("SELECT mode, domain, status FROM message WHERE id = ?", (number,))
    captures = ask("SELECT recipients, original_to FROM capture WHERE message_id = ?", (number,))
    stored = queue.open_content(number)
    assert stored is not None
    return Kept(
        mode,
        domain,
        status,
        ask("SELECT address, route, status, original FROM recipient WHERE message_id = ? ORDER BY id", (number,)),
        (json.loads(captures[0][0]), json.loads(captures[0][1] or "[]")) if captures else None,
        headers.split(stored.read())[0],
        [kind for (kind,) in ask("SELECT kind FROM event WHERE message_id = ? ORDER BY id", (number,))],
    )


@pytest.fixture
def intake(queue: Queue) -> Intake:
    return make.intake(queue, make.config(MODES))


def mail(sender: str, *recipients: str, **changes: Any) -> Envelope:
    return make.envelope(*recipients, sender=sender, **changes)


class TestProduction:
    def test_goes_to_its_recipients_and_nowhere_else(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@example.com", "boris@example.org", "vera@example.net"))
        assert (kept.mode, kept.domain, kept.status) == ("production", "example.com", "pending")
        assert kept.recipients == [
            ("boris@example.org", "mx", "pending", ""),
            ("vera@example.net", "mx", "pending", ""),
        ]
        assert kept.captured is None

    def test_goes_by_the_smart_host_where_there_is_one(self, queue: Queue) -> None:
        intake = make.intake(queue, make.config('delivery.relay = "smtp.other.example:587"'))
        assert accepted(queue, intake, make.envelope()).recipients == [("boris@example.org", "relay", "pending", "")]

    def test_a_configured_child_of_a_sandbox_domain_has_its_own_mode(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@x.deep.catch.example"))
        assert (kept.mode, kept.domain) == ("production", "deep.catch.example")


class TestSandbox:
    def test_is_captured_and_delivered_to_nobody(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@catch.example", "boris@example.org", "vera@example.net"))
        assert (kept.mode, kept.status) == ("sandbox", "delivered")
        assert kept.recipients == [
            ("boris@example.org", "capture", "delivered", ""),
            ("vera@example.net", "capture", "delivered", ""),
        ]
        assert kept.captured == (["boris@example.org", "vera@example.net"], [])
        assert kept.events == ["accepted", "captured", "captured"]
        assert queue.claim(make.LATER, 10) == []

    def test_holds_for_subdomains(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@shop.catch.example"))
        assert (kept.mode, kept.domain) == ("sandbox", "catch.example")

    def test_holds_for_mail_for_later_too(self, queue: Queue, intake: Intake) -> None:
        assert accepted(queue, intake, mail("anna@catch.example", send_at=make.LATER)).status == "delivered"


class TestRedirect:
    def test_goes_to_the_testers_only(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@divert.example", "boris@example.org", "vera@example.net"))
        told = "boris@example.org, vera@example.net"
        assert kept.recipients == [
            ("qa@example.com", "redirect", "pending", told),
            ("lead@other.example", "redirect", "pending", told),
        ]
        assert {work.address for work in queue.claim(make.NOW, 10)} == {"qa@example.com", "lead@other.example"}

    def test_tells_who_was_addressed_in_the_head(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@divert.example", "boris@example.org", "vera@example.net"))
        assert headers.find_all(kept.head, "X-Original-To") == [b" boris@example.org", b" vera@example.net"]
        assert headers.is_well_formed(kept.head)

    def test_is_kept_in_the_inbox_with_who_was_addressed(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@divert.example", "boris@example.org", "вера@example.net"))
        assert kept.captured == (["qa@example.com", "lead@other.example"], ["boris@example.org", "вера@example.net"])
        assert kept.status == "pending"

    def test_of_a_hundred_recipients_is_one_mail_to_each_tester(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("a@divert.example", *(f"person{n}@example.org" for n in range(100))))
        assert len(kept.recipients) == 2
        assert len(headers.find_all(kept.head, "X-Original-To")) == 100
        assert headers.is_well_formed(kept.head)


class TestBcc:
    def test_goes_to_its_recipients_and_as_deliveries_of_their_own_to_the_copies(
        self, queue: Queue, intake: Intake
    ) -> None:
        kept = accepted(queue, intake, mail("anna@copy.example", "vera@example.net"))
        assert kept.recipients == [
            ("vera@example.net", "mx", "pending", ""),
            ("archive@other.example", "copy", "pending", ""),
            ("boris@example.org", "copy", "pending", ""),
        ]
        assert kept.captured is None
        assert len(queue.claim(make.NOW, 10)) == 3

    def test_leaves_no_trace_of_the_copies_in_the_mail(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@copy.example", "vera@example.net"))
        assert b"archive@other.example" not in kept.head
        assert b"X-Original-To" not in kept.head

    def test_gives_nobody_two_copies(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("anna@copy.example", "boris@example.org"))
        assert [(address, route) for address, route, _, _ in kept.recipients] == [
            ("boris@example.org", "mx"),
            ("archive@other.example", "copy"),
        ]

    def test_asks_for_no_report_about_the_copies(self, queue: Queue, intake: Intake) -> None:
        addressee = Addressee("vera@example.net", notify="SUCCESS,FAILURE", orcpt="rfc822;v@example.net")
        accepted(queue, intake, mail("anna@copy.example", recipients=(addressee,)))
        work = {item.address: (item.notify, item.orcpt) for item in queue.claim(make.NOW, 10)}
        assert work == {
            "vera@example.net": ("SUCCESS,FAILURE", "rfc822;v@example.net"),
            "archive@other.example": ("NEVER", ""),
            "boris@example.org": ("NEVER", ""),
        }


class TestWhoDecides:
    def test_the_domain_of_the_envelope_sender(self, queue: Queue, intake: Intake) -> None:
        content = make.content(sender="anna@example.com")
        kept = accepted(queue, intake, mail("bounce@catch.example", content=content))
        assert (kept.mode, kept.domain) == ("sandbox", "catch.example")

    def test_the_author_s_domain_when_the_sender_is_null(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("", content=make.content(sender="anna@x.catch.example")))
        assert (kept.mode, kept.domain) == ("sandbox", "catch.example")

    def test_the_configuration_of_the_moment_and_later_changes_change_nothing(self, queue: Queue) -> None:
        before = accepted(queue, make.intake(queue), make.envelope())
        settings = make.config('[domains."example.com"]\nmode = "sandbox"')
        after = accepted(queue, make.intake(queue, settings), make.envelope())
        assert (before.mode, after.mode) == ("production", "sandbox")
        assert len(queue.claim(make.NOW, 10)) == 1


class TestTheSandboxProfile:
    @pytest.fixture
    def intake(self, queue: Queue) -> Intake:
        return make.intake(queue, make.config(domain=""))

    @pytest.mark.parametrize("sender", ["eve@other.example", "eve@[203.0.113.5]", "eve@localhost", ""])
    def test_captures_mail_of_every_sender(self, queue: Queue, intake: Intake, sender: str) -> None:
        kept = accepted(queue, intake, mail(sender, "boris@example.org", content=make.content(sender="x@y.example")))
        assert (kept.mode, kept.status) == ("sandbox", "delivered")
        assert kept.captured == (["boris@example.org"], [])

    @pytest.mark.parametrize("head", [b"\r\n", b"Subject: no author\r\n\r\n", b"From: \xff\xfe\r\n\r\n"])
    @pytest.mark.parametrize("sender", ["eve@other.example", ""])
    def test_captures_mail_without_an_author(self, queue: Queue, intake: Intake, head: bytes, sender: str) -> None:
        kept = accepted(queue, intake, mail(sender, content=Content(head, b"x\r\n"), is_submission=True))
        assert kept.captured is not None
        assert headers.count(kept.head, "Message-ID") == headers.count(kept.head, "Date") == 1

    def test_sends_nothing_ever(self, queue: Queue, intake: Intake) -> None:
        for sender in ("anna@example.com", "eve@other.example", ""):
            intake.accept(mail(sender, content=make.content(sender="x@y.example")), make.NOW).result()
        assert (queue.claim(make.LATER, 10), queue.next_due()) == ([], None)


class TestMailFromOutside:
    @pytest.mark.parametrize("recipient", ["postmaster", "Postmaster@example.com", "abuse@catch.example"])
    def test_to_those_who_run_the_server_is_kept_in_the_inbox(
        self, queue: Queue, intake: Intake, recipient: str
    ) -> None:
        envelope = make.envelope(
            recipient,
            sender="eve@other.example",
            origin=make.STRANGER,
            content=make.content(sender="eve@other.example"),
        )
        kept = accepted(queue, intake, envelope)
        address = "postmaster@example.com" if "@" not in recipient else recipient
        assert kept.recipients == [(address, "capture", "delivered", "")]
        assert kept.captured == ([address], [])

    def test_needs_no_author_of_ours_nor_any(self, queue: Queue, intake: Intake) -> None:
        envelope = make.envelope(
            "abuse@example.com", sender="", origin=make.STRANGER, content=Content(b"Subject: x\r\n\r\n", b"")
        )
        assert accepted(queue, intake, envelope).captured == (["abuse@example.com"], [])

    def test_to_a_domain_that_sends_or_diverts_is_not_sent_on(self, queue: Queue, intake: Intake) -> None:
        for domain in ("example.com", "divert.example", "copy.example"):
            envelope = make.envelope(f"postmaster@{domain}", sender="eve@other.example", origin=make.STRANGER)
            assert accepted(queue, intake, envelope).status == "delivered"
        assert queue.claim(make.NOW, 10) == []


class TestNotices:
    def test_of_sendry_itself_go_to_the_sender_of_the_mail(self, queue: Queue, intake: Intake) -> None:
        content = make.content(sender="mailer-daemon@mail.example.com")
        kept = accepted(queue, intake, mail("", "anna@example.com", origin=make.SENDRY, content=content))
        assert (kept.mode, kept.recipients) == ("production", [("anna@example.com", "mx", "pending", "")])

    def test_about_captured_domains_are_captured_too(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("", "anna@sub.catch.example", origin=make.SENDRY))
        assert (kept.mode, kept.domain, kept.captured) == (
            "sandbox",
            "catch.example",
            (["anna@sub.catch.example"], []),
        )

    def test_are_not_copied_to_the_archive_of_a_domain(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("", "anna@copy.example", origin=make.SENDRY))
        assert kept.recipients == [("anna@copy.example", "mx", "pending", "")]

    def test_to_people_elsewhere_go_out_as_mail_of_this_server(self, queue: Queue, intake: Intake) -> None:
        kept = accepted(queue, intake, mail("", "eve@other.example", origin=make.SENDRY))
        assert (kept.domain, kept.recipients) == ("example.com", [("eve@other.example", "mx", "pending", "")])
