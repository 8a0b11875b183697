"""Who may send what to whom: the relay rule, own domains, loops. Each refusal is a reply of its own."""

from __future__ import annotations

from typing import Final

from sendry.domains.registry import Directory, SendingDomain
from sendry.mail.address import BadAddress, domain_of, is_routed
from sendry.mail.envelope import Origin
from sendry.mail.headers import HeadFacts
from sendry.mail.reply import Refused, Reply

MOST_RECEIVED: Final = 50
_HANDLED: Final = ("postmaster", "abuse")  # RFC 5321 section 4.5.1, RFC 2142


class DomainNotAllowed(Refused):
    """The sender's domain is none of ours."""


def _domain_refusal(domain: str, where: str) -> DomainNotAllowed:
    text = f"{where} domain {domain} is not configured here" if domain else f"{where} has no domain"
    return DomainNotAllowed(Reply(550, "5.7.1", text), f"{where} domain {domain!r} is not ours")


def sender_domain(directory: Directory, origin: Origin, sender: str) -> SendingDomain | None:
    """The own domain of an envelope sender; None for the null sender and for strangers' mail to us.

    Raises DomainNotAllowed when somebody who may relay sends as a domain that is not ours.
    """
    if not sender or not origin.may_relay:
        return None
    domain = domain_of(sender)
    own = directory.find(domain)
    if own is None:
        raise _domain_refusal(domain, "Sender")
    return own


def author_domain(directory: Directory, facts: HeadFacts) -> SendingDomain:
    """The own domain of the header From, which must be one. Raises Refused."""
    if facts.from_domain is None:
        raise Refused(Reply(554, "5.6.0", f"Message refused: {facts.from_fault}"), facts.from_fault)
    own = directory.find(facts.from_domain)
    if own is None:
        raise _domain_refusal(facts.from_domain, "From")
    return own


def is_handled(directory: Directory, recipient: str) -> bool:
    """Whether Sendry itself takes mail for this recipient, whoever sends it."""
    local, at, _ = recipient.rpartition("@")
    if not at:
        return recipient.lower() == "postmaster"
    return local.lower() in _HANDLED and directory.find(domain_of(recipient)) is not None


def check_recipient(directory: Directory, origin: Origin, recipient: str) -> None:
    """The relay rule. Raises Refused: 550 5.7.1 for what a stranger may not ask for, 501 for what is no address."""
    try:
        domain_of(recipient)
    except BadAddress as fault:
        raise Refused(fault.reply, fault.why) from None
    if origin.may_relay:
        if recipient.rpartition("@")[0] and is_routed(recipient):
            # user%other@us and other!user@us are old ways round relay rules; no sane address has them.
            raise Refused(Reply(550, "5.7.1", "Routed addresses are not accepted"), "routed recipient")
        return
    if is_routed(recipient) or not is_handled(directory, recipient):
        raise Refused(Reply(550, "5.7.1", "Relaying denied; sign in first"), "relaying denied")


def check_hops(facts: HeadFacts) -> None:
    """Raises Refused for mail that went round too often (RFC 5321 section 6.3)."""
    if facts.received_count > MOST_RECEIVED:
        raise Refused(Reply(554, "5.4.6", "Too many Received fields: the mail is in a loop"), "mail loop")
