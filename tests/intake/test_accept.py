"""The door itself: what is refused at once, what is added to the head, and the answer that means durable."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from sendry.intake.accept import Intake
from sendry.intake.policy import DomainNotAllowed
from sendry.mail import headers
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.mail.reply import Refused
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.views import MessageView
from sendry.store.database import open_store
from sendry.store.ids import from_text
from sendry.store.spool import CHUNK
from tests import make

TRACE = b"Received: from client ([192.0.2.10])\r\n\tby mail.example.com with ESMTP id {id};\r\n\tnow\r\n"
BARE = Content(b"From: anna@example.com\r\nSubject: bare\r\n\r\n", b"Hello\r\n")


@pytest.fixture
def intake(queue: Queue) -> Intake:
    return make.intake(queue)


def stored(queue: Queue, name: str) -> bytes:
    number = from_text(name)
    assert number is not None
    content = queue.open_content(number)
    assert content is not None
    octets = content.read()
    assert content.size == len(octets)
    return octets


def view(queue: Queue, name: str) -> MessageView:
    found = Lookup(queue.store).message(name)
    assert found is not None
    return found


def number_of_messages(queue: Queue) -> int:
    count: int = queue.store.rows("SELECT COUNT(*) FROM message")[0][0]
    return count


def refused(intake: Intake, envelope: Envelope) -> str:
    with pytest.raises(Refused) as caught:
        intake.accept(envelope, make.NOW)
    return f"{caught.value.reply.code} {caught.value.reply.enhanced}"


class TestRefusals:
    def test_come_at_once_and_leave_nothing_behind(self, queue: Queue, intake: Intake) -> None:
        assert refused(intake, make.envelope(sender="eve@other.example")) == "550 5.7.1"
        assert number_of_messages(queue) == 0

    def test_name_a_sender_that_is_not_ours(self, intake: Intake) -> None:
        with pytest.raises(DomainNotAllowed, match=r"Sender domain 'other\.example'"):
            intake.accept(make.envelope(sender="eve@other.example"), make.NOW)

    def test_name_an_author_that_is_not_ours(self, intake: Intake) -> None:
        content = make.content(sender="eve@other.example")
        for sender in ("anna@example.com", ""):
            with pytest.raises(DomainNotAllowed, match=r"From domain 'other\.example'"):
                intake.accept(make.envelope(sender=sender, content=content), make.NOW)

    @pytest.mark.parametrize("origin", [make.USER, Origin(OriginKind.API, "key", may_relay=True)])
    def test_hold_for_every_origin(self, intake: Intake, origin: Origin) -> None:
        assert refused(intake, make.envelope("user%other.example@example.com", origin=origin)) == "550 5.7.1"
        assert refused(intake, make.envelope(sender="eve@other.example", origin=origin)) == "550 5.7.1"

    def test_of_one_recipient_refuse_the_mail(self, intake: Intake) -> None:
        envelope = make.envelope("postmaster@example.com", "user@other.example", origin=make.STRANGER)
        assert refused(intake, envelope) == "550 5.7.1"

    def test_of_mail_that_goes_in_circles(self, intake: Intake) -> None:
        for origin in (make.USER, make.SENDRY):
            content = make.content(more="Received: from a by b; x\r\n" * 51)
            assert refused(intake, make.envelope(content=content, origin=origin)) == "554 5.4.6"

    def test_of_mail_without_recipients(self, intake: Intake) -> None:
        assert refused(intake, make.envelope(recipients=())) == "554 5.5.1"

    @pytest.mark.parametrize(
        "head", [b"\r\n", b"Subject: x\r\n\r\n", b"From: a@example.com\r\nFrom: b@example.com\r\n\r\n"]
    )
    def test_of_mail_without_one_author(self, intake: Intake, head: bytes) -> None:
        assert refused(intake, make.envelope(content=Content(head))) == "554 5.6.0"

    def test_can_be_had_early(self, intake: Intake) -> None:
        intake.check_sender(make.USER, "anna@example.com")
        intake.check_sender(make.USER, "")
        intake.check_sender(make.STRANGER, "eve@other.example")
        with pytest.raises(DomainNotAllowed):
            intake.check_sender(make.USER, "eve@other.example")
        intake.check_recipient(make.USER, "anna@example.com", "boris@example.org")
        intake.check_recipient(make.STRANGER, "", "postmaster")
        with pytest.raises(Refused):
            intake.check_recipient(make.STRANGER, "anna@example.com", "boris@example.org")


class TestTheHead:
    def test_gets_message_id_and_date_on_submission(self, queue: Queue, intake: Intake) -> None:
        name = intake.accept(make.envelope(content=BARE, is_submission=True), make.NOW).result()
        head, body = headers.split(stored(queue, name))
        assert head == (
            f"Message-ID: <{name}@example.com>\r\nDate: Wed, 18 Mar 2026 14:32:00 +0000\r\n".encode() + BARE.head
        )
        assert body == BARE.body
        assert view(queue, name).message.header_id == f"{name}@example.com"

    def test_keeps_message_id_and_date_that_are_there(self, queue: Queue, intake: Intake) -> None:
        envelope = make.envelope(is_submission=True)
        name = intake.accept(envelope, make.NOW).result()
        assert stored(queue, name) == envelope.content.head + envelope.content.body
        assert f"<{view(queue, name).message.header_id}>".encode() in envelope.content.head

    def test_of_relayed_mail_gets_neither(self, queue: Queue, intake: Intake) -> None:
        name = intake.accept(make.envelope(content=BARE), make.NOW).result()
        assert stored(queue, name) == BARE.head + BARE.body
        assert view(queue, name).message.header_id == ""

    def test_begins_with_the_trace_that_names_the_message(self, queue: Queue, intake: Intake) -> None:
        name = intake.accept(make.envelope(content=BARE, trace=TRACE, is_submission=True), make.NOW).result()
        octets = stored(queue, name)
        assert octets.startswith(TRACE.replace(b"{id}", name.encode()) + b"Message-ID: ")
        assert headers.is_well_formed(headers.split(octets)[0])

    @pytest.mark.parametrize(
        "field",
        [
            "Return-Path: <eve@other.example>\r\n",
            "RETURN-PATH: <a@b.example>\r\nReturn-Path:\r\n <folded@b.example>\r\n",
            "Return-Path : <obsolete@b.example>\r\n",
        ],
    )
    def test_loses_a_return_path_that_came_along(self, queue: Queue, intake: Intake, field: str) -> None:
        content = Content(
            field.encode() + b"From: anna@example.com\r\nX-Return-Path: kept\r\n\r\n", b"Return-Path: x\r\n"
        )
        octets = stored(queue, intake.accept(make.envelope(content=content), make.NOW).result())
        assert octets == b"From: anna@example.com\r\nX-Return-Path: kept\r\n\r\nReturn-Path: x\r\n"

    @pytest.mark.parametrize(
        ("received", "kept"),
        [
            (
                b"From MAILER Mon Jan  1\r\nFrom: anna@example.com\r\n\r\n",
                b"From: anna@example.com\r\n\r\nbody\r\n",
            ),
            (
                b"From: anna@example.com\r\nthis is no field\r\nSubject: x\r\n\r\n",
                b"From: anna@example.com\r\n\r\nthis is no field\r\nSubject: x\r\n\r\nbody\r\n",
            ),
        ],
    )
    def test_is_mended_so_that_it_is_fields_only(
        self, queue: Queue, intake: Intake, received: bytes, kept: bytes
    ) -> None:
        name = intake.accept(make.envelope(content=Content(received, b"body\r\n")), make.NOW).result()
        assert stored(queue, name) == kept

    def test_gives_what_lists_show(self, queue: Queue, intake: Intake) -> None:
        head = "From: =?utf-8?b?0JDQvdC90LA=?= <anna@example.com>\r\nSubject: =?utf-8?b?0J/RgNC40LLQtdGC?=\r\n\r\n"
        row = view(queue, intake.accept(make.envelope(content=Content(head.encode())), make.NOW).result()).message
        assert (row.subject, row.header_from) == ("Привет", "Анна <anna@example.com>")


class TestTheEnvelope:
    def test_is_kept_as_it_was(self, queue: Queue, intake: Intake) -> None:
        envelope = make.envelope(
            recipients=(Addressee("boris@Example.org", "DELAY", "rfc822;b@example.org"),),
            smtputf8=True, eight_bit=True, ret="FULL", envid="e 1", priority=1, tags=("a",), metadata={"k": "v"},
        )  # fmt: skip
        row = view(queue, intake.accept(envelope, make.NOW).result()).message
        assert (row.sender, row.origin, row.origin_name, row.client_ip) == (
            "anna@example.com", "smtp", "app", "192.0.2.10",
        )  # fmt: skip
        assert (row.tags, row.metadata, row.created_at) == (("a",), {"k": "v"}, make.NOW)
        (work,) = queue.claim(make.NOW, 1)
        assert (work.address, work.destination) == ("boris@Example.org", "example.org")
        assert (work.notify, work.orcpt, work.ret, work.envid) == ("DELAY", "rfc822;b@example.org", "FULL", "e 1")
        assert (work.smtputf8, work.eight_bit, work.priority) == (True, True, 1)

    def test_names_each_recipient_once(self, queue: Queue, intake: Intake) -> None:
        addressees = (
            "boris@example.org",
            "boris@EXAMPLE.ORG",
            "Boris@example.org",
            "boris@example.org",
            "vera@example.org",
        )
        name = intake.accept(make.envelope(*addressees), make.NOW).result()
        assert [r.address for r in view(queue, name).recipients] == [
            "boris@example.org", "Boris@example.org", "vera@example.org",
        ]  # fmt: skip
        assert view(queue, name).message.recipient_count == 3

    def test_keeps_the_parameters_of_the_first_of_two(self, queue: Queue, intake: Intake) -> None:
        twice = (Addressee("boris@example.org", "NEVER"), Addressee("boris@example.org", "SUCCESS"))
        intake.accept(make.envelope(recipients=twice), make.NOW).result()
        assert [work.notify for work in queue.claim(make.NOW, 10)] == ["NEVER"]

    def test_for_later_waits(self, queue: Queue, intake: Intake) -> None:
        intake.accept(make.envelope(send_at=make.LATER), make.NOW).result()
        assert queue.claim(make.LATER - timedelta(seconds=1), 1) == []
        assert len(queue.claim(make.LATER, 1)) == 1

    def test_with_large_content_keeps_the_file_and_the_new_head(self, queue: Queue, intake: Intake) -> None:
        body = b"x" * (CHUNK + 10)
        content = make.spooled(queue.store, body)
        name = intake.accept(make.envelope(content=content, trace=TRACE), make.NOW).result()
        assert stored(queue, name) == TRACE.replace(b"{id}", name.encode()) + content.head + body


class TestTheAnswer:
    def test_means_that_others_see_the_mail(self, queue: Queue, intake: Intake, sqlite_file: Path) -> None:
        seen: list[list[tuple[str, ...]]] = []
        other = open_store(sqlite_file, queue.store.spool.folder)
        done = intake.accept(make.envelope(), make.NOW)
        done.add_done_callback(lambda _: seen.append(other.rows("SELECT address FROM recipient")))
        done.result()
        queue.store.writer.close()
        assert seen == [[("boris@example.org",)]]
        other.close()

    def test_reaches_a_coroutine(self, queue: Queue, intake: Intake) -> None:
        async def hand_in() -> list[str]:
            return list(await asyncio.gather(*(intake.accept_soon(make.envelope(), make.NOW) for _ in range(10))))

        names = asyncio.run(hand_in())
        assert len(set(names)) == number_of_messages(queue) == 10

    def test_of_a_refusal_to_a_coroutine_comes_at_once(self, intake: Intake) -> None:
        async def hand_in() -> None:
            with pytest.raises(Refused):
                intake.accept_soon(make.envelope(sender="eve@other.example"), make.NOW)

        asyncio.run(hand_in())


class TestMany:
    def test_are_written_in_one_transaction_in_their_order(self, queue: Queue, intake: Intake) -> None:
        commits = queue.store.writer.commits
        envelopes = [make.envelope(tags=(str(number),)) for number in range(20)]
        names = intake.accept_many(envelopes, make.NOW).result()
        assert queue.store.writer.commits == commits + 1
        tags = queue.store.rows("SELECT tags FROM message ORDER BY id")
        assert [json.loads(tag) for (tag,) in tags] == [[str(number)] for number in range(20)]
        assert [view(queue, name).message.tags for name in names] == [(str(number),) for number in range(20)]

    def test_of_which_one_is_refused_are_all_refused(self, queue: Queue, intake: Intake) -> None:
        envelopes = [make.envelope(), make.envelope(sender="eve@other.example"), make.envelope()]
        with pytest.raises(Refused):
            intake.accept_many(envelopes, make.NOW)
        assert number_of_messages(queue) == 0

    def test_may_be_none(self, intake: Intake) -> None:
        assert intake.accept_many([], make.NOW).result() == []
