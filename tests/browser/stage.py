"""An installation with mail in every state, for pictures and for tests in a browser.

Everything goes through the doors of the rooms, with the times of a day that ends now.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP

from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.mail.headers import split
from sendry.queue.work import Result, Tried, Work
from sendry.service import Service

PRODUCTION = """
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
SANDBOX = """
[server]
hostname = "mail.example.com"
[smtp]
listen_addr = "127.0.0.1:0"
[api]
listen_addr = "127.0.0.1:0"
"""
_SHOP = Origin(OriginKind.API, "shop", "192.0.2.200", may_relay=True)
_BILLING = Origin(OriginKind.SMTP, "billing", "192.0.2.201", may_relay=True)
_PAGE = """<html><head><style>
body{margin:0;background:#f4f1ea;color:#23211c;font:16px/1.55 Georgia,serif}
.w{max-width:520px;margin:0 auto;padding:32px 20px}.b{background:#fff;border-radius:12px;padding:32px}
.l{font:700 15px Arial;letter-spacing:.04em;color:#7a3b12;margin:0 0 22px}h1{font-size:25px;margin:0 0 12px}
.c{font:600 30px ui-monospace,monospace;letter-spacing:.16em;background:#f4f1ea;border-radius:8px;padding:16px;
text-align:center;margin:22px 0}
a.btn{display:block;background:#7a3b12;color:#fff;text-align:center;border-radius:8px;padding:13px;
font:600 15px Arial;text-decoration:none}
@media (prefers-color-scheme: dark){body{background:#15130f;color:#ece7dc}.b{background:#211e18}.c{background:#15130f}}
</style></head><body><div class="w"><div class="b"><p class="l">EXAMPLE SHOP</p><h1>%s</h1><p>%s</p>%s
<a class="btn" href="https://shop.example.com/%s">%s</a></div></div><img src="https://shop.example.com/o.gif" width="1" height="1" alt=""></body></html>"""


def mail(
    sender: str, to: str, subject: str, text: str, html: str = "", files: Sequence[tuple[str, str, bytes]] = ()
) -> bytes:
    """A mail as a program writes it."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Message-ID"] = f"<{abs(hash((sender, to, subject)))}@example.com>"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    for name, kind, octets in files:
        message.add_attachment(octets, maintype=kind.split("/")[0], subtype=kind.split("/")[1], filename=name)
    return message.as_bytes()


def accept(
    service: Service, raw: bytes, to: Sequence[str], at: datetime, origin: Origin = _SHOP, tags: tuple[str, ...] = ()
) -> str:
    """Hand a mail in; gives its id."""
    head, body = split(raw)
    sender = next(line for line in head.decode().splitlines() if line.startswith("From: "))[6:]
    address = sender.rpartition("<")[2].rstrip(">")
    envelope = Envelope(
        address, tuple(map(Addressee, to)), Content(head, body), origin, is_submission=True, tags=tags
    )
    return service.intake.accept(envelope, at).result()


def fill_sandbox(service: Service, now: datetime) -> None:
    """What an afternoon of development leaves in the inbox."""
    qa = ["qa-team@example.com"]
    shop, hello = "Example Shop <shop@example.com>", "Example Shop"
    sent = [
        (170, "newsletter@example.com", "Spring catalogue", "Forty new things for the garden, and three old ones back. https://news.example.com/spring", "", ()),
        (154, shop, "Your receipt for order 20418", "Thank you for your order. 2 items, 64.00 in all. We send them tomorrow.", "", ()),
        (137, "ops@example.com", "Backup finished with 1 warning", "Copied 48 GB in 12 minutes. 1 file was skipped because it was in use.", "", ()),
        (52, shop, "Parcel 7741 is on its way", "It left our warehouse this morning and should arrive on Friday. https://shop.example.com/parcels/7741",
         _PAGE % ("Parcel 7741 is on its way", "It left our warehouse this morning.", "", "parcels/7741", "Follow it"), ()),
        (41, "reports@example.com", "Weekly report, week 12", "Orders 1,204 (up 4%). Returns 31. Open tickets 12. The table is attached.", "", (("week-12.csv", "text/csv", b"day,orders\r\n1,170\r\n"),)),
        (24, "Workshop team <team@example.com>", "Welcome to the workshop", "Good to have you with us. Here is the plan for the first day: we begin at ten.", "", ()),
        (10, shop, "Reset your password", "Somebody asked to reset the password of qa-team@example.com. https://shop.example.com/reset?t=4f",
         _PAGE % ("Reset your password", "Somebody asked to reset the password of qa-team@example.com.", "", "reset?t=4f", "Choose a new one"), ()),
        (3, "billing@example.com", "Invoice 2026-0318", "Dear customer, please find attached the invoice for March.", "", (("invoice-2026-0318.pdf", "application/pdf", b"%PDF-1.4\n" + b"0" * 62000),)),
        (0, shop, "Your sign-in code is 482 913", f"Use this code within ten minutes: 482913\nIf it was not you, change your password.\n\nhttps://shop.example.com/sign-in/confirm?t=Zk3v\n\n{hello}",
         _PAGE % ("Here is your sign-in code", "Type it where you started, within ten minutes. Nobody from our shop will ever ask you for it.", '<div class="c">482 913</div>', "sign-in/confirm?t=Zk3v", "Sign in with one click"), ()),
    ]  # fmt: skip
    ids = [
        accept(service, mail(sender, qa[0], subject, text, html, files), qa, now - timedelta(minutes=ago))
        for ago, sender, subject, text, html, files in sent
    ]
    service.rooms.inbox.list()
    service.rooms.inbox.mark_read(ids[:-2])


def fill_production(service: Service, now: datetime) -> dict[str, str]:
    """A day of traffic, and some messages worth looking at; gives their ids by name."""
    dice = random.Random(3)
    shape = (36, 34, 28, 22, 16, 11, 8, 6, 4, 3, 3, 2, 2, 2, 2, 3, 5, 12, 23, 31, 35, 33, 30, 26)
    for back in range(48, 0, -1):
        hour = now - timedelta(hours=back - 1)
        for _ in range(1 + shape[(48 - back) % 24] // 12):
            to = [
                f"{name}@example.net"
                for name in dice.sample(_NAMES, min(len(_NAMES), shape[(48 - back) % 24] // 3 + 1))
            ]
            accept(
                service,
                mail("Example Shop <shop@example.com>", "all@example.com", "Spring catalogue", "Hello"),
                to,
                hour,
            )
        work = service.queue.claim(hour + timedelta(seconds=1), 500)
        end(service, work, hour, lambda _: "failed" if dice.random() < 0.02 else "delivered")
    named = {
        "receipt": _one(service, "Your receipt for order 20411", ["nadia@mail.example"], now - timedelta(minutes=34)),
        "workshop": _one(
            service,
            "Welcome to the workshop",
            ["old-address@example.net"],
            now - timedelta(minutes=9),
            text="550 5.1.1",
        ),
    }
    named["invoice"] = _invoice(service, now)
    named["deferred"] = _one(
        service, "Your receipt for order 20417", ["office@post.example"], now - timedelta(minutes=2), text="451 4.7.1"
    )
    named["staged"] = accept(
        service,
        mail("QA <qa@staging.example.com>", "qa-team@example.com", "Password reset", "Your code is 731 204"),
        ["qa-team@example.com"],
        now - timedelta(minutes=8),
        _BILLING,
    )
    named["pending"] = accept(
        service,
        mail("Example Shop <shop@example.com>", "vera@example.com", "Spring catalogue", "Hello"),
        ["vera@example.org", "mira@example.org"],
        now,
    )
    return named


_NAMES = ("mira", "tomas", "lars", "vera", "nadia", "jonas", "elif", "paolo", "ines", "kofi", "yuki", "anna")


def end(service: Service, work: Sequence[Work], at: datetime, outcome_of: object) -> None:
    """Let claimed work end as `outcome_of(work)` says."""
    results = []
    for item in work:
        outcome = outcome_of(item) if callable(outcome_of) else str(outcome_of)
        code, enhanced, text = {
            "delivered": (250, "2.0.0", "Ok: queued as 4ZkT7n2Wq9"),
            "failed": (550, "5.1.1", "No such user here"),
        }[outcome]
        tried = Tried(
            at,
            1400,
            "mx.example.net",
            "203.0.113.18",
            "198.51.100.7",
            "TLSv1.3",
            "unverified",
            code,
            enhanced,
            text,
            "" if code < 300 else "hard-address",
        )
        results.append(Result(item, outcome, (tried,)))
    if results:
        service.queue.settle(results, at).result()


def _one(service: Service, subject: str, to: list[str], at: datetime, text: str = "") -> str:
    made = accept(service, mail("Example Shop <shop@example.com>", to[0], subject, "Hello"), to, at)
    work = [item for item in service.queue.claim(at + timedelta(seconds=1), 100) if item.address in to]
    if text.startswith("5"):
        end(service, work, at, "failed")
    elif text.startswith("4"):
        tried = Tried(
            at,
            900,
            "mx1.post.example",
            "192.0.2.31",
            "198.51.100.7",
            "TLSv1.3",
            "unverified",
            451,
            "4.7.1",
            "Too many messages from 198.51.100.7, try again in 10 minutes",
            "rate",
        )
        service.queue.settle(
            [Result(item, "deferred", (tried,), datetime.now(UTC) + timedelta(minutes=9)) for item in work], at
        ).result()
    else:
        end(service, work, at, "delivered")
    return made


def _invoice(service: Service, now: datetime) -> str:
    """Three recipients, three fates."""
    to = ["accounts@post.example", "accounts@example.org", "j.former@example.net"]
    at = now - timedelta(minutes=20)
    raw = mail(
        "billing@example.com",
        ", ".join(to),
        "Invoice 2026-0318",
        "Dear customer,\n\nplease find attached the invoice for March.\n",
        files=(("invoice-2026-0318.pdf", "application/pdf", b"%PDF-1.4\n" + b"0" * 62000),),
    )
    made = accept(service, raw, to, at, _BILLING, ("invoice", "march"))
    work = {item.address: item for item in service.queue.claim(at + timedelta(seconds=1), 100) if item.address in to}
    tls, ours = ("TLSv1.3", "unverified"), "198.51.100.7"
    grey = Tried(
        at + timedelta(seconds=1),
        800,
        "mx1.post.example",
        "192.0.2.31",
        ours,
        *tls,
        451,
        "4.7.1",
        "Greylisting in action, please come back later",
        "greylist",
    )
    gone = Tried(
        at + timedelta(seconds=2),
        600,
        "mx0.example.net",
        "203.0.113.77",
        ours,
        "TLSv1.2",
        "unverified",
        550,
        "5.1.1",
        "<j.former@example.net>: recipient address rejected: user unknown",
        "hard-address",
    )
    good = Tried(
        at + timedelta(seconds=1),
        1400,
        "mx.example.org",
        "203.0.113.18",
        ours,
        *tls,
        250,
        "2.0.0",
        "Ok: queued as 4ZkT7n2Wq9",
        "",
    )
    second = at + timedelta(minutes=5)
    service.queue.settle(
        [
            Result(work[to[0]], "deferred", (grey,), second),
            Result(work[to[1]], "delivered", (good,)),
            Result(work[to[2]], "failed", (gone,)),
        ],
        at + timedelta(seconds=3),
    ).result()
    again = [item for item in service.queue.claim(second + timedelta(seconds=1), 100) if item.address == to[0]]
    many = Tried(
        second + timedelta(seconds=14),
        1100,
        "mx1.post.example",
        "192.0.2.31",
        ours,
        *tls,
        451,
        "4.7.1",
        "Too many messages from 198.51.100.7, try again in 10 minutes",
        "rate",
    )
    service.queue.settle(
        [Result(item, "deferred", (many,), second + timedelta(minutes=10)) for item in again],
        second + timedelta(seconds=15),
    ).result()
    third = second + timedelta(minutes=10)
    last = [item for item in service.queue.claim(third + timedelta(seconds=1), 100) if item.address == to[0]]
    none = Tried(
        third,
        30_000,
        "mx2.post.example",
        "2001:db8::31",
        ours,
        "",
        "",
        0,
        "",
        "Connect timed out after 30 s",
        "connect",
    )
    service.queue.settle(
        [Result(item, "deferred", (none,), now + timedelta(minutes=4)) for item in last],
        third + timedelta(seconds=30),
    ).result()
    return made
