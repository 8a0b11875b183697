"""What the sender is told, and what not."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from datetime import timedelta

import pytest

from sendry.delivery.deliver import Done
from sendry.delivery.notices import action_for
from sendry.mail.bounce_class import BounceClass
from sendry.mail.dsn import Action
from sendry.mail.envelope import Addressee
from sendry.mail.outcome import Outcome, Verdict
from sendry.queue.work import Result
from tests import make
from tests.delivery.make import work
from tests.delivery.office import Office
from tests.remote_mx import Drop, Received, RemoteMx


@pytest.fixture
def office(open_office: Callable[..., Office], mx: RemoteMx) -> Office:
    """Mail for example.org goes to `mx`, and so does what is told to senders at example.com."""
    office = open_office(port=mx.port, hostname="out.example.com")
    office.route("example.org", mx)
    office.route("example.com", mx)
    return office


def notices(mx: RemoteMx) -> list[Received]:
    return [message for message in mx.messages if message.sender == ""]


def status_fields(notice: Received) -> list[dict[str, str]]:
    """The blocks of the delivery status: of the message, then of each recipient."""
    parsed = email.message_from_bytes(notice.octets, policy=email.policy.default)
    (report,) = [part for part in parsed.walk() if part.get_content_type() == "message/delivery-status"]
    return [dict(block.items()) for block in report.get_payload()]  # type: ignore[union-attr]  # a list of messages


def test_a_failure_for_good_is_told_to_the_sender(office: Office, mx: RemoteMx) -> None:
    mx.judge_recipient = {"boris@example.org": "550 5.1.1 no such user here"}.get
    office.send()

    office.turn(2)

    (notice,) = notices(mx)
    assert notice.recipients == ["anna@example.com"]
    _, recipient = status_fields(notice)
    assert recipient["Final-Recipient"] == "rfc822; boris@example.org"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert "550 5.1.1 no such user here" in recipient["Diagnostic-Code"]
    assert "mx1.example.org" in recipient["Remote-MTA"]
    assert b"Subject: Hello" in notice.octets
    assert b"Good day" not in notice.octets


def test_only_the_failed_recipients_are_named_and_all_in_one_notice(office: Office, mx: RemoteMx) -> None:
    no = "550 5.1.1 no"
    mx.judge_recipient = {"bad@example.org": no, "worse@example.org": no, "later@example.org": "450 4.2.0 x"}.get
    office.send("good@example.org", "bad@example.org", "later@example.org", "worse@example.org")

    office.turn(2)

    (notice,) = notices(mx)
    named = [block["Final-Recipient"] for block in status_fields(notice)[1:]]
    assert named == ["rfc822; bad@example.org", "rfc822; worse@example.org"]


def test_a_notice_that_fails_is_not_told_to_anybody(office: Office, mx: RemoteMx) -> None:
    mx.judge_recipient = lambda _address: "550 5.1.1 nobody here"
    office.send()

    office.turn(4)

    assert notices(mx) == []
    assert office.lookup.counts().failed == 2


def test_expired_mail_is_told_with_what_was_said_last(office: Office, mx: RemoteMx) -> None:
    mx.judge_recipient = {"boris@example.org": "451 4.3.0 come back"}.get
    office.send()

    for _ in range(6):
        office.turn()
        office.clock.forward(hours=5)

    (notice,) = notices(mx)
    assert status_fields(notice)[1]["Status"] == "4.4.7"
    assert b"come back" in notice.octets


@pytest.mark.parametrize("notify", ["", "FAILURE"])
def test_nothing_calls_for_a_notice_to_the_null_sender(notify: str) -> None:
    failed = Verdict(Outcome.FAILED, 550, "5.1.1", "no", BounceClass.HARD_ADDRESS)
    told = [
        Done(Result(work(sender=sender, notify=notify), "failed", ()), failed) for sender in ("", "a@example.com")
    ]

    assert [action_for(done, make.NOW) for done in told] == [None, Action.FAILED]


@pytest.mark.parametrize(("notify", "is_told"), [("NEVER", False), ("SUCCESS,DELAY", False), ("FAILURE", True)])
def test_notify_decides_on_failures(office: Office, mx: RemoteMx, notify: str, is_told: bool) -> None:
    mx.judge_recipient = {"boris@example.org": "550 5.1.1 no"}.get
    office.send(Addressee("boris@example.org", notify=notify))

    office.turn(2)

    assert bool(notices(mx)) is is_told


def test_orcpt_and_envid_come_back(office: Office, mx: RemoteMx) -> None:
    mx.judge_recipient = {"boris@example.org": "550 5.1.1 no"}.get
    office.send(Addressee("boris@example.org", orcpt="rfc822;first@example.net"), envid="order-7")

    office.turn(2)

    message, recipient = status_fields(notices(mx)[0])
    assert message["Original-Envelope-Id"] == "order-7"
    assert recipient["Original-Recipient"] == "rfc822; first@example.net"


@pytest.mark.parametrize(("ret", "is_whole"), [("FULL", True), ("HDRS", False), ("", False)])
def test_ret_decides_how_much_comes_back(office: Office, mx: RemoteMx, ret: str, is_whole: bool) -> None:
    mx.judge_recipient = {"boris@example.org": "550 5.1.1 no"}.get
    office.send(ret=ret)

    office.turn(2)

    assert (b"Good day" in notices(mx)[0].octets) is is_whole


def test_success_is_told_when_the_next_host_cannot_tell_it(office: Office, mx: RemoteMx) -> None:
    office.send(Addressee("boris@example.org", notify="SUCCESS"))
    office.turn(2)
    assert notices(mx) == []
    assert mx.messages[0].rcpt == ["TO:<boris@example.org> NOTIFY=SUCCESS"]

    mx.extensions = tuple(name for name in mx.extensions if name != "DSN")
    mx.drop_connections()
    office.send(Addressee("boris@example.org", notify="SUCCESS"))
    office.turn(2)
    (notice,) = notices(mx)
    assert status_fields(notice)[1]["Action"] == "relayed"


def test_a_delay_is_told_once_after_four_hours_if_asked_for(office: Office, mx: RemoteMx) -> None:
    mx.judge_recipient = {"boris@example.org": "451 4.3.0 later"}.get
    office.send(Addressee("boris@example.org", notify="DELAY,FAILURE"))
    office.send(Addressee("boris@example.org"))
    told = []

    for _ in range(4):
        office.turn(2)
        told.append(len(notices(mx)))
        office.clock.forward(hours=2, minutes=30)

    assert told == [0, 0, 1, 1]
    assert status_fields(notices(mx)[0])[1]["Action"] == "delayed"


def test_mail_that_waits_in_a_file_is_told_about_too(office: Office, mx: RemoteMx) -> None:
    mx.judge_recipient = {"boris@example.org": "550 5.1.1 no"}.get
    content = make.spooled(office.store, b"x" * 70 + b"\r\n" + b"y" * 400_000 + b"\r\n", subject="Large")
    office.send(content=content)

    office.turn(2)

    assert b"Subject: Large" in notices(mx)[0].octets


def test_an_unknown_outcome_is_not_a_failure_to_tell(office: Office, mx: RemoteMx) -> None:
    mx.say("dot", Drop())
    office.send()

    office.turn(2)

    assert notices(mx) == []


def test_a_destination_that_never_came_back_is_told(open_office: Callable[..., Office], mx: RemoteMx) -> None:
    with RemoteMx(ip="127.0.0.2", port=mx.port) as gone:
        pass
    office = open_office(port=mx.port)
    office.route("example.com", mx)
    office.route("gone.test", gone)
    for n in range(20):
        office.send(f"r{n}@gone.test")

    for _ in range(30):
        office.turn()
        office.clock.forward(minutes=10)

    assert len(notices(mx)) == 20
    assert office.clock() - make.NOW > timedelta(hours=1)
