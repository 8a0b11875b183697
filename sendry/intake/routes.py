"""What the mode of a domain makes of the recipients of one mail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sendry.config.values import DomainMode
from sendry.domains.registry import SendingDomain
from sendry.mail.address import domain_of
from sendry.mail.envelope import Addressee
from sendry.queue.states import Route
from sendry.queue.work import NewCapture, NewRecipient


@dataclass(frozen=True, slots=True)
class Routing:
    """Recipients as they will be written, the inbox entry, and the fields the mode adds to the head."""

    recipients: tuple[NewRecipient, ...]
    capture: NewCapture | None = None
    fields: tuple[bytes, ...] = ()


def distinct(addressees: Iterable[Addressee]) -> tuple[Addressee, ...]:
    """The same without repetitions: one person gets one copy, in whatever case the domain was written."""
    found: dict[str, Addressee] = {}
    for addressee in addressees:
        local, _, domain = addressee.address.rpartition("@")
        found.setdefault(f"{local}@{domain.lower()}", addressee)
    return tuple(found.values())


def _captured(addressee: Addressee) -> NewRecipient:
    return NewRecipient(
        address=addressee.address, destination=domain_of(addressee.address), route=Route.CAPTURE,
        notify=addressee.notify, orcpt=addressee.orcpt,
    )  # fmt: skip


def _onward(addressee: Addressee, route: Route) -> NewRecipient:
    return NewRecipient(
        address=addressee.address, destination=domain_of(addressee.address), route=route,
        notify=addressee.notify, orcpt=addressee.orcpt,
    )  # fmt: skip


def captured(addressees: tuple[Addressee, ...]) -> Routing:
    """Nothing is delivered, all is kept."""
    return Routing(
        recipients=tuple(map(_captured, addressees)),
        capture=NewCapture(recipients=tuple(a.address for a in addressees)),
    )


def of_mode(domain: SendingDomain, addressees: tuple[Addressee, ...], onward: Route) -> Routing:
    """The routing that the mode of the sending domain asks for; `onward` is the usual way out (mx or relay)."""
    if domain.mode is DomainMode.SANDBOX:
        return captured(addressees)
    if domain.mode is DomainMode.REDIRECT:
        originals = tuple(a.address for a in addressees)
        told = ", ".join(originals)
        return Routing(
            recipients=tuple(
                NewRecipient(address=to, destination=domain_of(to), route=Route.REDIRECT, original=told[:2000])
                for to in domain.redirect_to
            ),
            capture=NewCapture(recipients=domain.redirect_to, original_to=originals),
            fields=tuple(f"X-Original-To: {address}\r\n".encode() for address in originals),
        )
    recipients = [_onward(addressee, onward) for addressee in addressees]
    if domain.mode is DomainMode.BCC:
        addressed = {recipient.address for recipient in recipients}
        recipients += [
            NewRecipient(address=to, destination=domain_of(to), route=Route.COPY, notify="NEVER")
            for to in domain.bcc_to
            if to not in addressed
        ]
    return Routing(recipients=tuple(recipients))
