"""Sessions kept for later."""

from __future__ import annotations

import asyncio

from sendry.config.values import RelayTls
from sendry.delivery.hosts import Host
from sendry.delivery.pool import Pool
from sendry.delivery.session import Dialer, Session
from sendry.delivery.sites import SiteKey
from sendry.delivery.trust import Trust
from tests.delivery.make import NOW, settings
from tests.delivery.office import Clock
from tests.remote_mx import Raw, RemoteMx

HERE = SiteKey("example.test", RelayTls.NONE)
STRICT = SiteKey("example.test", RelayTls.REQUIRE)


async def gone(mx: RemoteMx) -> None:
    """Wait until no connection is left, on their side and on ours."""
    await asyncio.to_thread(mx.wait_until, lambda: mx.live == 0)
    await asyncio.sleep(0.01)


async def opened(mx: RemoteMx) -> Session:
    return await Dialer(settings(), Trust()).open(Host("mx.test", mx.ip, mx.port), RelayTls.NONE)


def test_a_session_is_kept_for_its_site_and_policy_only(mx: RemoteMx) -> None:
    async def go() -> None:
        pool = Pool(30.0, 100, Clock(NOW).ticks)
        session = await opened(mx)
        pool.give(HERE, session)
        assert pool.take(STRICT) is None
        assert pool.take(HERE) is session
        assert pool.take(HERE) is None
        pool.give(HERE, session)
        pool.close()
        await gone(mx)

    asyncio.run(go())
    assert mx.commands[-1] == "QUIT"


def test_a_session_idle_too_long_is_not_handed_out(mx: RemoteMx) -> None:
    async def go() -> None:
        clock = Clock(NOW)
        pool = Pool(30.0, 100, clock.ticks)
        pool.give(HERE, await opened(mx))
        pool.give(HERE, await opened(mx))
        clock.forward(seconds=31)
        pool.sweep()
        assert (len(pool), pool.take(HERE)) == (0, None)
        await gone(mx)

    asyncio.run(go())


def test_a_session_the_host_closed_is_not_handed_out(mx: RemoteMx) -> None:
    async def go() -> None:
        pool = Pool(30.0, 100, Clock(NOW).ticks)
        session = await opened(mx)
        pool.give(HERE, session)
        await asyncio.to_thread(mx.drop_connections)
        assert await session.wire.answers(1, 5) == []  # what comes is the end of the connection
        assert pool.take(HERE) is None
        await gone(mx)

    asyncio.run(go())


def test_a_session_whose_host_said_goodbye_is_not_kept(mx: RemoteMx) -> None:
    async def go() -> None:
        pool = Pool(30.0, 100, Clock(NOW).ticks)
        mx.say("EHLO", Raw(b"250 mx.test\r\n421 4.4.2 too long\r\n"))
        pool.give(HERE, await opened(mx))
        assert len(pool) == 0
        await gone(mx)

    asyncio.run(go())
    assert "QUIT" not in mx.commands


def test_a_session_that_carried_enough_is_not_kept(mx: RemoteMx) -> None:
    async def go() -> None:
        pool = Pool(30.0, 2, Clock(NOW).ticks)
        session = await opened(mx)
        session.used = 2
        pool.give(HERE, session)
        assert len(pool) == 0
        await gone(mx)

    asyncio.run(go())
