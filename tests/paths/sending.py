"""Senders under load that note what was answered: the ledger against which loss is counted."""

from __future__ import annotations

import smtplib
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.paths.running import Running
from tests.paths.waiting import until
from tests.remote_mx import Received

BODY = b"From: <a@example.com>\r\nSubject: load\r\n\r\n" + b"x" * 500 + b"\r\n"


@dataclass
class Load:
    """Some sessions that send until each has sent `most`, they are told to stop, or the server is gone.

    `acknowledged` are the recipients of mail that got a 250, `asked` all that a 250 may have been lost of.
    """

    sendry: Running
    name: str
    sessions: int = 5
    most: int = 100_000
    acknowledged: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refusals: list[tuple[int, bytes]] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for number in range(self.sessions):
            thread = threading.Thread(target=self._send, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait_for(self, count: int) -> None:
        """Wait until so many were acknowledged."""
        until(lambda: len(self.acknowledged) >= count, f"{count} acknowledged mails")

    def end(self) -> None:
        """Send no more, and wait for the sessions to end."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _send(self, session: int) -> None:
        number = 0
        try:
            with self.sendry.smtp() as client:
                client.ehlo()
                while number < self.most and not self._is_over.is_set():
                    recipient = f"{self.name}-{session}-{number}@example.net"
                    number += 1
                    client.mail("a@example.com")
                    client.rcpt(recipient)
                    self.asked.append(recipient)
                    code, text = client.data(BODY)
                    if code == 250:
                        self.acknowledged.append(recipient)
                    else:
                        self.refusals.append((code, text))
                        return
        except (OSError, smtplib.SMTPException):
            return


def arrivals(messages: Iterable[Received]) -> Counter[str]:
    """How often each recipient's mail arrived."""
    return Counter(recipient for message in list(messages) for recipient in message.recipients)
