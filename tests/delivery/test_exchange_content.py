"""The content of one transaction: piece by piece, broken off, and never with a second end in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sendry.config.values import RelayTls
from sendry.delivery.content import Prepared
from sendry.delivery.exchange import Exchange
from sendry.delivery.hosts import Host
from sendry.delivery.session import Dialer
from sendry.delivery.trust import Trust
from sendry.mail.outcome import Outcome
from tests.delivery.exchanges import carried, codes, kinds, prepared
from tests.delivery.make import MESSAGE, settings, work
from tests.remote_mx import Drop, RemoteMx, Silence


@pytest.fixture
def mx(either_mx: RemoteMx) -> RemoteMx:
    return either_mx


class Blocks(Prepared):
    """Content that comes piece by piece."""

    def __init__(self, pieces: Sequence[bytes], after: Callable[[int], None] | None = None) -> None:
        super().__init__(sum(map(len, pieces)), False, True, None)
        self.pieces = pieces
        self.after = after

    async def blocks(self) -> Any:
        for number, piece in enumerate(self.pieces):
            yield piece
            if self.after is not None:
                self.after(number)
            await asyncio.sleep(0)


def test_large_content_goes_out_piece_by_piece(mx: RemoteMx) -> None:
    line = b"x" * 98 + b"\r\n"

    (exchange,) = carried(mx, [work()], contents=[Blocks([MESSAGE, *[line * 2000] * 20, b".\r\n"])])

    assert kinds(exchange) == [Outcome.DELIVERED]
    assert mx.messages[0].octets == MESSAGE + line * 40_000


def test_content_that_cannot_be_read_to_the_end_is_never_ended_with_a_dot(mx: RemoteMx) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        carried(mx, [work()], contents=[Blocks([MESSAGE, MESSAGE, MESSAGE, b".\r\n"], fail)])

    mx.wait_until(lambda: mx.live == 0)
    assert mx.messages == []


def test_a_host_that_refuses_in_the_middle_of_the_content_is_heard() -> None:
    with RemoteMx() as mx:
        # It answers DATA twice: 354, and behind it the refusal.
        mx.say("DATA", Drop("354 go\r\n552 5.3.4 too big"))
        (exchange,) = carried(mx, [work()], contents=[Blocks([MESSAGE * 3000] * 40 + [b".\r\n"])])

    assert codes(exchange) == [(552, "5.3.4")]
    assert kinds(exchange) == [Outcome.FAILED]


def test_a_connection_lost_in_the_middle_of_the_content_is_not_unknown() -> None:
    with RemoteMx() as mx:
        mx.say("DATA", Drop("354 go"))
        (exchange,) = carried(mx, [work()], contents=[Blocks([MESSAGE * 3000] * 40 + [b".\r\n"])])

    assert kinds(exchange) == [Outcome.DEFERRED]
    assert exchange.broken_off


def test_a_host_that_closes_behind_its_354_got_nothing(mx: RemoteMx) -> None:
    mx.say("DATA", Drop("354 go"))

    (exchange,) = carried(mx, [work()])

    assert kinds(exchange)[0] in (Outcome.DEFERRED, Outcome.UNKNOWN)  # the end may come before or behind our dot
    assert mx.messages == []


def test_the_whole_transaction_has_its_time(mx: RemoteMx) -> None:
    mx.say("RCPT", Silence())

    async def go() -> Exchange:
        usual = settings(command_timeout=30.0)
        session = await Dialer(usual, Trust()).open(Host("mx.test", mx.ip, mx.port), RelayTls.NONE)
        exchange = Exchange(session, [work()], prepared(), usual, seconds=0.2)
        exchange.start()
        assert not await exchange.negotiate()
        await asyncio.to_thread(mx.wait_until, lambda: mx.live == 0)
        return exchange

    exchange = asyncio.run(go())
    assert kinds(exchange) == [Outcome.DEFERRED]


@pytest.mark.parametrize(
    "trick",
    [
        b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r",
        b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n",
    ],
)  # fmt: skip
def test_no_form_of_end_of_data_leaves_but_the_last(mx: RemoteMx, trick: bytes) -> None:
    smuggled = MESSAGE + b"before" + trick + b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@v.test>\r\n"

    (exchange,) = carried(mx, [work()], contents=[prepared(smuggled)])

    (message,) = mx.messages
    assert kinds(exchange) == [Outcome.DELIVERED]
    assert message.raw.count(b"\n") == message.raw.count(b"\r\n") == message.raw.count(b"\r")
    assert message.raw.count(b"\r\n.\r\n") == 1
    assert message.raw.endswith(b"\r\n.\r\n")
    assert b"\0" not in message.raw
