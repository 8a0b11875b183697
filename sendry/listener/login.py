"""AUTH PLAIN and LOGIN (RFC 4954, RFC 4616) of one session: the dialogue, and what follows from it.

Passwords are compared off the loop; the guard against guessing is asked before and told after. Promise: an unknown
name, a wrong password and a blocked guesser are told nothing about each other, and no credential reaches a log.
"""

from __future__ import annotations

import base64
import binascii
import logging
from typing import Final

from sendry.listener.doors import Doors
from sendry.listener.wire import Parting, Wire
from sendry.mail.reply import BAD_CREDENTIALS, BAD_LINE_ENDING, Refused, Reply

log = logging.getLogger(__name__)

SIGNED_IN: Final = Reply(235, "2.7.0", "Authentication successful")
ABORTED: Final = Reply(501, "5.7.0", "Authentication cancelled")
BAD_BASE64: Final = Reply(501, "5.5.2", "Cannot decode the response, it must be base64")
BAD_RESPONSE: Final = Reply(501, "5.5.2", "The response is not as the mechanism wants it")
TOO_LONG: Final = Reply(500, "5.5.6", "Authentication exchange line is too long")
UNKNOWN_MECHANISM: Final = Reply(504, "5.5.4", "Mechanism not supported, use PLAIN or LOGIN")
TOO_MANY_FAILURES: Final = Reply(421, "4.7.0", "Too many failed sign-ins, closing connection")
ADDRESS_BLOCKED: Final = Reply(421, "4.7.0", "Too many failed sign-ins from your address, try again later")
NAME_BLOCKED: Final = Reply(454, "4.7.0", "Too many failed sign-ins for this name, try again later")

_VERIFY_SECONDS: Final = 60.0


async def ask_credentials(wire: Wire, mechanism: str, initial: str | None) -> tuple[str, str]:
    """Name and password as the client gives them. `initial` is what stood behind the mechanism, if anything.

    Raises Refused for a fault or a cancelled dialogue, Gone and Parting as the wire does.
    """
    if mechanism == "PLAIN":
        octets = await _ask(wire, b"334 \r\n") if initial is None else _decoded(initial)
        return _plain(octets)
    if mechanism != "LOGIN":
        raise Refused(UNKNOWN_MECHANISM)
    name = await _ask(wire, b"334 VXNlcm5hbWU6\r\n") if initial is None else _decoded(initial)
    password = await _ask(wire, b"334 UGFzc3dvcmQ6\r\n")
    return _text(name), _text(password)


async def sign_in(wire: Wire, doors: Doors, ip: str, name: str, password: str, failures_left: int) -> None:
    """Check credentials. Raises Refused when they are wrong or may not be tried now, Parting at the last failure."""
    now = doors.clock()
    if doors.guard.is_blocked(ip, "", now) is not None:
        doors.counters.sign_in_failed()
        raise Parting(ADDRESS_BLOCKED)
    if doors.guard.is_blocked("", name, now) is not None:
        doors.counters.sign_in_failed()
        raise Refused(NAME_BLOCKED)
    is_right = doors.logins.remembers(name, password)
    if not is_right:
        future = wire.loop.run_in_executor(doors.logins.workers, doors.logins.verify, name, password)
        is_right = await wire.wait_for(future, _VERIFY_SECONDS)
    if is_right:
        doors.counters.signed_in()
        doors.guard.succeeded(ip, name)
        return
    doors.counters.sign_in_failed()
    doors.guard.failed(ip, name, doors.clock())
    log.warning("SMTP sign-in failed", extra={"client_ip": ip})
    if failures_left <= 1:
        wire.say(BAD_CREDENTIALS.wire())
        raise Parting(TOO_MANY_FAILURES)
    raise Refused(BAD_CREDENTIALS)


async def _ask(wire: Wire, challenge: bytes) -> bytes:
    wire.say(challenge)
    try:
        line = await wire.read_line()
    except ValueError:
        raise Parting(BAD_LINE_ENDING) from None
    if line is None:
        raise Refused(TOO_LONG)
    if line == b"*":
        raise Refused(ABORTED)
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(BAD_BASE64) from None


def _decoded(initial: str) -> bytes:
    if initial == "=":  # an empty response, RFC 4954 section 4
        return b""
    if initial == "*":
        raise Refused(ABORTED)
    try:
        return base64.b64decode(initial, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(BAD_BASE64) from None


def _plain(octets: bytes) -> tuple[str, str]:
    """[authzid] NUL authcid NUL password; to act for somebody else is not offered."""
    parts = octets.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise Refused(BAD_RESPONSE)
    for_whom, name, password = (_text(part) for part in parts)
    if for_whom not in ("", name):
        raise Refused(BAD_CREDENTIALS)
    return name, password


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(BAD_RESPONSE) from None
