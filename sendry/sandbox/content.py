"""What is inside a captured mail: the mail taken apart, its codes and links, and what lists show of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sendry.mail import mime
from sendry.mail.excerpts import html_to_text
from sendry.queue.captures import Description


@dataclass(frozen=True, slots=True)
class Contents:
    """A mail taken apart, with the one-time codes and the links a reader finds in it."""

    mail: mime.Mail
    codes: tuple[str, ...]
    links: tuple[str, ...]

    @property
    def attachments(self) -> tuple[mime.Part, ...]:
        """The parts that come as files."""
        return tuple(part for part in self.mail.parts if part.is_attachment)


@dataclass(frozen=True, slots=True)
class File:
    """One part with its octets, decoded."""

    part: mime.Part
    octets: bytes


def look_into(octets: bytes) -> Contents:
    """Take a mail apart; never raises on what a stranger sent."""
    mail = mime.read(octets)
    words = mail.text if mail.text else html_to_text(mail.html or "")
    return Contents(mail, mime.codes(f"{mail.subject}\n{words}"), mime.links(mail.text, mail.html))


def describe(number: int, octets: bytes) -> Description:
    """What lists show of the mail with this number."""
    contents = look_into(octets)
    return Description(
        message_id=number,
        preview=mime.preview(contents.mail.text, contents.mail.html),
        code=contents.codes[0] if contents.codes else "",
        link_count=len(contents.links),
        attachment_count=len(contents.attachments),
    )


def file_at(octets: bytes, index: int) -> File | None:
    """The part with this index in `mail.parts`, or None."""
    parts = mime.read(octets).parts
    if not 0 <= index < len(parts):
        return None
    return File(parts[index], mime.part_content(octets, index))
