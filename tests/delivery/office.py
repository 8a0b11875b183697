"""The delivery room over a real line on SQLite, walked turn by turn through a time of our own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from sendry.delivery.settings import Settings
from sendry.delivery.trust import Trust
from sendry.delivery.workers import DeliveryLoop
from sendry.domains.registry import Directory
from sendry.intake.accept import Intake
from sendry.mail.envelope import Addressee
from sendry.queue.lookup import Lookup
from sendry.queue.views import AttemptRow, MessageView, RecipientRow
from sendry.resolver import Resolver
from sendry.store.database import Store
from tests import make
from tests.remote_mx import RemoteMx
from tests.zones import Zones

QUICK = {
    "connect_timeout": 10.0,
    "command_timeout": 3.0,
    "dot_timeout": 3.0,
}


class Clock:
    """Wall clock and monotonic seconds that move only when told."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment
        self.seconds = 1000.0

    def __call__(self) -> datetime:
        return self.moment

    def ticks(self) -> float:
        return self.seconds

    def forward(self, **span: float) -> None:
        """Let time pass, in the words of timedelta."""
        self.moment += timedelta(**span)
        self.seconds += timedelta(**span).total_seconds()


class Office:
    """Everything between `accept` and the remote host. `ticks`: other monotonic seconds than those of the clock."""

    def __init__(self, store: Store, zones: Zones, text: str = "", **changes: Any) -> None:
        self.clock = Clock(make.NOW)
        self.store = store
        self.zones = zones
        networks = '[delivery]\nallowed_networks = ["127.0.0.0/8"]\n' if "[delivery]" not in text else ""
        self.config = make.config(f'{text}\n{networks}[api]\nlisten_addr = ""\n')
        self.queue = make.queue(store)
        self.directory = Directory(self.config)
        self.intake = Intake(self.config, self.directory, self.queue)
        self.lookup = Lookup(store)
        trust: Trust | None = changes.pop("trust", None)
        self._ticks: Callable[[], float] = changes.pop("ticks", self.clock.ticks)
        self.settings: Settings = replace(Settings.of(self.config), **(QUICK | {"own_listeners": ()} | changes))
        self._runner = asyncio.Runner()
        self.loop: DeliveryLoop = self._runner.run(self._made(trust))

    async def _made(self, trust: Trust | None) -> DeliveryLoop:
        return DeliveryLoop(
            self.config,
            self.queue,
            self.directory,
            self.intake,
            Resolver((self.zones.address,), clock=self.clock.ticks, lifetime=3.0, timeout=1.5),
            settings=self.settings,
            trust=trust,
            clock=self.clock,
            ticks=self._ticks,
            chance=random.Random(1),
        )

    def __enter__(self) -> Office:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._ended())
        self.loop.stop(0)
        self._runner.close()

    async def _ended(self) -> None:
        await self.loop.end(2)
        await asyncio.sleep(0.01)  # for transports to be closed by their loop

    def run(self, go: Callable[[], Any]) -> Any:
        """Run a coroutine function on the loop of delivery."""
        return self._runner.run(go())

    def send(self, *recipients: str | Addressee, **changes: Any) -> str:
        """Accept a mail now; gives its public id."""
        addressees = tuple(r if isinstance(r, Addressee) else Addressee(r) for r in recipients)
        changes.setdefault("origin", make.USER)
        envelope = make.envelope(**changes)
        if addressees:
            envelope = replace(envelope, recipients=addressees)
        return self.intake.accept(envelope, self.clock()).result(10)

    def turn(self, turns: int = 1) -> None:
        """Claim what is due, deliver it, write what came of it."""

        async def go() -> None:
            for _ in range(turns):
                await self.loop.turn(self.clock())
                await self.loop.idle()

        self._runner.run(go())

    def view(self, message_id: str) -> MessageView:
        view = self.lookup.message(message_id)
        assert view is not None
        return view

    def recipient(self, message_id: str) -> RecipientRow:
        """The only recipient of a message."""
        (row,) = self.view(message_id).recipients
        return row

    def attempts(self, message_id: str) -> tuple[AttemptRow, ...]:
        return self.view(message_id).attempts

    def statuses(self, message_id: str) -> dict[str, str]:
        return {row.address: str(row.status) for row in self.view(message_id).recipients}

    def route(self, domain: str, *hosts: RemoteMx) -> None:
        """DNS: these hosts take the mail of a domain, in this order; all on loopback, told apart by address."""
        self.zones.mx(domain, *((10 * n, f"mx{n}.{domain}") for n, _ in enumerate(hosts, 1)))
        for n, host in enumerate(hosts, 1):
            self.zones.a(f"mx{n}.{domain}", host.ip)
