"""Carrying transactions to a scripted host, for the tests of one exchange."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from sendry.config.values import RelayTls
from sendry.delivery.content import Prepared
from sendry.delivery.exchange import Exchange
from sendry.delivery.hosts import Host
from sendry.delivery.pool import part
from sendry.delivery.session import Dialer
from sendry.delivery.trust import Trust
from sendry.mail.newlines import dot_stuff
from sendry.mail.outcome import Outcome
from sendry.queue.work import Work
from tests.delivery.make import MESSAGE, settings
from tests.remote_mx import EXTENSIONS, RemoteMx

PLAIN = tuple(name for name in EXTENSIONS if name != "PIPELINING")


def prepared(message: bytes = MESSAGE) -> Prepared:
    return Prepared(len(message), not message.isascii(), message.isascii(), b"".join(dot_stuff([message])))


def carried(
    mx: RemoteMx, *given: Sequence[Work], contents: Sequence[Prepared] | None = None, **changes: Any
) -> list[Exchange]:
    """The exchanges of these groups, one after the other over one session, as far as it goes."""

    async def go() -> list[Exchange]:
        usual = settings(command_timeout=0.4, dot_timeout=0.4, **changes)
        session = await Dialer(usual, Trust()).open(Host("mx.test", mx.ip, mx.port), RelayTls.NONE)
        done = []
        try:
            for group, content in zip(given, contents or itertools.repeat(prepared()), strict=False):
                exchange = Exchange(session, group, content, usual)
                exchange.start()
                if await exchange.negotiate():
                    await exchange.send()
                    await exchange.conclude()
                done.append(exchange)
                if not session.can_go_on:
                    break
        finally:
            part(session)
            await asyncio.to_thread(mx.wait_until, lambda: mx.live == 0)
            await asyncio.sleep(0.01)  # for the transport of our side to be closed by its loop
        return done

    return asyncio.run(go())


def kinds(exchange: Exchange) -> list[Outcome]:
    return [exchange.verdicts[work.recipient_id].kind for work in exchange.works]


def codes(exchange: Exchange) -> list[tuple[int, str]]:
    verdicts = [exchange.verdicts[work.recipient_id] for work in exchange.works]
    return [(verdict.code, verdict.enhanced) for verdict in verdicts]
