"""One transaction: each stage with each way to fail, pipelined and not, one recipient and several."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sendry.delivery.content import Prepared
from sendry.delivery.exchange import UnsafeAddress
from sendry.mail.outcome import Outcome
from tests.delivery.exchanges import PLAIN, carried, codes, kinds, prepared
from tests.delivery.make import MESSAGE, work
from tests.remote_mx import Action, Drop, RemoteMx, Silence


@pytest.fixture
def mx(either_mx: RemoteMx) -> RemoteMx:
    return either_mx


@pytest.fixture
def fast_mx() -> Iterator[RemoteMx]:
    with RemoteMx() as mx:
        yield mx


def test_a_message_is_delivered_as_it_was(mx: RemoteMx) -> None:
    (exchange,) = carried(mx, [work()])

    assert kinds(exchange) == [Outcome.DELIVERED]
    (message,) = mx.messages
    assert (message.sender, message.recipients, message.octets) == (
        "alice@example.com",
        ["bob@example.test"],
        MESSAGE,
    )
    assert message.mail == f"FROM:<alice@example.com> SIZE={len(MESSAGE)}"


def test_what_can_be_pipelined_goes_out_in_one_piece(fast_mx: RemoteMx) -> None:
    carried(fast_mx, [work(), work("carol@example.test")])

    assert fast_mx.groups[1].count(b"\r\n") == 4
    assert fast_mx.groups[1].endswith(b"DATA\r\n")


def test_nothing_is_pipelined_unannounced() -> None:
    with RemoteMx(extensions=PLAIN) as mx:
        carried(mx, [work(), work("carol@example.test")])

    assert [group.partition(b" ")[0].strip() for group in mx.groups] == [
        b"EHLO", b"MAIL", b"RCPT", b"RCPT", b"DATA", mx.groups[5].partition(b" ")[0].strip(), b"QUIT",
    ]  # fmt: skip


STAGES: list[tuple[str, Action, Outcome, int]] = [
    ("MAIL", "450 4.7.1 try again", Outcome.DEFERRED, 450),
    ("MAIL", "550 5.7.1 sender refused", Outcome.FAILED, 550),
    ("MAIL", "421 4.3.2 closing", Outcome.DEFERRED, 421),
    ("MAIL", Drop(), Outcome.DEFERRED, 0),
    ("MAIL", Drop("550 5.7.1 no"), Outcome.FAILED, 550),
    ("MAIL", Silence(), Outcome.DEFERRED, 0),
    ("MAIL", "what?", Outcome.DEFERRED, 0),
    ("RCPT", "451 4.3.0 try again", Outcome.DEFERRED, 451),
    ("RCPT", "550 5.1.1 no such user", Outcome.FAILED, 550),
    ("RCPT", "421 4.3.2 closing", Outcome.DEFERRED, 421),
    ("RCPT", Drop("421 4.3.2 closing"), Outcome.DEFERRED, 421),
    ("RCPT", Drop("550 5.1.1 no such user"), Outcome.FAILED, 550),
    ("RCPT", Drop(), Outcome.DEFERRED, 0),
    ("RCPT", Silence(), Outcome.DEFERRED, 0),
    ("DATA", "451 4.3.0 try again", Outcome.DEFERRED, 451),
    ("DATA", "554 5.7.1 refused", Outcome.FAILED, 554),
    ("DATA", "421 4.3.2 closing", Outcome.DEFERRED, 421),
    ("DATA", Drop(), Outcome.DEFERRED, 0),
    ("DATA", "250 that is no 354", Outcome.DEFERRED, 250),
    ("dot", "451 4.3.0 try again", Outcome.DEFERRED, 451),
    ("dot", "550 5.7.1 spam", Outcome.FAILED, 550),
    ("dot", "421 4.3.2 closing", Outcome.DEFERRED, 421),
    ("dot", Drop("250 2.0.0 queued"), Outcome.DELIVERED, 250),
    ("dot", Drop("550 5.7.1 spam"), Outcome.FAILED, 550),
    ("dot", Drop(), Outcome.UNKNOWN, 0),
    ("dot", Drop(hard=True), Outcome.UNKNOWN, 0),
    ("dot", Silence(), Outcome.UNKNOWN, 0),
    ("dot", "quite another thing", Outcome.UNKNOWN, 0),
]


@pytest.mark.parametrize(("stage", "action", "outcome", "code"), STAGES)
def test_each_reply_means_what_it_says(mx: RemoteMx, stage: str, action: Action, outcome: Outcome, code: int) -> None:
    mx.say(stage, action)

    (exchange,) = carried(mx, [work()])

    verdict = exchange.verdicts[exchange.works[0].recipient_id]
    assert (verdict.kind, verdict.code) == (outcome, code)
    assert not (mx.messages and stage != "dot")


def test_a_reply_of_several_lines_is_one_reply(mx: RemoteMx) -> None:
    mx.say("RCPT", "550-5.1.1 no such user\r\n550-5.1.1 look at\r\n550 5.1.1 https://example.test/")

    (exchange,) = carried(mx, [work()])

    assert exchange.verdicts[exchange.works[0].recipient_id].text.count("\n") == 2
    assert codes(exchange) == [(550, "5.1.1")]


def test_a_reply_whose_lines_disagree_decides_nothing_for_good(mx: RemoteMx) -> None:
    mx.say("MAIL", "550-no\r\n250 yes")

    (exchange,) = carried(mx, [work()])

    assert kinds(exchange) == [Outcome.DEFERRED]
    assert exchange.session.is_ending


def test_a_refused_recipient_costs_the_others_nothing(mx: RemoteMx) -> None:
    refusals = {"bad@example.test": "550 5.1.1 no such user", "later@example.test": "450 4.2.1 grey"}
    mx.judge_recipient = refusals.get
    group = [work(), work("bad@example.test"), work("later@example.test"), work("dora@example.test")]

    (exchange,) = carried(mx, group)

    assert kinds(exchange) == [Outcome.DELIVERED, Outcome.FAILED, Outcome.DEFERRED, Outcome.DELIVERED]
    assert mx.messages[0].recipients == ["bob@example.test", "dora@example.test"]


def test_when_all_are_refused_no_content_is_sent_and_the_session_goes_on(mx: RemoteMx) -> None:
    mx.say("RCPT", "550 5.1.1 no", "550 5.1.1 no", "250 ok")

    first, second = carried(mx, [work(), work("carol@example.test")], [work()])

    assert kinds(first) == [Outcome.FAILED] * 2
    assert kinds(second) == [Outcome.DELIVERED]
    assert len(mx.messages) == 1
    assert mx.commands.count("RSET") == 1


def test_a_354_that_nobody_should_have_got_is_answered_with_a_lone_dot(fast_mx: RemoteMx) -> None:
    fast_mx.say("RCPT", "550 5.1.1 no", "250 ok")
    fast_mx.say("DATA", "354 go")
    fast_mx.say("dot", "554 5.5.1 no valid recipients", "250 queued")

    first, second = carried(fast_mx, [work()], [work()])

    assert kinds(first) == [Outcome.FAILED]
    assert fast_mx.messages[0].raw == b".\r\n"
    assert kinds(second) == [Outcome.DELIVERED]
    assert fast_mx.messages[1].octets == MESSAGE


def test_the_final_reply_counts_for_all_who_were_accepted(mx: RemoteMx) -> None:
    mx.say("dot", "554 5.7.1 spam")

    (exchange,) = carried(mx, [work(), work("carol@example.test")])

    assert codes(exchange) == [(554, "5.7.1")] * 2


def test_recipients_beyond_what_the_host_takes_at_once_are_left_for_the_next_transaction(mx: RemoteMx) -> None:
    mx.say("RCPT", "250 ok", "250 ok", "452 4.5.3 too many recipients")
    group = [work(f"r{n}@example.test") for n in range(4)]

    (exchange,) = carried(mx, group)

    assert exchange.left_over == group[2:]
    assert [item.recipient_id in exchange.verdicts for item in group] == [True, True, False, False]


def test_too_many_without_one_accepted_is_a_deferral(mx: RemoteMx) -> None:
    mx.say("RCPT", "452 4.5.3 too many recipients")

    (exchange,) = carried(mx, [work()])

    assert kinds(exchange) == [Outcome.DEFERRED]
    assert exchange.left_over == []


@pytest.mark.parametrize(
    ("stage", "action", "is_broken_off"),
    [
        ("MAIL", Drop(), True),
        ("MAIL", "421 4.3.2 busy", True),
        ("MAIL", "451 4.3.0 later", False),
        ("RCPT", Drop(), True),
        ("RCPT", Drop("421 4.3.2 busy"), True),
        ("DATA", Drop(), True),
        ("dot", Drop(), False),
        ("dot", "421 4.3.2 busy", False),
    ],
)
def test_a_connection_that_ends_before_the_content_leaves_it_to_another_host(
    mx: RemoteMx, stage: str, action: Action, is_broken_off: bool
) -> None:
    mx.say(stage, action)

    (exchange,) = carried(mx, [work()])

    assert bool(exchange.broken_off) is is_broken_off


def test_refusals_heard_before_the_connection_ended_stand(mx: RemoteMx) -> None:
    mx.say("RCPT", "550 5.1.1 no such user", Drop())
    group = [work(), work("carol@example.test")]

    (exchange,) = carried(mx, group)

    assert kinds(exchange) == [Outcome.FAILED, Outcome.DEFERRED]
    assert exchange.broken_off == {group[1].recipient_id}


def test_a_host_that_said_nothing_at_all_leaves_the_exchange_untouched(mx: RemoteMx) -> None:
    mx.say("MAIL", Drop())

    (exchange,) = carried(mx, [work()])

    assert exchange.is_untouched


def test_a_message_beyond_the_announced_size_is_not_even_offered(mx: RemoteMx) -> None:
    mx.extensions = (*(name for name in mx.extensions if not name.startswith("SIZE")), "SIZE 50")

    (exchange,) = carried(mx, [work()])

    assert codes(exchange)[0][1] == "5.3.4"
    assert kinds(exchange) == [Outcome.FAILED]
    assert not exchange.was_asked
    assert not any(line.startswith("MAIL") for line in mx.commands)


@pytest.mark.parametrize("announced", ["SIZE", "SIZE 0", "SIZE many"])
def test_a_size_without_a_limit_is_no_limit(mx: RemoteMx, announced: str) -> None:
    mx.extensions = (*(name for name in mx.extensions if not name.startswith("SIZE")), announced)

    (exchange,) = carried(mx, [work()])

    assert kinds(exchange) == [Outcome.DELIVERED]


def without(mx: RemoteMx, *names: str) -> None:
    mx.extensions = tuple(name for name in mx.extensions if name.split()[0] not in names)


def test_an_international_address_needs_a_host_that_takes_it(mx: RemoteMx) -> None:
    without(mx, "SMTPUTF8")
    group = [work("почта@example.test"), work()]

    (exchange,) = carried(mx, group)

    assert codes(exchange)[0][1] == "5.6.7"
    assert kinds(exchange) == [Outcome.FAILED, Outcome.DELIVERED]


def test_an_international_sender_needs_a_host_that_takes_it(mx: RemoteMx) -> None:
    without(mx, "SMTPUTF8")

    (exchange,) = carried(mx, [work(sender="анна@example.com")])

    assert codes(exchange) == [(0, "5.6.7")]


def test_an_international_address_is_sent_as_utf8(mx: RemoteMx) -> None:
    (exchange,) = carried(mx, [work("почта@example.test")])

    assert kinds(exchange) == [Outcome.DELIVERED]
    assert mx.messages[0].recipients == ["почта@example.test"]
    assert mx.messages[0].mail.endswith(" SMTPUTF8")


def test_smtputf8_is_not_asked_for_when_ascii_will_do(mx: RemoteMx) -> None:
    without(mx, "SMTPUTF8")

    (exchange,) = carried(mx, [work(smtputf8=True)])

    assert kinds(exchange) == [Outcome.DELIVERED]


def test_international_header_fields_need_a_host_that_takes_them(mx: RemoteMx) -> None:
    without(mx, "SMTPUTF8")
    content = Prepared(100, True, False, b"Subject: \xd0\x96\r\n\r\nx\r\n.\r\n")

    (exchange,) = carried(mx, [work(smtputf8=True)], contents=[content])

    assert kinds(exchange) == [Outcome.FAILED]


def test_eight_bit_content_is_announced_where_that_is_known(mx: RemoteMx) -> None:
    carried(mx, [work()], contents=[prepared(MESSAGE + "Привет\r\n".encode())])
    assert " BODY=8BITMIME" in mx.messages[0].mail

    without(mx, "8BITMIME")
    carried(mx, [work()], contents=[prepared(MESSAGE + "Привет\r\n".encode())])
    assert "BODY=" not in mx.messages[1].mail


def test_dsn_parameters_are_passed_on_where_that_is_known(mx: RemoteMx) -> None:
    asked = work(ret="HDRS", envid="a=b", notify="SUCCESS,FAILURE", orcpt="rfc822;Bob+x@example.test")

    (exchange,) = carried(mx, [asked])

    assert exchange.passes_dsn_on
    assert mx.messages[0].mail.endswith(" RET=HDRS ENVID=a+3Db")
    assert mx.messages[0].rcpt == ["TO:<bob@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@example.test"]

    without(mx, "DSN")
    (exchange,) = carried(mx, [asked])
    assert not exchange.passes_dsn_on
    assert mx.messages[1].rcpt == ["TO:<bob@example.test>"]


def test_the_null_sender_is_sent_as_such(mx: RemoteMx) -> None:
    carried(mx, [work(sender="")])

    assert mx.messages[0].mail.startswith("FROM:<>")


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": "a@example.com>\r\nRCPT TO:<victim@v.test"},
        {"address": "x>\r\nRCPT TO:<victim@v.test>@example.test"},
        {"address": "nul\0@example.test"},
        {"address": "x\n@example.test"},
        {"notify": "NEVER\r\nDATA"},
        {"orcpt": "rfc822;x\r\nDATA"},
        {"envid": "x\r\nDATA"},
    ],
)
def test_an_address_with_a_line_end_never_becomes_a_command(mx: RemoteMx, changes: dict[str, str]) -> None:
    changed = {"address": "bob@example.test"} | changes

    with pytest.raises((UnsafeAddress, ValueError)):
        carried(mx, [work(**changed)])

    assert not any("victim" in line or "DATA" in line for line in mx.commands)


def test_several_messages_go_over_one_connection(mx: RemoteMx) -> None:
    done = carried(mx, *([work(f"r{n}@example.test")] for n in range(5)))

    assert [kinds(exchange) for exchange in done] == [[Outcome.DELIVERED]] * 5
    assert mx.connections == 1
    assert [message.recipients for message in mx.messages] == [[f"r{n}@example.test"] for n in range(5)]
