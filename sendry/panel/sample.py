"""A test mail with all that the inbox can show: text, HTML, a code, a link, dark colours, a remote image, a file."""

from __future__ import annotations

import secrets
from datetime import datetime

from flask import render_template

from sendry.intake.accept import Intake
from sendry.mail.address import Mailbox
from sendry.mail.compose import Draft, compose
from sendry.mail.entities import Attachment
from sendry.mail.envelope import Addressee, Content, Envelope, Origin, OriginKind
from sendry.panel.language import gettext


def send_sample(intake: Intake, domain: str, client_ip: str, now: datetime) -> str:
    """Hand the mail in at the one door for mail; gives its id once it is on disk. Raises Refused."""
    digits = f"{secrets.randbelow(900_000) + 100_000}"
    code = f"{digits[:3]} {digits[3:]}"
    link = f"https://{domain}/sign-in/confirm?t={secrets.token_urlsafe(6)}"
    title = gettext("Here is your sign-in code")
    text = gettext("Type it where you started, within ten minutes. Nobody from our shop will ever ask you for it.")
    foot = gettext("Sendry sent this test mail to itself. It was captured and went nowhere.")
    sender, recipient = f"shop@{domain}", f"you@{domain}"
    composed = compose(
        Draft(
            from_=Mailbox(gettext("Example Shop"), sender),
            to=(Mailbox("", recipient),),
            message_id=f"{secrets.token_hex(12)}@{domain}",
            date=now,
            subject=gettext("Your sign-in code is %(code)s", code=code),
            text=f"{title}: {digits}\n\n{text}\n\n{link}\n\n{foot}\n",
            html=render_template(
                "mail/sample.html",
                title=title,
                text=text,
                foot=foot,
                code=code,
                link=link,
                pixel=f"https://{domain}/opened.gif",
            ),
            attachments=(Attachment("hello.txt", "text/plain", foot.encode()),),
        )
    )
    envelope = Envelope(
        sender=sender,
        recipients=(Addressee(recipient),),
        content=Content(composed.head, composed.body),
        origin=Origin(OriginKind.API, "panel", client_ip, may_relay=True),
    )
    return intake.accept(envelope, now).result()
