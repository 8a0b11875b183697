"""Why mail was not taken, in fourteen classes, found from the codes and words of a reply or of a bounce.

Pure: touches nothing but its arguments. Promise: time is linear in the text looked at (1,000 characters);
addresses in the text do not count as words; `RULES_VERSION` grows with each change of the rules, so that kept
replies can be classified again.
"""

from __future__ import annotations

import re
from enum import StrEnum

RULES_VERSION = 1

_LOOKED_AT = 1000


class BounceClass(StrEnum):
    """Whose fault it is, and so what is to be done."""

    HARD_ADDRESS = "hard-address"  # no such mailbox, or closed
    HARD_DOMAIN = "hard-domain"  # no such domain, or it takes no mail
    MAILBOX_FULL = "mailbox-full"
    POLICY = "policy"  # content, size, relaying, sender not welcome
    REPUTATION = "reputation"  # our address or domain is listed, has no reverse name, or is little trusted
    AUTH = "auth"  # SPF, DKIM, DMARC; also our login at a relay
    GREYLIST = "greylist"
    RATE = "rate"  # too much at a time: messages, connections, recipients
    TLS = "tls"
    DNS = "dns"  # a name could not be looked up, theirs or ours
    CONNECT = "connect"  # the host is not there or in trouble
    PROTOCOL = "protocol"  # one side does not understand the other; loops
    EXPIRED = "expired"
    UNKNOWN = "unknown"


_B = BounceClass

_ADDRESS = re.compile(r"<[^<>\s]{0,320}>|[^\s@<>]{1,64}@[^\s@]{1,255}")
_URL = re.compile(r"https?://([^/\s]{1,255})\S*", re.IGNORECASE)

# Details of enhanced codes that leave no doubt, whatever the text (RFC 3463, the IANA list, Microsoft's numbers).
_SURE_DETAIL: dict[str, BounceClass] = {
    **dict.fromkeys(["2.3", "3.4"], _B.POLICY),
    **dict.fromkeys(["4.6", "4.14"], _B.PROTOCOL),
    **dict.fromkeys(["7.8", "7.9", "7.57"], _B.AUTH),
    **dict.fromkeys(["7.20", "7.21", "7.22", "7.23", "7.24", "7.26", "7.29", "7.509", "7.515"], _B.AUTH),
    **dict.fromkeys(["7.10", "7.30"], _B.TLS),
    **dict.fromkeys(["7.25", "7.501", "7.502", "7.503", "7.511"], _B.REPUTATION),
    **dict.fromkeys(["7.28", "7.500", "7.508", "7.650", "7.651", "7.652", "7.705", "7.708"], _B.RATE),
    **{f"7.{number}": _B.REPUTATION for number in range(606, 650)},
    "4.5": _B.RATE,
}

# Details that decide when there are no telling words.
_LIKELY_DETAIL: dict[str, BounceClass] = {
    **dict.fromkeys(["1.1", "1.3", "1.6", "2.1"], _B.HARD_ADDRESS),
    **dict.fromkeys(["1.2", "1.10"], _B.HARD_DOMAIN),
    **dict.fromkeys(["1.7", "2.4"], _B.POLICY),
    **dict.fromkeys(["1.8", "4.3", "4.4"], _B.DNS),
    "2.2": _B.MAILBOX_FULL,
    **dict.fromkeys(["3.0", "3.1", "3.2", "3.5", "4.0", "4.1", "4.2"], _B.CONNECT),
    "4.7": _B.EXPIRED,
    "5.3": _B.RATE,
    **dict.fromkeys(["3.3", "5.1", "5.2", "5.4", "5.5", "6.7"], _B.PROTOCOL),
}

# When neither words nor details told anything.
_BY_CODE: dict[int, BounceClass] = {
    **dict.fromkeys([421, 452], _B.CONNECT),
    **dict.fromkeys([454, 530, 534, 535, 538], _B.AUTH),
    **dict.fromkeys([455, 500, 501, 502, 503, 504, 555], _B.PROTOCOL),
    521: _B.POLICY,
    551: _B.HARD_ADDRESS,
    552: _B.MAILBOX_FULL,
    556: _B.HARD_DOMAIN,
}


def _any_of(patterns: str) -> re.Pattern[str]:
    """One expression from one pattern a line."""
    return re.compile("|".join(line.strip() for line in patterns.strip().splitlines()), re.IGNORECASE)


# Words that tell the cause; the first match counts, and what blames us or the moment stands before what blames the
# address, because a wrong hard class costs a recipient.
_TELLING: tuple[tuple[BounceClass, re.Pattern[str]], ...] = (
    (_B.GREYLIST, _any_of(r"""
        \bgr[ea]y[ -]?list
        postgrey
    """)),
    (_B.RATE, _any_of(r"""
        rate[ -]?limit
        throttl
        too (?:many|much) (?:mail|messages|e-?mails|connections|recipients|sessions|rcpt)
        too many (?:concurrent|simultaneous|invalid)
        (?:unusual|exceed\w*) .{0,40}\brate\b
        receiving mail (?:at a rate|too quickly)
        sending (?:rate|limit|quota)
        unexpected volume
        messages? per (?:hour|minute|day|connection|session)
        server (?:is )?busy
        connection limit
        too (?:fast|frequent)
        (?:hourly|daily) .{0,40}(?:limit|quota)
        recipients? (?:limit|quota)
        \[TSS?0[124]\]
        \bRP-00\d\b
        \[IPTS\d+\]
    """)),
    (_B.AUTH, _any_of(r"""
        \bDMARC\b
        \bDKIM\b
        \bSPF\b
        sender policy framework
        unauthenticated
        authentication (?:is )?(?:required|failed|failure|credentials|checks?|requirements?|level)
        not (?:been )?authenticated
        requires? authentication
        authenticate first
        authentication unsuccessful
    """)),
    (_B.TLS, _any_of(r"""
        \bSTARTTLS\b
        \bTLS\b.{0,40}\b(?:required|mandatory|needed|not available|version)
        (?:requires?|must use|without) (?:a )?(?:TLS|SSL|encrypt)
        encryption (?:is )?(?:needed|required)
    """)),
    (_B.REPUTATION, _any_of(r"""
        spamhaus
        spamcop
        barracuda
        \bsorbs\b
        uceprotect
        abuseat
        \b(?:r|dns)bls?\b
        proofpoint
        cloudmark
        senderscore
        invaluement
        (?:block|black|deny)[ -]?list
        \bS31[45]0\b
        blocked using
        reputation
        \[BL\d+\]
        \[TS03\]
        \b(?:SC|DY|OU)-00\d\b
        banned sending ip
        dynamic (?:ip|address|host|pool)
        residential
        (?:\bip\b|\[[\d.]+\]|your (?:host|server|network)) .{0,60}\b(?:blocked|banned|listed|not allowed to)
        reverse (?:dns|lookup|hostname)
        \bPTR\b
        \b(?:FC)?rDNS\b
        cannot find your (?:reverse )?hostname
    """)),
    (_B.DNS, _any_of(r"""
        (?:sender|from|helo|ehlo|return[ -]path)\b.{0,80}(?:not found|(?:not|n't) exist|no mx|not resolv|unresolvable)
        (?:sender|from|helo|ehlo|return[ -]path)\b.{0,80}(?:no dns|without (?:a|mx))
    """)),
    (_B.POLICY, _any_of(r"""
        sender\b.{0,60}(?:reject|denied|refused|verif|not allowed|blocked|invalid|not welcome)
        (?:helo|ehlo)\b.{0,40}reject
        relay(?:ing)?(?: access)? (?:denied|not|is not|prohibited)
        not permitted to relay
        unable to relay
        rcpthosts
    """)),
    (_B.MAILBOX_FULL, _any_of(r"""
        over ?quota
        quota (?:is |was |has been )?(?:exceeded|full)
        exceed\w* .{0,30}(?:quota|storage|disk)
        (?:mail ?box|inbox|maildir|account)\b.{0,40}\bfull\b
        full mail ?box
        mail ?box .{0,20}(?:size )?limit
        out of (?:storage|disk) space
        (?:not enough|insufficient) (?:disk |mailbox |storage )?(?:space|quota)
        storage (?:limit|full|allocation)
    """)),
    (_B.HARD_ADDRESS, _any_of(r"""
        recipient ?not ?found
        recipient address rejected: access denied
        unknown (?:user|recipient|address|mailbox|local)
        (?:user|recipient|addressee|mailbox|account)(?: is)? (?:unknown|invalid|inactive|expired|disabled)
        no (?:such )?(?:valid )?(?:local )?(?:user|mailbox|recipient|person|account)s?\b
        no such (?:\w+ )?(?:address|name)
        invalid (?:recipient|mailbox|user|account|address)
        (?:user|mailbox|recipient|account|address)\b.{0,60}(?:not found|(?:not|n't) exist|no longer|not known)
        (?:user|mailbox|recipient|account|address)\b.{0,60}(?:disabled|inactive|deactivated|suspended|deleted|closed)
        user not local
        not a (?:valid|known|local) (?:user|mailbox|recipient|address)
        (?:not|n't) have an? .{0,40}account
        bad destination mailbox
        unrouteable address
        undeliverable address
        no mailbox here
        not our customer
    """)),
    (_B.HARD_DOMAIN, _any_of(r"""
        null ?mx
        domain\b.{0,60}(?:not found|(?:not|n't) exist|not accept|no longer)
        no such domain
        (?:host|domain)(?: name)? (?:unknown|not found)
        unknown (?:host|domain)
        does not (?:accept|receive) (?:e-?)?mail
    """)),
    (_B.PROTOCOL, _any_of(r"""
        too many hops
        \bloop(?:s|ing)?\b
        hop count
    """)),
)  # fmt: skip

# Words that are used for many things: they count when nothing else was found.
_VAGUE: tuple[tuple[BounceClass, re.Pattern[str]], ...] = (
    (_B.POLICY, _any_of(r"""
        spam
        virus
        malware
        phish
        unsolicited
        polic(?:y|ies)
        content
        attachment
        suspicious
        prohibit
        (?:too|message) (?:big|large)
        (?:message|maximum|max|fixed) .{0,20}size
        size limit
        access denied
        not (?:allowed|permitted|authori[sz]ed)
        block(?:ed)?\b
        message (?:was )?(?:rejected|refused|not accepted)
    """)),
    (_B.HARD_ADDRESS, _any_of(r"""
        mailbox (?:is )?unavailable
        address rejected
    """)),
)  # fmt: skip

_RETRY_SOON = _any_of(r"""
    try (?:again|later)
    come back
    retry
    \blater\b
    \d+ (?:sec|min)
    temporar
""")


def classify(code: int, enhanced: str, text: str) -> BounceClass:
    """The class of a 4yz or 5yz reply, or of the status and diagnostic of a bounce (code 0 where it has none).

    Looks at the codes and words alone: whether the failure is final, and at which command it came, is for the
    caller to weigh, as sendry.mail.outcome.judge does.
    """
    detail = enhanced.partition(".")[2]
    if sure := _SURE_DETAIL.get(detail):
        return sure
    words = _URL.sub(r"\1", _ADDRESS.sub("", " ".join(text[:_LOOKED_AT].split())))
    if telling := _first(_TELLING, words):
        return telling
    is_temporary = code in (450, 451) or (code == 0 and enhanced.startswith("4"))
    if is_temporary and detail in ("7.1", "2.0") and _RETRY_SOON.search(words):
        return _B.GREYLIST
    if likely := _LIKELY_DETAIL.get(detail):
        return likely
    if vague := _first(_VAGUE, words):
        return vague
    if detail.startswith(("6.", "7.")):
        return _B.POLICY
    return _BY_CODE.get(code, _B.UNKNOWN)


def _first(rules: tuple[tuple[BounceClass, re.Pattern[str]], ...], words: str) -> BounceClass | None:
    return next((found for found, pattern in rules if pattern.search(words)), None)
