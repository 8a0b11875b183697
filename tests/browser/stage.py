"""An installation with mail in every state, for pictures and for tests in a browser.

Everything goes through the doors of the rooms, with the times of a day that ends now.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Final

from sendry.access.users import Role as UserRole
from sendry.config import loads
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.mail.headers import split
from sendry.queue.work import Result, Tried, Work
from sendry.service import Role, Service

OPERATOR: Final = "operator@example.com"
PASSWORD: Final = "correct horse battery"
PRODUCTION: Final = """
[server]
hostname = "mail.example.com"
[smtp]
domain = "example.com"
listen_addr = "127.0.0.1:0"
submission_addr = ""
smtps_addr = ""
[domains."news.example.com"]
mode = "production"
[domains."staging.example.com"]
mode = "sandbox"
[api]
listen_addr = "127.0.0.1:0"
api_key = "sk_test"
[queue]
max_retries = 40
"""
SANDBOX: Final = """
[server]
hostname = "mail.example.com"
[smtp]
listen_addr = "127.0.0.1:0"
[api]
listen_addr = "127.0.0.1:0"
"""
_SHOP_PAGE: Final = Path(__file__).with_name("shop.html").read_text()
_SHOP: Final = "Example Shop <shop@example.com>"
_SHOP_KEY: Final = Origin(OriginKind.API, "shop", "192.0.2.200", may_relay=True)
_BILLING: Final = Origin(OriginKind.SMTP, "billing", "192.0.2.201", may_relay=True)
_PDF: Final = ("invoice-2026-0318.pdf", "application/pdf", b"%PDF-1.4\n" + b"0" * 62_000)
_CSV: Final = ("week-12.csv", "text/csv", b"day,orders\r\nmonday,170\r\n")
_NAMES: Final = ("mira", "tomas", "lars", "vera", "nadia", "jonas", "elif", "paolo", "ines", "kofi", "yuki", "anna")
# Recipients per hour, from three in the afternoon on.
_DAY: Final = (36, 34, 28, 22, 16, 11, 8, 6, 4, 3, 3, 2, 2, 2, 2, 3, 5, 12, 23, 31, 35, 33, 30, 26)
_OURS: Final = "198.51.100.7"
_TOO_MANY: Final = "Too many messages from 198.51.100.7, try again in 10 minutes"

File = tuple[str, str, bytes]


@dataclass(frozen=True)
class Letter:
    """One mail that a program wrote, so many minutes ago."""

    ago: int
    sender: str
    subject: str
    text: str
    html: str = ""
    files: tuple[File, ...] = ()


def service(settings: str, folder: Path) -> Service:
    """An installation in that folder that listens and delivers nothing."""
    storage = f'[storage]\npath = "{folder}/queue.db"\n'
    return Service(loads(f"{settings}\n{storage}"), (Role.WEB, Role.SMTP))


def shop_page(title: str, text: str, path: str, button: str, more: str = "") -> str:
    """HTML with dark colours, a remote image and a script that must not run."""
    values = {"title": title, "text": text, "path": path, "button": button, "more": more}
    page = _SHOP_PAGE
    for name, value in values.items():
        page = page.replace("{" + name + "}", value)
    return page


def raw(letter: Letter, to: Sequence[str]) -> bytes:
    """The letter as octets."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = letter.sender, ", ".join(to), letter.subject
    message.set_content(letter.text)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    for name, kind, octets in letter.files:
        major, _, minor = kind.partition("/")
        message.add_attachment(octets, maintype=major, subtype=minor, filename=name)
    return message.as_bytes()


def accept(
    here: Service, letter: Letter, to: Sequence[str], now: datetime, origin: Origin = _SHOP_KEY, *tags: str
) -> str:
    """Hand a letter in; gives its id."""
    head, body = split(raw(letter, to))
    address = letter.sender.rpartition("<")[2].rstrip(">")
    envelope = Envelope(
        address, tuple(map(Addressee, to)), Content(head, body), origin, is_submission=True, tags=tags
    )
    return here.intake.accept(envelope, now - timedelta(minutes=letter.ago)).result()


# The sandbox


LETTERS: Final = (
    Letter(170, "newsletter@example.com", "Spring catalogue", "Forty new things for the garden. https://example.com/"),
    Letter(154, _SHOP, "Your receipt for order 20418", "Thank you for your order. 2 items, 64.00 in all."),
    Letter(137, "ops@example.com", "Backup finished with 1 warning", "Copied 48 GB in 12 minutes. 1 was skipped."),
    Letter(
        52, _SHOP, "Parcel 7741 is on its way",
        "It left our warehouse this morning and should arrive on Friday. https://shop.example.com/parcels/7741",
        shop_page("Parcel 7741 is on its way", "It left our warehouse this morning.", "parcels/7741", "Follow it"),
    ),
    Letter(41, "reports@example.com", "Weekly report, week 12", "Orders 1,204 (up 4%). Returns 31.", "", (_CSV,)),
    Letter(24, "Workshop team <team@example.com>", "Welcome to the workshop", "Good to have you with us."),
    Letter(
        10, _SHOP, "Reset your password",
        "Somebody asked to reset the password of qa-team@example.com. https://shop.example.com/reset?t=4f",
        shop_page("Reset your password", "Somebody asked to reset it.", "reset?t=4f", "Choose a new one"),
    ),
    Letter(3, "billing@example.com", "Invoice 2026-0318", "Dear customer, the invoice is attached.", "", (_PDF,)),
    Letter(
        0, _SHOP, "Your sign-in code is 482 913",
        "Use this code within ten minutes: 482913\nIf it was not you, change your password.\n\n"
        "https://shop.example.com/sign-in/confirm?t=Zk3v\n",
        shop_page(
            "Here is your sign-in code",
            "Type it where you started, within ten minutes. Nobody from our shop will ever ask you for it.",
            "sign-in/confirm?t=Zk3v", "Sign in with one click", '<div class="c">482 913</div>',
        ),
    ),
)  # fmt: skip


def fill_sandbox(here: Service, now: datetime) -> None:
    """What an afternoon of development leaves in the inbox; the last two are unread."""
    ids = [accept(here, letter, ["qa-team@example.com"], now) for letter in LETTERS]
    here.rooms.inbox.mark_read(ids[:-2])


# Production


def fill_production(here: Service, now: datetime) -> dict[str, str]:
    """Two days of traffic and some messages worth looking at; gives their ids by name."""
    here.rooms.users.create(OPERATOR, "Olga Petrova", PASSWORD, UserRole.ADMIN, now)
    _traffic(here, now)
    found = {
        "receipt": _single(
            here, Letter(34, _SHOP, "Your receipt for order 20411", "Hello"), "nadia@mail.example", now
        ),
        "failed": _single(
            here, Letter(29, _SHOP, "Welcome to the workshop", "Hello"), "old-address@example.net", now, "failed"
        ),
        "invoice": _invoice(here, now),
    }
    found["staged"] = accept(
        here,
        Letter(8, "QA <qa@staging.example.com>", "Password reset", "Your code is 731 204"),
        ["qa-team@example.com"],
        now,
        _BILLING,
    )
    found["deferred"] = _single(
        here, Letter(2, _SHOP, "Your receipt for order 20417", "Hello"), "office@post.example", now, "deferred"
    )
    found["pending"] = accept(
        here, Letter(0, _SHOP, "Spring catalogue", "Hello"), ["vera@example.org", "mira@example.org"], now
    )
    return found


def _traffic(here: Service, now: datetime) -> None:
    dice = random.Random(3)
    for back in range(48, 0, -1):
        number = _DAY[(48 - back) % 24] // 3 + 1
        hour = now - timedelta(hours=back - 1)
        for _ in range(1 + number // 4):
            to = [f"{name}@example.net" for name in dice.sample(_NAMES, min(len(_NAMES), number))]
            accept(here, Letter(0, _SHOP, "Spring catalogue", "Hello"), to, hour)
        work = here.queue.claim(hour + timedelta(seconds=1), 500)
        settle(here, work, hour, lambda _: "failed" if dice.random() < 0.02 else "delivered")


def tried(at: datetime, outcome: str) -> Tried:
    """A try that fits the outcome."""
    facts = ("198.51.100.7", "TLSv1.3", "unverified")
    if outcome == "delivered":
        return Tried(at, 1400, "mx.example.net", "203.0.113.18", *facts, 250, "2.0.0", "Ok: queued as 4ZkT7n2Wq9")
    if outcome == "failed":
        return Tried(
            at, 600, "mx0.example.net", "203.0.113.77", *facts, 550, "5.1.1", "No such user here", "hard-address"
        )
    return Tried(at, 900, "mx1.post.example", "192.0.2.31", *facts, 451, "4.7.1", _TOO_MANY, "rate")


def settle(here: Service, work: Sequence[Work], at: datetime, outcome_of: Callable[[Work], str]) -> None:
    """Let claimed work end as told."""
    results = []
    for item in work:
        outcome = outcome_of(item)
        due = at + timedelta(minutes=11) if outcome == "deferred" else None
        results.append(Result(item, outcome, (tried(at, outcome),), due))
    here.queue.settle(results, at).result()


def _claim(here: Service, to: Sequence[str], at: datetime) -> dict[str, Work]:
    return {item.address: item for item in here.queue.claim(at + timedelta(seconds=1), 100) if item.address in to}


def _single(here: Service, letter: Letter, to: str, now: datetime, outcome: str = "delivered") -> str:
    made = accept(here, letter, [to], now)
    at = now - timedelta(minutes=letter.ago)
    settle(here, list(_claim(here, [to], at).values()), at, lambda _: outcome)
    return made


def _invoice(here: Service, now: datetime) -> str:
    """Three recipients, three fates."""
    to = ("accounts@post.example", "accounts@example.org", "j.former@example.net")
    text = "Dear customer,\n\nplease find attached the invoice for March.\n"
    letter = Letter(20, "billing@example.com", "Invoice 2026-0318", text, "", (_PDF,))
    made = accept(here, letter, to, now, _BILLING, "invoice", "march")
    at = now - timedelta(minutes=20)
    first, second, third = at + timedelta(seconds=1), at + timedelta(minutes=5), at + timedelta(minutes=15)
    tls = (_OURS, "TLSv1.3", "unverified")
    grey = Tried(
        first, 800, "mx1.post.example", "192.0.2.31", *tls, 451, "4.7.1",
        "Greylisting in action, please come back later", "greylist",
    )  # fmt: skip
    good = Tried(first, 1400, "mx.example.org", "203.0.113.18", *tls, 250, "2.0.0", "Ok: queued as 4ZkT7n2Wq9")
    gone = Tried(
        first, 600, "mx0.example.net", "203.0.113.77", _OURS, "TLSv1.2", "unverified", 550, "5.1.1",
        "<j.former@example.net>: recipient address rejected: user unknown", "hard-address",
    )  # fmt: skip
    silent = Tried(third, 30_000, "mx2.post.example", "2001:db8::31", response="Connect timed out after 30 s")
    work = _claim(here, to, at)
    ends = [
        Result(work[to[0]], "deferred", (grey,), second),
        Result(work[to[1]], "delivered", (good,)),
        Result(work[to[2]], "failed", (gone,)),
    ]
    here.queue.settle(ends, first).result()
    again = _claim(here, to[:1], second)[to[0]]
    here.queue.settle([Result(again, "deferred", (tried(second, "deferred"),), third)], second).result()
    last = _claim(here, to[:1], third)[to[0]]
    here.queue.settle([Result(last, "deferred", (silent,), now + timedelta(minutes=4))], third).result()
    return made
