"""An intake that keeps what it is given, and does with it what the test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime

from sendry.mail.envelope import Envelope, Origin
from sendry.mail.reply import Refused, Reply


class RecordingIntake:
    """The doors of sendry.intake, over a list."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.senders: list[tuple[Origin, str]] = []
        self.recipients: list[str] = []
        self.calls: list[str] = []
        self.refused_senders: dict[str, Reply] = {}
        self.refused_recipients: dict[str, Reply] = {}
        self.refuses_all_with: Reply | None = None
        self.fails_with: Exception | None = None
        self.breaks_at_recipient: Exception | None = None
        self.at_first_recipient: Callable[[], None] | None = None  # on the loop: nothing else goes on there
        self.handed_in = threading.Event()
        self._is_held = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[str], str]] = []

    def check_sender(self, origin: Origin, sender: str) -> None:
        self.senders.append((origin, sender))
        self.calls.append("MAIL")
        if sender in self.refused_senders:
            raise Refused(self.refused_senders[sender])

    def check_recipient(self, origin: Origin, sender: str, recipient: str) -> None:
        self.recipients.append(recipient)
        self.calls.append("RCPT")
        if self.at_first_recipient is not None:
            act, self.at_first_recipient = self.at_first_recipient, None
            act()
        if self.breaks_at_recipient is not None:
            raise self.breaks_at_recipient
        if recipient in self.refused_recipients:
            raise Refused(self.refused_recipients[recipient])

    def accept_soon(self, envelope: Envelope, now: datetime) -> asyncio.Future[str]:
        loop = asyncio.get_running_loop()
        if self.refuses_all_with is not None:
            raise Refused(self.refuses_all_with)
        future: asyncio.Future[str] = loop.create_future()
        self.envelopes.append(envelope)
        number = f"{len(self.envelopes):013d}"
        if self.fails_with is not None:
            future.set_exception(self.fails_with)
        elif self._is_held:
            self._waiting.append((loop, future, number))
        else:
            loop.call_soon(future.set_result, number)
        self.handed_in.set()
        return future

    def hold(self) -> None:
        """From now on commits take until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Let the held commits end."""
        self._is_held = False
        waiting, self._waiting = self._waiting, []
        for loop, future, number in waiting:
            loop.call_soon_threadsafe(future.set_result, number)

    @property
    def only(self) -> Envelope:
        """The one envelope that was handed in."""
        assert len(self.envelopes) == 1
        return self.envelopes[0]
