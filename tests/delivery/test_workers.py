"""From the line to the remote host and back: every branch with its attempt, its state and its next time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from sendry.delivery.holding import HELD_LONGEST
from sendry.delivery.session import LONGEST_OPENING
from sendry.delivery.settings import DOT_TIMEOUT
from sendry.delivery.sites import LONGEST_TURN
from sendry.queue.claim import LEASE
from sendry.queue.states import EventKind
from tests import make
from tests.delivery.office import Office
from tests.remote_mx import Hold, RemoteMx, Slow

OpenOffice = Callable[..., Office]


def test_accepted_mail_is_delivered(office: Office, mx: RemoteMx) -> None:
    sent = office.send()

    office.turn()

    recipient = office.recipient(sent)
    (attempt,) = office.attempts(sent)
    assert (recipient.status, recipient.attempts, recipient.next_attempt_at) == ("delivered", 1, None)
    assert (attempt.host, attempt.ip, attempt.source_ip) == ("mx1.example.org", "127.0.0.1", "127.0.0.1")
    assert (attempt.code, attempt.enhanced, attempt.outcome) == (250, "2.0.0", "delivered")
    assert mx.messages[0].recipients == ["boris@example.org"]
    assert mx.messages[0].octets.endswith(b"\r\n\r\nGood day\r\n")


def test_a_temporary_refusal_is_tried_again_after_a_growing_time(office: Office, mx: RemoteMx) -> None:
    mx.say("RCPT", "451 4.3.0 later", "451 4.3.0 later", "250 ok")
    sent = office.send()

    office.turn()
    first = office.recipient(sent)
    office.clock.forward(minutes=4)
    office.turn()
    too_early = office.recipient(sent)
    office.clock.forward(minutes=2)
    office.turn()
    second = office.recipient(sent)
    office.clock.forward(minutes=12)
    office.turn()

    assert (first.status, first.attempts, too_early.attempts, second.attempts) == ("deferred", 1, 1, 2)
    assert first.next_attempt_at is not None
    assert second.next_attempt_at is not None
    assert timedelta(minutes=4, seconds=30) <= first.next_attempt_at - make.NOW <= timedelta(minutes=5, seconds=30)
    waited = second.next_attempt_at - make.NOW - timedelta(minutes=6)
    assert timedelta(minutes=9) <= waited <= timedelta(minutes=11)
    assert office.recipient(sent).status == "delivered"


def test_when_the_attempts_are_used_up_the_mail_has_failed(office: Office, mx: RemoteMx) -> None:
    mx.say("RCPT", "451 4.3.0 still not")
    sent = office.send()

    for _ in range(5):
        office.turn()
        office.clock.forward(hours=5)
    office.turn()

    recipient = office.recipient(sent)
    assert (recipient.status, recipient.attempts, recipient.bounce_class) == ("failed", 5, "expired")
    assert (recipient.last_code, recipient.last_enhanced) == (451, "4.4.7")
    assert "still not" in recipient.last_response
    assert mx.commands.count("DATA") == 5


def test_a_refusal_for_good_is_not_tried_again(office: Office, mx: RemoteMx) -> None:
    mx.say("RCPT", "550 5.1.1 no such user")
    sent = office.send()

    office.turn()

    recipient = office.recipient(sent)
    assert (recipient.status, recipient.last_code, recipient.bounce_class) == ("failed", 550, "hard-address")
    assert office.view(sent).is_dead


def test_recipients_at_one_destination_share_a_transaction_and_fail_alone(office: Office, mx: RemoteMx) -> None:
    office.route("example.net", mx)
    mx.judge_recipient = {"bad@example.org": "550 5.1.1 no", "slow@example.org": "450 4.2.0 grey"}.get
    sent = office.send("a@example.org", "bad@example.org", "slow@example.org", "b@example.org", "c@example.net")

    office.turn()

    assert office.statuses(sent) == {
        "a@example.org": "delivered",
        "bad@example.org": "failed",
        "slow@example.org": "deferred",
        "b@example.org": "delivered",
        "c@example.net": "delivered",
    }
    assert sorted(message.recipients for message in mx.messages) == [
        ["a@example.org", "b@example.org"], ["c@example.net"],
    ]  # fmt: skip

    office.clock.forward(minutes=6)
    mx.judge_recipient = lambda _address: None
    office.turn()
    assert mx.messages[-1].recipients == ["slow@example.org"]
    assert office.statuses(sent)["slow@example.org"] == "delivered"


def test_a_hundred_recipients_are_the_most_in_one_transaction(office: Office, mx: RemoteMx) -> None:
    office.send(*(f"r{n}@example.org" for n in range(100)))
    many = office.send(*(f"s{n}@example.org" for n in range(230)))

    office.turn()

    assert sorted(len(message.rcpt) for message in mx.messages) == [30, 100, 100, 100]
    assert set(office.statuses(many).values()) == {"delivered"}


def test_recipients_the_host_has_no_room_for_follow_at_once(office: Office, mx: RemoteMx) -> None:
    full = "452 4.5.3 too many recipients"
    mx.say("RCPT", "250 ok", "250 ok", full, full, full, "250 ok", "250 ok", full, "250 ok")
    sent = office.send(*(f"r{n}@example.org" for n in range(5)))

    office.turn()

    assert set(office.statuses(sent).values()) == {"delivered"}
    assert [row.attempts for row in office.view(sent).recipients] == [1] * 5
    assert [len(message.rcpt) for message in mx.messages] == [2, 2, 1]


def test_a_destination_that_cannot_be_reached_is_left_alone_as_a_whole(open_office: OpenOffice) -> None:
    with RemoteMx() as gone:
        pass
    office = open_office(port=gone.port, connections_per_destination=2)
    office.route("example.org", gone)
    sent = [office.send(f"r{n}@example.org") for n in range(20)]

    office.turn()

    tried = [office.recipient(one) for one in sent if office.recipient(one).attempts]
    waiting = [office.recipient(one) for one in sent if not office.recipient(one).attempts]
    assert 1 <= len(tried) <= 6
    assert {row.status for row in tried} == {"deferred"}
    assert {row.status for row in waiting} == {"pending"}
    due = {row.next_attempt_at for row in waiting}
    assert all(moment is not None and moment > make.NOW + timedelta(seconds=20) for moment in due)


def test_one_probe_comes_before_the_others_when_a_destination_was_down(open_office: OpenOffice) -> None:
    with RemoteMx() as mx:
        port = mx.port
    office = open_office(port=port, connections_per_destination=4)
    office.route("example.org", mx)
    sent = [office.send(f"r{n}@example.org") for n in range(12)]
    office.turn()
    with RemoteMx(port=port) as mx:
        hold = Hold(threading.Event())
        mx.say("banner", Hold(hold.released, "220 back again", hold.reached))
        office.clock.forward(minutes=7)

        async def probe() -> int:
            await office.loop.turn(office.clock())
            await asyncio.to_thread(hold.reached.wait, 5)
            live = mx.live
            hold.released.set()
            await office.loop.idle()
            return live

        assert office.run(probe) == 1
        office.turn(2)

    assert {office.recipient(one).status for one in sent} == {"delivered"}


def test_mail_for_a_destination_that_stays_down_expires_all_the_same(open_office: OpenOffice) -> None:
    with RemoteMx() as gone:
        pass
    office = open_office(port=gone.port)
    office.route("example.org", gone)
    sent = [office.send(f"r{n}@example.org") for n in range(40)]

    for _ in range(30):
        office.turn()
        office.clock.forward(minutes=10)

    assert {str(office.recipient(one).status) for one in sent} == {"failed"}
    assert {office.recipient(one).bounce_class for one in sent} == {"expired"}


def test_a_host_that_wants_few_connections_gets_few(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port, ticks=time.monotonic)
    office.route("example.org", mx)
    mx.say("banner", "220 mx.test", "421 4.3.2 too many connections from you")
    mx.say("dot", Slow(0.05, "250 2.0.0 queued"))
    sent = [office.send(f"r{n}@example.org") for n in range(20)]

    office.turn()

    assert {str(office.recipient(one).status) for one in sent} == {"delivered"}
    assert {len(office.attempts(one)) for one in sent} == {1}
    assert mx.connections > 1


def test_a_slow_host_gets_more_connections(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port, ticks=time.monotonic, connections_per_destination=7)
    office.route("example.org", mx)
    mx.say("dot", Slow(0.05, "250 2.0.0 queued"))
    for n in range(30):
        office.send(f"r{n}@example.org")

    office.turn()

    assert len(mx.messages) == 30
    assert mx.most_live == 7


def test_transactional_mail_passes_bulk_mail(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port, connections_per_destination=1)
    office.route("example.org", mx)
    for n in range(5):
        office.send(f"bulk{n}@example.org", priority=1)
    office.send("urgent@example.org")

    office.turn()

    assert mx.messages[0].recipients == ["urgent@example.org"]


def test_a_slow_destination_does_not_hold_up_the_others(open_office: OpenOffice, mx: RemoteMx) -> None:
    with RemoteMx(ip="127.0.0.2", port=mx.port) as slow:
        released = threading.Event()
        hold = Hold(released, "250 ok")
        slow.say("MAIL", hold)
        office = open_office(port=mx.port, connections=8, connections_per_destination=4)
        office.route("slow.test", slow)
        office.route("example.org", mx)
        for n in range(1500):
            office.send(f"r{n}@slow.test")

        async def go() -> None:
            await office.loop.turn(office.clock())
            await asyncio.to_thread(hold.reached.wait, 5)
            office.clock.forward(seconds=3)
            office.send("quick@example.org")
            for _ in range(4):
                await office.loop.turn(office.clock())
                office.clock.forward(seconds=1)
            await asyncio.to_thread(mx.wait_for, 1)
            released.set()
            await office.loop.end(5)

        office.run(go)

    assert mx.messages[0].recipients == ["quick@example.org"]


def test_an_exception_nobody_foresaw_is_set_aside_after_three_times(office: Office, mx: RemoteMx) -> None:
    poison = office.send(sender="anna@example.com")
    office.store.writer.call(lambda tx: tx.change("UPDATE recipient SET notify = ?", ("NEVER\r\nDATA",))).result()
    good = office.send("other@example.org")

    for _ in range(4):
        office.turn()
        office.clock.forward(minutes=6)

    assert office.recipient(good).status == "delivered"
    assert office.recipient(poison).status == "failed"
    assert EventKind.QUARANTINED in [event.kind for event in office.view(poison).events]
    assert len(mx.messages) == 1


def test_at_the_end_what_is_in_flight_is_finished_and_the_rest_given_back(office: Office, mx: RemoteMx) -> None:
    released = threading.Event()
    hold = Hold(released, "250 2.0.0 queued")
    mx.say("dot", hold)
    office.send("first@example.org")

    async def go() -> None:
        await office.loop.turn(office.clock())
        await asyncio.to_thread(hold.reached.wait, 5)
        ending = asyncio.ensure_future(office.loop.end(5))
        await asyncio.sleep(0)
        released.set()
        await ending

    office.run(go)

    assert office.lookup.counts().delivered == 1
    assert office.lookup.counts().sending == 0


def test_what_is_on_its_way_is_noted_until_its_result_is_written(office: Office, mx: RemoteMx) -> None:
    hold = Hold(threading.Event(), "250 2.0.0 queued")
    mx.say("dot", hold)
    mx.judge_recipient = {"bad@example.org": "550 5.1.1 no"}.get
    sent = office.send("good@example.org", "bad@example.org")
    good, bad = (row.number for row in office.view(sent).recipients)

    async def go() -> list[bool]:
        await office.loop.turn(office.clock())
        await asyncio.to_thread(hold.reached.wait, 5)
        noted = [office.queue.in_flight.holds(good), office.queue.in_flight.holds(bad)]
        hold.released.set()
        await office.loop.idle()
        return [*noted, office.queue.in_flight.holds(good)]

    assert office.run(go) == [True, False, False]


def test_at_the_end_of_patience_what_may_have_arrived_is_unknown(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port, dot_timeout=30.0)
    office.route("example.org", mx)
    hold = Hold(threading.Event())
    mx.say("dot", hold)
    sent = office.send()

    async def go() -> None:
        await office.loop.turn(office.clock())
        await asyncio.to_thread(hold.reached.wait, 5)
        await office.loop.end(1.1)

    office.run(go)
    hold.released.set()

    assert office.recipient(sent).status == "deferred"
    assert office.recipient(sent).is_possible_duplicate


def test_at_the_end_of_patience_what_was_not_sent_is_given_back_untouched(
    open_office: OpenOffice, mx: RemoteMx
) -> None:
    office = open_office(port=mx.port, command_timeout=30.0)
    office.route("example.org", mx)
    hold = Hold(threading.Event())
    mx.say("banner", hold)
    sent = office.send()

    async def go() -> None:
        await office.loop.turn(office.clock())
        await asyncio.to_thread(hold.reached.wait, 5)
        await office.loop.end(1.1)

    office.run(go)
    hold.released.set()

    recipient = office.recipient(sent)
    assert (recipient.status, recipient.attempts) == ("pending", 0)


def test_the_loop_in_its_own_thread_starts_new_work_at_once(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(f'[delivery]\nrelay = "127.0.0.1:{mx.port}"\n', process_interval=3600.0)
    office.loop.start()
    try:
        first = office.send()
        mx.wait_for(1)
        second = office.send()
        mx.wait_for(2)
    finally:
        office.loop.stop(5)

    assert {office.recipient(first).status, office.recipient(second).status} == {"delivered"}
    assert mx.connections == 1


def test_a_turn_ends_before_its_lease() -> None:
    assert timedelta(seconds=LONGEST_TURN + DOT_TIMEOUT) < LEASE
    assert HELD_LONGEST + LONGEST_OPENING <= LONGEST_TURN - 200


def test_what_was_not_delivered_stands_in_the_log(
    office: Office, mx: RemoteMx, caplog: pytest.LogCaptureFixture
) -> None:
    mx.judge_recipient = {"bad@example.org": "550 5.1.1 no such user"}.get
    office.send("good@example.org")
    office.send("bad@example.org")

    with caplog.at_level(logging.INFO, logger="sendry.delivery"):
        office.turn()

    lines = [record for record in caplog.records if record.name == "sendry.delivery.settling"]
    assert [record.getMessage() for record in lines] == ["recipient failed"]
    assert (vars(lines[0])["recipient"], vars(lines[0])["code"]) == ("bad@example.org", 550)
