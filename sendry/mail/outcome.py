"""How an attempt ended: the one place where replies, and failures without a reply, become outcomes.

Pure: touches nothing but its arguments. Promise: what is not known to be final is temporary; a class that
would suppress an address (hard-address, hard-domain) is given only to a failure that names the address or
domain as its cause, never to one that blames us, our host or the content.

Decisions, beside RFC 5321 4.2 and 4.5.3.1.10:

- The basic code decides between temporary and permanent; an enhanced code that disagrees only helps to find
  the class.
- 5yz before MAIL speaks of the host or of us, not of the message: try the next host; when all are used up the
  message is deferred. The same holds for a refused login.
- 552 for RCPT means "too many recipients" or "mailbox full" and is temporary, unless its enhanced code or text
  says that the message itself will not do.
- 503 says that the session is out of step: a new session may do better, so temporary.
- 530 that asks for TLS is temporary: we tried TLS before, and it failed.
- After the final dot, a reply that is no reply leaves it open whether the host took the message: unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sendry.mail.bounce_class import BounceClass, classify
from sendry.mail.reply import Reply


class Outcome(StrEnum):
    """What an attempt means for the recipient. UNKNOWN: the message may or may not have been taken."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Stage(StrEnum):
    """What the reply answers, or where the conversation broke off."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    FINAL_DOT = "final_dot"
    QUIT = "quit"


class DnsFault(StrEnum):
    """Why there is no host to dial."""

    NXDOMAIN = "nxdomain"  # the domain does not exist
    NULL_MX = "null_mx"  # it says that it takes no mail (RFC 7505)
    NO_HOST = "no_host"  # it has neither MX nor address records
    NO_ADDRESS = "no_address"  # it names hosts, but none of them has an address now
    SERVFAIL = "servfail"  # also: validation failed, malformed answer
    TIMEOUT = "timeout"
    PROHIBITED = "prohibited"  # all its hosts have loopback, private or otherwise refused addresses
    LOOP = "loop"  # the best host is this one


class TlsFault(StrEnum):
    """Why a connection that must be secure is not."""

    NOT_OFFERED = "not_offered"
    HANDSHAKE = "handshake"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it.

    code: basic code, 0 where no reply was involved. enhanced: always set; its class digit agrees with the
    kind (the one of a final expiry is 4.4.7). text: what the remote said, lines separated by "\\n", or our
    sentence.
    bounce_class: None exactly for DELIVERED.
    """

    kind: Outcome
    code: int
    enhanced: str
    text: str
    bounce_class: BounceClass | None

    @property
    def suppresses(self) -> bool:
        """Whether the address is to be written to no more: it failed, and the address or its domain is the
        cause.
        """
        return self.kind is Outcome.FAILED and self.bounce_class in (
            BounceClass.HARD_ADDRESS,
            BounceClass.HARD_DOMAIN,
        )


_BEFORE_MAIL = frozenset({Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.AUTH})
_INTERMEDIATE = frozenset({Stage.AUTH, Stage.DATA})
_MESSAGE_WILL_NOT_DO = frozenset(
    {BounceClass.POLICY, BounceClass.REPUTATION, BounceClass.AUTH, BounceClass.HARD_ADDRESS, BounceClass.HARD_DOMAIN}
)
_USUAL_DETAIL = {
    BounceClass.HARD_ADDRESS: "1.1",
    BounceClass.HARD_DOMAIN: "1.2",
    BounceClass.MAILBOX_FULL: "2.2",
    BounceClass.POLICY: "7.1",
    BounceClass.REPUTATION: "7.1",
    BounceClass.AUTH: "7.0",
    BounceClass.GREYLIST: "7.1",
    BounceClass.RATE: "4.5",
    BounceClass.TLS: "7.4",
    BounceClass.DNS: "4.3",
    BounceClass.CONNECT: "3.2",
    BounceClass.PROTOCOL: "5.0",
    BounceClass.EXPIRED: "4.7",
    BounceClass.UNKNOWN: "0.0",
}
_CLASS_DIGIT = {Outcome.DELIVERED: "2", Outcome.DEFERRED: "4", Outcome.FAILED: "5", Outcome.UNKNOWN: "4"}


def goes_on(reply: Reply, stage: Stage) -> bool:
    """Whether the reply is the one hoped for: 354 to DATA, 334 or 235 to AUTH, anything to QUIT, else 2yz."""
    if stage is Stage.QUIT:
        return True
    if stage in _INTERMEDIATE and 300 <= reply.code < 400:
        return True
    return 200 <= reply.code < 300 and stage is not Stage.DATA


def judge(reply: Reply, stage: Stage) -> Verdict:
    """The outcome for the recipients concerned by this reply.

    Raises ValueError where `goes_on(reply, stage)` before the final dot: the conversation is not over yet.
    """
    if goes_on(reply, stage):
        if stage is not Stage.FINAL_DOT:
            raise ValueError(f"{reply.code} at {stage} is no outcome: the conversation goes on")
        enhanced = reply.enhanced if reply.enhanced.startswith("2") else "2.0.0"
        return Verdict(Outcome.DELIVERED, reply.code, enhanced, reply.text, None)
    if not (reply.is_temporary or reply.is_permanent):
        kind = Outcome.UNKNOWN if stage is Stage.FINAL_DOT else Outcome.DEFERRED
        return _verdict(kind, reply, BounceClass.PROTOCOL)
    is_final = reply.is_permanent and stage not in _BEFORE_MAIL
    found = _class_at(stage, classify(reply.code, reply.enhanced, reply.text), is_final)
    if is_final and _is_temporary_all_the_same(reply, stage, found):
        is_final = False
        found = _class_at(stage, found, is_final)
    return _verdict(Outcome.FAILED if is_final else Outcome.DEFERRED, reply, found)


def dns_failure(fault: DnsFault, domain: str) -> Verdict:
    """There is no host for `domain`."""
    match fault:
        case DnsFault.NXDOMAIN:
            return _failed("5.1.2", f"The domain {domain} does not exist", BounceClass.HARD_DOMAIN)
        case DnsFault.NULL_MX:
            text = f"The domain {domain} accepts no mail (null MX)"
            return _failed("5.1.10", text, BounceClass.HARD_DOMAIN, code=556)
        case DnsFault.NO_HOST:
            return _failed("5.4.4", f"The domain {domain} has no mail host and no address", BounceClass.HARD_DOMAIN)
        case DnsFault.PROHIBITED:
            text = f"The mail hosts of {domain} have only addresses that are not on the public Internet"
            return _failed("5.4.4", text, BounceClass.DNS)
        case DnsFault.LOOP:
            return _failed("5.4.6", f"Mail for {domain} loops back to this host", BounceClass.DNS)
        case DnsFault.NO_ADDRESS:
            return _deferred("4.4.1", f"No mail host of {domain} has an address", BounceClass.DNS)
        case DnsFault.SERVFAIL:
            return _deferred("4.4.3", f"The name servers of {domain} answer with a failure", BounceClass.DNS)
        case DnsFault.TIMEOUT:
            return _deferred("4.4.3", f"The name servers of {domain} do not answer", BounceClass.DNS)


def connect_failure(host: str, why: str) -> Verdict:
    """No connection could be made; `why` completes the sentence: "refused", "timed out", "unreachable"."""
    return _deferred("4.4.1", f"Connection to {host}: {why}", BounceClass.CONNECT)


def connection_lost(stage: Stage, host: str, why: str = "connection lost") -> Verdict:
    """The connection broke, or a reply did not come in time, at `stage`; UNKNOWN once the final dot was
    sent.
    """
    if stage is Stage.FINAL_DOT:
        text = f"{host}: {why} after the end of the message; it may have been delivered"
        return Verdict(Outcome.UNKNOWN, 0, "4.4.2", text, BounceClass.CONNECT)
    return _deferred("4.4.2", f"{host}: {why} at {stage.upper()}", BounceClass.CONNECT)


def tls_failure(fault: TlsFault, host: str, why: str = "") -> Verdict:
    """The policy of the destination or of the message demands TLS, and it was not to be had (RFC 8461 5, RFC
    7672).
    """
    more = f": {why}" if why else ""
    match fault:
        case TlsFault.NOT_OFFERED:
            return _deferred("4.7.4", f"{host} must offer STARTTLS and does not{more}", BounceClass.TLS)
        case TlsFault.HANDSHAKE:
            return _deferred("4.7.5", f"The TLS handshake with {host} failed{more}", BounceClass.TLS)
        case TlsFault.UNVERIFIED:
            return _deferred("4.7.5", f"The certificate of {host} could not be verified{more}", BounceClass.TLS)


def smtputf8_unsupported(host: str) -> Verdict:
    """The message needs SMTPUTF8 and the host does not offer it (RFC 6531 3.5)."""
    return _failed("5.6.7", f"{host} does not accept addresses with non-ASCII characters", BounceClass.PROTOCOL)


def message_too_big(host: str, limit: int) -> Verdict:
    """The host announced a SIZE below that of the message; `limit` in octets (RFC 1870 6.2)."""
    return _failed("5.3.4", f"{host} accepts at most {limit} octets", BounceClass.POLICY)


def local_failure(text: str) -> Verdict:
    """We could not do our part (a key or a file cannot be read, an error nobody foresaw): never the mail's
    fault.
    """
    return _deferred("4.3.0", text, BounceClass.UNKNOWN)


def expired(last: Verdict | None, after: timedelta) -> Verdict:
    """Given up `after` this long; keeps what was said last."""
    hours = int(after.total_seconds() // 3600)
    span = f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours > 1 else "the time allowed"
    text = f"Not delivered within {span}"
    if last is not None and last.text:
        text += f"; last: {' '.join(last.text.split())}"
    return Verdict(Outcome.FAILED, last.code if last else 0, "4.4.7", text, BounceClass.EXPIRED)


def _is_temporary_all_the_same(reply: Reply, stage: Stage, found: BounceClass) -> bool:
    match reply.code:
        case 503:
            return found is BounceClass.PROTOCOL
        case 530:
            return found is BounceClass.TLS
        case 552 if stage is Stage.RCPT:
            return found not in _MESSAGE_WILL_NOT_DO
    return False


def _class_at(stage: Stage, found: BounceClass, is_final: bool) -> BounceClass:
    """The class with what the stage adds: an address refused at MAIL is ours, a deferred one is not hard."""
    is_hard = found in (BounceClass.HARD_ADDRESS, BounceClass.HARD_DOMAIN)
    is_vague = found in (BounceClass.UNKNOWN, BounceClass.CONNECT, BounceClass.POLICY, BounceClass.PROTOCOL)
    if stage is Stage.STARTTLS and is_vague:
        return BounceClass.TLS
    if stage is Stage.AUTH and is_vague:
        return BounceClass.AUTH
    if is_hard and (stage is Stage.MAIL or stage in _BEFORE_MAIL):
        return BounceClass.POLICY
    if is_hard and not is_final:
        return BounceClass.UNKNOWN
    if found is BounceClass.GREYLIST and is_final:
        return BounceClass.POLICY
    return found


def _verdict(kind: Outcome, reply: Reply, bounce_class: BounceClass) -> Verdict:
    detail = reply.enhanced.partition(".")[2] if reply.enhanced[:1] in ("4", "5") else ""
    if not detail or kind is Outcome.UNKNOWN:
        detail = _USUAL_DETAIL[bounce_class]
    return Verdict(kind, reply.code, f"{_CLASS_DIGIT[kind]}.{detail}", reply.text, bounce_class)


def _failed(enhanced: str, text: str, bounce_class: BounceClass, code: int = 0) -> Verdict:
    return Verdict(Outcome.FAILED, code, enhanced, text, bounce_class)


def _deferred(enhanced: str, text: str, bounce_class: BounceClass) -> Verdict:
    return Verdict(Outcome.DEFERRED, 0, enhanced, text, bounce_class)
