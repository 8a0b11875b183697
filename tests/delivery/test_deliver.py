"""One lane: which host, which connection, and what the end of a connection means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sendry.delivery.trust import Trust
from sendry.queue.states import EventKind
from tests.delivery.office import Office
from tests.remote_mx import Authority, Drop, RemoteMx
from tests.zones import Fault

OpenOffice = Callable[..., Office]


def test_messages_to_one_destination_go_over_few_connections(office: Office, mx: RemoteMx) -> None:
    for n in range(30):
        office.send(f"r{n}@example.org")

    office.turn()

    assert len(mx.messages) == 30
    assert mx.connections <= 5


def test_a_kept_connection_carries_the_mail_of_a_later_turn(office: Office, mx: RemoteMx) -> None:
    office.send()
    office.turn()
    office.clock.forward(seconds=20)
    office.send()
    office.turn()

    assert (len(mx.messages), mx.connections) == (2, 1)


def test_a_connection_idle_too_long_is_left(office: Office, mx: RemoteMx) -> None:
    office.send()
    office.turn()
    office.clock.forward(seconds=31)
    office.turn()

    mx.wait_until(lambda: mx.live == 0)
    assert mx.commands[-1] == "QUIT"


def test_a_kept_connection_that_died_costs_no_attempt(office: Office, mx: RemoteMx) -> None:
    office.send()
    office.turn()
    mx.drop_connections()
    sent = office.send()
    office.turn()

    assert office.recipient(sent).status == "delivered"
    assert len(office.attempts(sent)) == 1


def test_a_host_that_takes_one_message_per_connection_gets_all(office: Office, mx: RemoteMx) -> None:
    mx.say("dot", Drop("250 2.0.0 queued, and good bye"))
    sent = [office.send(f"r{n}@example.org") for n in range(12)]

    office.turn()

    assert {office.recipient(one).status for one in sent} == {"delivered"}
    assert [len(office.attempts(one)) for one in sent] == [1] * 12
    assert len(mx.messages) == 12


def test_a_connection_carries_no_more_messages_than_it_may(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port, messages_per_connection=3, connections_per_destination=1)
    office.route("example.org", mx)
    for n in range(7):
        office.send(f"r{n}@example.org")

    office.turn()

    assert [message.connection for message in mx.messages] == [1, 1, 1, 2, 2, 2, 3]


def test_the_next_host_is_tried_when_the_first_does_not_answer(open_office: OpenOffice) -> None:
    with RemoteMx(ip="127.0.0.2") as second:
        office = open_office(port=second.port)
        office.zones.mx("example.org", (10, "down.test"), (20, "up.test"))
        office.zones.a("down.test", "127.0.0.3")
        office.zones.a("up.test", "127.0.0.2")
        sent = office.send()
        office.turn()

    assert office.recipient(sent).status == "delivered"
    assert [(a.host, a.outcome) for a in office.attempts(sent)] == [
        ("down.test", "deferred"),
        ("up.test", "delivered"),
    ]


@pytest.mark.parametrize("greeting", ["421 4.3.2 busy", "554 5.7.1 go away", Drop()])
def test_the_next_host_is_tried_when_the_first_gives_no_session(
    open_office: OpenOffice, greeting: str | Drop
) -> None:
    with RemoteMx(ip="127.0.0.2") as second, RemoteMx(ip="127.0.0.3", port=second.port) as first:
        first.say("banner", greeting)
        office = open_office(port=second.port)
        office.route("example.org", first, second)
        sent = office.send()
        office.turn()

    assert office.recipient(sent).status == "delivered"
    assert len(second.messages) == 1


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_the_next_host_is_tried_when_the_first_breaks_off(open_office: OpenOffice, stage: str) -> None:
    with RemoteMx(ip="127.0.0.2") as second, RemoteMx(ip="127.0.0.3", port=second.port) as first:
        first.say(stage, Drop())
        office = open_office(port=second.port)
        office.route("example.org", first, second)
        sent = office.send()
        office.turn()

    assert [(a.ip, a.outcome) for a in office.attempts(sent)] == [
        ("127.0.0.3", "deferred"),
        ("127.0.0.2", "delivered"),
    ]
    assert office.recipient(sent).attempts == 1


def test_a_permanent_refusal_of_the_first_host_is_not_taken_to_the_second(open_office: OpenOffice) -> None:
    with RemoteMx(ip="127.0.0.2") as second, RemoteMx(ip="127.0.0.3", port=second.port) as first:
        first.say("RCPT", "550 5.1.1 no such user")
        office = open_office(port=second.port)
        office.route("example.org", first, second)
        sent = office.send()
        office.turn()

    assert office.recipient(sent).status == "failed"
    assert second.connections == 0


def test_a_host_that_breaks_off_and_has_no_stand_in_defers(office: Office, mx: RemoteMx) -> None:
    mx.say("MAIL", Drop())
    sent = office.send()

    office.turn()

    recipient = office.recipient(sent)
    assert (recipient.status, recipient.attempts) == ("deferred", 1)
    assert recipient.last_enhanced == "4.4.2"


@pytest.mark.parametrize(
    ("domain", "arrange", "status", "enhanced"),
    [
        ("missing.test", None, "failed", "5.1.2"),
        ("null.test", lambda zones: zones.mx("null.test", (0, ".")), "failed", "5.1.10"),
        ("empty.test", lambda zones: zones.txt("empty.test", "x"), "failed", "5.4.4"),
        ("broken.test", lambda zones: zones.fail("broken.test", Fault.SERVFAIL), "deferred", "4.4.3"),
        ("loop.test", lambda zones: zones.mx("loop.test", (5, "mail.example.com")), "failed", "5.4.6"),
        ("evil.test", lambda zones: zones.a("evil.test", "169.254.169.254"), "failed", "5.4.4"),
    ],
)
def test_what_dns_says_decides_without_a_connection(
    office: Office,
    mx: RemoteMx,
    domain: str,
    arrange: Callable[[object], None] | None,
    status: str,
    enhanced: str,
) -> None:
    office.zones.a("mail.example.com", "127.0.0.1")
    if arrange is not None:
        arrange(office.zones)
    sent = office.send(f"x@{domain}")

    office.turn()

    recipient = office.recipient(sent)
    assert (recipient.status, recipient.last_enhanced) == (status, enhanced)
    assert mx.connections == 0


def test_a_connection_lost_after_the_final_dot_is_unknown_and_tried_again(office: Office, mx: RemoteMx) -> None:
    mx.say("dot", Drop(), "250 2.0.0 queued")
    sent = office.send()

    office.turn()
    recipient = office.recipient(sent)
    assert (recipient.status, recipient.is_possible_duplicate) == ("deferred", True)
    assert [attempt.outcome for attempt in office.attempts(sent)] == ["unknown"]

    office.clock.forward(minutes=6)
    office.turn()
    assert office.recipient(sent).status == "delivered"
    delivered = [event for event in office.view(sent).events if event.kind is EventKind.DELIVERED]
    assert delivered[0].detail["possible_duplicate"] is True
    assert len(mx.messages) == 2


def test_unknown_campaign_mail_is_not_sent_twice(office: Office, mx: RemoteMx) -> None:
    from sendry.mail.envelope import Origin, OriginKind

    mx.say("dot", Drop())
    sent = office.send(origin=Origin(OriginKind.CAMPAIGN, "c1", may_relay=True))

    office.turn()
    office.clock.forward(hours=5)
    office.turn()

    assert office.recipient(sent).status == "failed"
    assert len([m for m in mx.messages if m.recipients == ["boris@example.org"]]) == 1


def test_opportunistic_tls_is_noted_and_falls_back_to_clear_text(
    open_office: OpenOffice, authority: Authority
) -> None:
    with RemoteMx(tls=authority.server("mx1.example.org")) as mx:
        office = open_office(port=mx.port, trust=Trust(Path(authority.file)))
        office.route("example.org", mx)
        encrypted = office.send()
        office.turn()
        mx.drop_connections()
        mx.say("STARTTLS", "454 4.7.0 not now")
        clear = office.send()
        office.turn()

    assert [(a.tls, a.tls_verified) for a in office.attempts(encrypted)] == [("TLSv1.3", "web-pki")]
    assert [(a.tls, a.tls_verified) for a in office.attempts(clear)] == [("", "")]
    assert [message.is_tls for message in mx.messages] == [True, False]


def test_required_tls_keeps_the_mail_until_it_is_to_be_had(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(
        '[delivery]\nallowed_networks = ["127.0.0.0/8"]\n[delivery.destinations."example.org"]\ntls = "require"\n',
        port=mx.port,
    )
    office.route("example.org", mx)
    office.route("example.net", mx)
    kept, gone = office.send("a@example.org"), office.send("a@example.net")

    office.turn()

    assert office.recipient(gone).status == "delivered"
    assert (office.recipient(kept).status, office.recipient(kept).bounce_class) == ("deferred", "tls")
    assert len(mx.messages) == 1


def test_a_smart_host_takes_all_destinations_over_one_connection(open_office: OpenOffice, mx: RemoteMx) -> None:
    mx.extensions = (*mx.extensions, "AUTH PLAIN")
    office = open_office(
        f'[delivery]\nrelay = "127.0.0.1:{mx.port}"\nrelay_user = "us"\nrelay_password = "x"\nrelay_tls = "none"\n',
        connections_per_destination=1,
    )
    sent = office.send("a@example.org", "b@example.net", "c@elsewhere.test")

    office.turn()

    assert set(office.statuses(sent).values()) == {"delivered"}
    assert mx.messages[0].recipients == ["a@example.org", "b@example.net", "c@elsewhere.test"]
    assert office.zones.asked == []
    assert any(line.startswith("AUTH PLAIN ") for line in mx.commands)


def test_a_smart_host_that_refuses_the_login_keeps_all_mail(open_office: OpenOffice, mx: RemoteMx) -> None:
    mx.extensions = (*mx.extensions, "AUTH PLAIN")
    mx.say("AUTH", "535 5.7.8 wrong password")
    office = open_office(
        f'[delivery]\nrelay = "127.0.0.1:{mx.port}"\nrelay_user = "us"\nrelay_password = "bad"\nrelay_tls = "none"\n'
    )
    sent = office.send()

    office.turn()

    assert (office.recipient(sent).status, office.recipient(sent).bounce_class) == ("deferred", "auth")


def test_a_host_with_ipv6_alone_is_reached(open_office: OpenOffice) -> None:
    with RemoteMx(ip="::1") as mx:
        office = open_office('[delivery]\nallowed_networks = ["::1/128"]\n', port=mx.port)
        office.zones.mx("example.org", (10, "six.example.org"))
        office.zones.aaaa("six.example.org", "::1")
        sent = office.send()
        office.turn()

    (attempt,) = office.attempts(sent)
    assert (attempt.ip, attempt.source_ip, attempt.outcome) == ("::1", "::1", "delivered")


def test_the_other_address_family_is_tried_when_one_does_not_answer(open_office: OpenOffice) -> None:
    with RemoteMx(ip="::1") as mx:
        office = open_office('[delivery]\nallowed_networks = ["::1/128", "127.0.0.0/8"]\n', port=mx.port)
        office.zones.mx("example.org", (10, "both.example.org"))
        office.zones.a("both.example.org", "127.0.0.9")
        office.zones.aaaa("both.example.org", "::1")
        sent = office.send()
        office.turn()

    assert [(a.ip, a.outcome) for a in office.attempts(sent)] == [("127.0.0.9", "deferred"), ("::1", "delivered")]


def test_mail_to_an_address_literal_goes_to_that_address(open_office: OpenOffice, mx: RemoteMx) -> None:
    office = open_office(port=mx.port)
    sent = office.send("boris@[127.0.0.1]")

    office.turn()

    assert office.recipient(sent).status == "delivered"
    assert mx.messages[0].recipients == ["boris@[127.0.0.1]"]
    assert office.zones.asked == []
