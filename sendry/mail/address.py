"""Addresses: the paths of MAIL and RCPT (RFC 5321 4.1.2, RFC 6531 3.3), and "Name <address>" as people write
it.

Pure: touches nothing but its arguments. Promise: an address that passes is in one canonical form (domain as
lower-case A-labels, local part with the least quoting that RFC 5321 4.1.2 allows, its case kept), has no
control character, no line end, no space outside quotes, and nothing that another program would decode into
one.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

import idna

from sendry.mail.reply import Reply

MAX_LOCAL_PART = 64
MAX_DOMAIN = 253
MAX_ADDRESS = 254
"""Octets (RFC 5321 4.5.3.1; 254 is the path of 256 without its brackets)."""

MAX_NAME = 250
"""Characters of a display name that we take from users."""

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~-"
_FAST_PATH = re.compile(rf" ?<([{_ATEXT}]++(?:\.[{_ATEXT}]++)*+)@([A-Za-z0-9.-]++)>(?: ([ -~]*+))?")
_PATH = re.compile(r' ?<((?:"(?:[^"\\]|\\.)*+"|[^"<>])*+)>(.*)', re.DOTALL)
_ADDRESS = re.compile(r'("(?:[^"\\]|\\.)*+"|[^"@]*+)@([^@]*+)', re.DOTALL)
_DOT_STRING = re.compile(rf"[\u0080-\U0010ffff{_ATEXT}]++(?:\.[\u0080-\U0010ffff{_ATEXT}]++)*+")
_ENCODED_WORD = re.compile(r"=\?.*\?=")
_ESCAPED = re.compile(r"\\(.)")
_NEEDS_ESCAPE = re.compile(r'["\\]')
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*+([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ENTRY = re.compile(r'(?:"(?:[^"\\]|\\.)*+"|[^",])*+')
_NAMED = re.compile(r'("(?:[^"\\]|\\.)*+" *+|[^"<>]*+)<((?:"(?:[^"\\]|\\.)*+"|[^"<>])*+)>')
_NAME_SPECIAL = re.compile(r'[()<>@,:;\\"\[\]]')
_NOT_IN_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class BadAddress(ValueError):
    """The text is no acceptable address: `str()` says why to an API user, `reply` is for an SMTP client."""

    def __init__(self, why: str, *, code: int = 501, enhanced: str = "5.1.3") -> None:
        super().__init__(why)
        self.why = why
        self.reply = Reply(code, enhanced, why)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name (Unicode, "" = none) and a canonical address."""

    name: str
    address: str

    def __str__(self) -> str:
        """As people write it; parse_mailbox reads it back. Not encoded for a header."""
        if not self.name:
            return self.address
        return f"{_quoted(self.name) if _NAME_SPECIAL.search(self.name) else self.name} <{self.address}>"


def parse_path(text: str, *, allow_null: bool, smtputf8: bool, allow_postmaster: bool = False) -> tuple[str, str]:
    """Read what follows "FROM:" or "TO:"; gives the canonical address ("" for <>) and the text of the
    parameters.

    allow_null: True for MAIL, where faults answer 501 5.1.7; False for RCPT, 501 5.1.3.
    smtputf8: whether non-ASCII is taken; else it is 553 5.6.7. For MAIL the parameter stands behind the path:
    pass whether its keyword occurs in the text. A domain of U-labels comes back as A-labels.
    allow_postmaster: take <postmaster>, which comes back as "postmaster" (RFC 5321 4.5.1).
    Raises BadAddress.
    """
    fast = _FAST_PATH.fullmatch(text)
    try:
        if fast is not None:
            local, domain, rest = fast.groups()
            if len(local) <= MAX_LOCAL_PART and "=?" not in local:
                address = f"{local}@{_canonical_domain(domain)}"
                if len(address) <= MAX_ADDRESS:
                    return address, rest.strip(" ") if rest else ""
        return _parse_path(text, allow_null, smtputf8, allow_postmaster)
    except BadAddress as fault:
        who, enhanced = ("Sender", "5.1.7") if allow_null else ("Recipient", "5.1.3")
        reply = fault.reply
        why = f"{who} address refused: {fault.why}"
        enhanced = enhanced if reply.enhanced == "5.1.3" else reply.enhanced
        raise BadAddress(why, code=reply.code, enhanced=enhanced) from None


def normalise(address: str) -> str:
    """The canonical form of local@domain, "" for "". Raises BadAddress."""
    if not address:
        return ""
    if not address.isprintable():
        raise BadAddress("it has control or invisible characters")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise BadAddress(_why_no_address(address))
    canonical = f"{_canonical_local_part(match[1])}@{_canonical_domain(match[2])}"
    if len(canonical.encode()) > MAX_ADDRESS:
        raise BadAddress(f"it is longer than {MAX_ADDRESS} octets")
    return canonical


def domain_of(address: str) -> str:
    """The domain as lower-case A-labels without a trailing dot; "" where there is none. Raises BadAddress.

    Also takes a bare "@example.com". Address literals stay as they are: "[192.0.2.1]".
    """
    _, at, domain = address.rpartition("@")
    return _canonical_domain(domain.removesuffix(".")) if at and domain else ""


def is_routed(address: str) -> bool:
    """Whether the local part asks for sending on elsewhere: user%other, other!user, "user@other"."""
    local = address.rpartition("@")[0]
    return "%" in local or "!" in local or "@" in local


def parse_mailbox(text: str) -> Mailbox:
    """Read one "Name <user@example.com>", "\\"Name, Inc.\\" <user@example.com>" or "user@example.com".

    Strict: no comments, groups, line ends or control characters. Raises BadAddress with a text for the API
    user.
    """
    _refuse_controls(text)
    text = text.strip(" ")
    if not text:
        raise BadAddress("an address is missing")
    if "<" not in text and ">" not in text:
        return Mailbox("", _canonical_address(text))
    match = _NAMED.fullmatch(text)
    if match is None:
        raise BadAddress("write it as Name <user@example.com>, and the name in double quotes when it has other signs")
    return Mailbox(_name(match[1].strip(" ")), _canonical_address(match[2].strip(" ")))


def parse_mailbox_list(text: str) -> tuple[Mailbox, ...]:
    """Read mailboxes separated by commas, at least one; raises BadAddress naming the position of a bad
    one.
    """
    _refuse_controls(text)
    entries: list[str] = []
    at = 0
    while at <= len(text):
        match = _ENTRY.match(text, at)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise BadAddress("a double quote is not closed")
        entries.append(match[0])
        at = match.end() + 1
    if len(entries) == 1:
        return (parse_mailbox(text),)
    mailboxes: list[Mailbox] = []
    for number, entry in enumerate(entries, 1):
        try:
            mailboxes.append(parse_mailbox(entry))
        except BadAddress as fault:
            hint = "" if "@" in entry else " (a name with a comma in it must stand in double quotes)"
            raise BadAddress(f"address {number}: {fault.why}{hint}") from None
    return tuple(mailboxes)


def _parse_path(text: str, allow_null: bool, smtputf8: bool, allow_postmaster: bool) -> tuple[str, str]:
    match = _PATH.fullmatch(text)
    if match is None:
        raise BadAddress("it must stand in angle brackets, as in <user@example.com>")
    path, rest = match[1], match[2]
    if rest and rest[0] != " ":
        raise BadAddress("there must be a space between it and the parameters")
    parameters = rest.strip(" ")
    if not path:
        if allow_null:
            return "", parameters
        raise BadAddress("it is empty")
    if path[0] == "@":
        raise BadAddress("source routes are not accepted")
    if allow_postmaster and path.lower() == "postmaster":
        return "postmaster", parameters
    if not smtputf8 and not path.isascii():
        raise BadAddress("it has non-ASCII characters, which need SMTPUTF8", code=553, enhanced="5.6.7")
    return normalise(path), parameters


def _canonical_local_part(local: str) -> str:
    plain = local
    if local.startswith('"'):
        plain = _ESCAPED.sub(r"\1", local[1:-1])
    if _ENCODED_WORD.search(plain):
        raise BadAddress("encoded words are not accepted")
    if _DOT_STRING.fullmatch(plain):
        canonical = plain
    elif local.startswith('"'):
        canonical = _quoted(plain)
    else:
        raise BadAddress(_why_no_local_part(local))
    if len(canonical.encode()) > MAX_LOCAL_PART:
        raise BadAddress(f"the part before @ is longer than {MAX_LOCAL_PART} octets")
    return canonical


@lru_cache(maxsize=8192)
def _canonical_domain(domain: str) -> str:
    """Lower-case A-labels, or an address literal in the canonical form of its address. Raises BadAddress."""
    if domain.startswith("["):
        return _canonical_literal(domain)
    canonical = domain.lower()
    if not domain.isascii():
        if len(domain) > MAX_DOMAIN:
            raise BadAddress(f"the domain is longer than {MAX_DOMAIN} octets")
        try:
            canonical = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
        except UnicodeError:
            raise BadAddress("the domain is no valid internationalised domain name") from None
    if len(canonical) > MAX_DOMAIN:
        raise BadAddress(f"the domain is longer than {MAX_DOMAIN} octets")
    match = _DOMAIN.fullmatch(canonical)
    if match is None:
        raise BadAddress(
            "the domain must be labels of 1 to 63 letters, digits and inner hyphens, joined by single dots"
        )
    if _NUMBER.fullmatch(match[1]):
        raise BadAddress("an IP address in place of a domain must stand in square brackets")
    return canonical


def _canonical_literal(domain: str) -> str:
    inside = domain[1:-1]
    try:
        if not domain.endswith("]") or "%" in inside:
            raise ValueError
        if inside[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inside[5:])}]"
        return f"[{ipaddress.IPv4Address(inside)}]"
    except ValueError:
        raise BadAddress("an address literal must be [192.0.2.1] or [IPv6:2001:db8::1]") from None


def _canonical_address(text: str) -> str:
    if not text:
        raise BadAddress("the address between < and > is missing")
    return normalise(text)


def _why_no_address(address: str) -> str:
    if "@" not in address:
        return "it has no @ and no domain"
    if '"' in address:
        return "double quotes must surround the whole part before @"
    return "it has more than one @"


def _why_no_local_part(local: str) -> str:
    if not local:
        return "nothing stands before @"
    if local.startswith(".") or local.endswith(".") or ".." in local:
        return "dots before @ must stand between other characters, one at a time"
    if " " in local:
        return "spaces are not allowed outside double quotes"
    if "(" in local or ")" in local:
        return "comments are not accepted"
    return "characters like ( ) , : ; [ ] \\ before @ must stand in double quotes"


def _refuse_controls(text: str) -> None:
    if _NOT_IN_NAME.search(text):
        raise BadAddress("line breaks and control characters are not allowed")


def _name(written: str) -> str:
    if written.startswith('"'):
        name = _ESCAPED.sub(r"\1", written[1:-1]).strip(" ")
    elif _NAME_SPECIAL.search(written):
        raise BadAddress('a name with , ; : ( ) [ ] < > @ or " in it must stand in double quotes')
    else:
        name = written
    if len(name) > MAX_NAME:
        raise BadAddress(f"the name is longer than {MAX_NAME} characters")
    return name


def _quoted(text: str) -> str:
    return '"' + _NEEDS_ESCAPE.sub(r"\\\g<0>", text) + '"'
