"""`sendry test`: hand a mail to the running server as an app would, or see what any SMTP server says."""

from __future__ import annotations

import secrets
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sendry.cli.failure import Failed
from sendry.cli.opening import configured
from sendry.cli.parser import checked, takes_config, takes_json
from sendry.cli.printing import plain, print_json
from sendry.config.values import RelayTls, parse_mailbox

if TYPE_CHECKING:
    from sendry.config import Config
    from sendry.config.values import HostPort

_LONGEST_WAIT: Final = 600.0


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    send = commands.add_parser("send", help="send a mail through the Sendry that runs here")
    add = send.add_argument
    add(
        "--to", type=checked(parse_mailbox), action="append", required=True, metavar="ADDRESS", help="may be repeated"
    )
    add(
        "--from",
        dest="sender",
        type=checked(parse_mailbox),
        metavar="ADDRESS",
        help="default: postmaster@ your domain",
    )
    add("--subject", default="Test mail from Sendry")
    add("--body", help="default: a sentence with the time")
    add("--port", type=_port, help="port on this machine; default: that of the configured listener")
    add("--no-tls", action="store_true", help="stay in clear, also where STARTTLS is offered")
    add("--user", metavar="NAME", help="sign in; asks for the password, or reads a line of standard input")
    send.set_defaults(run=_send)

    smtp = commands.add_parser("smtp", help="connect to an SMTP server and show what it says")
    smtp.add_argument("--host", required=True, help="name or address")
    smtp.add_argument("--port", type=_port, default=25, help="default: 25; 465 begins with TLS")
    smtp.set_defaults(run=_smtp)

    for command in (send, smtp):
        command.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="default: 10")
        takes_config(command)
        takes_json(command)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 65535):
        raise ArgumentTypeError(f"{text!r} is no port; they go from 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_WAIT:
        raise ArgumentTypeError(f"{text!r} is no number of seconds up to {_LONGEST_WAIT:g}")
    return seconds


def _send(options: Namespace) -> int:
    config = configured(options)
    host, port, tls = _place(config, options.port)
    if options.no_tls:
        if tls is RelayTls.IMPLICIT:
            raise Failed(f"port {port} begins with TLS; name another one by --port")
        tls = RelayTls.NONE
    login = (options.user, _password()) if options.user else None
    sender = options.sender or f"postmaster@{config.smtp.domain or config.server.hostname}"

    from sendry.delivery.probe import Mail, NotTaken, hand_in

    mail = Mail(sender, options.to, _composed(options, sender, config.server.hostname), login)
    try:
        reply = hand_in(config, host, port, tls, mail, options.timeout)
    except NotTaken as error:
        raise Failed(f"the mail was not taken. {plain(error)}") from None
    identity = reply.text.rpartition(" ")[2]
    if options.json:
        print_json(
            {"id": identity, "from": sender, "to": options.to, "server": f"{host}:{port}", "reply": str(reply)}
        )
    else:
        print(f"taken by {host}:{port}: {plain(reply)}\nfollow it by: sendry queue show {plain(identity)}")
    return 0


def _place(config: Config, port: int | None) -> tuple[str, int, RelayTls]:
    """Where mail is handed in: the submission listener, else the relay listener, else the one with TLS."""
    smtp = config.smtp
    if port is not None:
        is_implicit = port == (smtp.smtps_addr.port if smtp.smtps_addr else 465)
        return "127.0.0.1", port, RelayTls.IMPLICIT if is_implicit else RelayTls.OPPORTUNISTIC
    for place in (smtp.submission_addr, smtp.listen_addr):
        if place is not None:
            return _reached_at(place), place.port, RelayTls.OPPORTUNISTIC
    if smtp.smtps_addr is not None:
        return _reached_at(smtp.smtps_addr), smtp.smtps_addr.port, RelayTls.IMPLICIT
    raise Failed("no SMTP listener is configured; smtp.listen_addr makes one")


def _reached_at(place: HostPort) -> str:
    """The address at which a process of this machine reaches a listener."""
    if place.host in ("", "*", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return "::1" if place.host == "::" else place.host


def _password() -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")


def _composed(options: Namespace, sender: str, hostname: str) -> bytes:
    from sendry.mail.address import Mailbox
    from sendry.mail.compose import Draft, DraftError, compose

    now = datetime.now(UTC)
    body = f"This mail was sent by `sendry test send` on {hostname} at {now:%Y-%m-%d %H:%M:%S} UTC.\n"
    draft = Draft(
        from_=Mailbox("", sender),
        to=tuple(Mailbox("", address) for address in options.to),
        message_id=f"{secrets.token_hex(12)}@{hostname}",
        date=now,
        subject=options.subject,
        text=options.body or body,
    )
    try:
        return compose(draft).raw
    except DraftError as error:
        raise Failed(str(error)) from None


def _smtp(options: Namespace) -> int:
    config = configured(options)
    from dataclasses import asdict

    from sendry.delivery.probe import look_at

    look = look_at(config, options.host, options.port, options.timeout)
    if options.json:
        print_json({**asdict(look), "is_ready": not look.failure})
    else:
        width = max((len(step.name) for step in look.steps), default=0)
        for step in look.steps:
            print(f"{step.name:<{width}}  {plain(step.text)}  ({step.milliseconds} ms)")
    if look.failure:
        raise Failed(f"{plain(look.host)}:{look.port}: {plain(look.failure)}")
    return 0
