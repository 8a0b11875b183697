"""What a caller may send: typed requests, read straight from the octets, with every fault named at once.

Pure. Promise: a request that comes out of here has fields of the right type, addresses in canonical form, decoded
attachments, and no line break or control character in anything that becomes a header field. Unknown fields are
faults, and so are fields whose feature does not exist yet: nothing is taken and then left undone.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetPydanticSchema, ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

from sendry.mail.address import BadAddress, Mailbox, parse_mailbox

MOST_IN_BATCH: Final = 1000
MOST_ADDRESSES: Final = 10_000  # of one list; how many recipients a mail may have is smtp.max_recipients
MOST_TAGS: Final = 20
MOST_METADATA: Final = 50
MOST_METADATA_CHARACTERS: Final = 8192
MOST_ATTACHMENTS: Final = 200
MOST_HEADERS: Final = 50
LONGEST_SUBJECT: Final = 2000
LONGEST_TAG: Final = 100
LONGEST_HEADER: Final = 8000
LATEST: Final = timedelta(days=60)

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAME: Final = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_MEDIA_TYPE: Final = re.compile(
    rf'({_NAME}/{_NAME})(?:[ \t]*;[ \t]*{_NAME}=(?:[A-Za-z0-9!#$&^_.+-]{{1,100}}|"[ !#-\[\]-~]{{0,100}}"))*'
)
_CONTENT_ID: Final = re.compile(r"<?([A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200})>?")
_FIELD_NAME: Final = re.compile(r"[!-9;-~]{1,76}")
_WRITTEN: Final = "is written by Sendry and cannot be set"
_OWN_FIELDS: Final = {
    **dict.fromkeys(
        ("date", "message-id", "mime-version", "sender", "return-path", "received", "dkim-signature", "errors-to"),
        _WRITTEN,
    ),
    **dict.fromkeys(("authentication-results", "delivered-to", "x-original-to", "apparently-to"), _WRITTEN),
    **{name: f"has a field of its own: use {name}" for name in ("from", "to", "cc", "bcc", "subject")},
    "reply-to": "has a field of its own: use reply_to",
}
_OWN_PREFIXES: Final = ("content-", "resent-", "arc-", "received-", "x-sendry-")
RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")

MISSING_FEATURE: Final = "not_yet_available"


def _wrong(message: str) -> PydanticCustomError:
    # The message is ours and finished: braces in it are not placeholders.
    return PydanticCustomError("wrong", "{why}", {"why": message})


@lru_cache(maxsize=1024)  # thousands of mails come from one sender
def _mailbox(text: str) -> Mailbox:
    try:
        return parse_mailbox(text)
    except BadAddress as fault:
        raise _wrong(f"is no address that mail can go to: {fault.why}") from None


def _line(text: str) -> str:
    if not text.isprintable() and _CONTROL.search(text):
        raise _wrong("may not have line breaks or control characters")
    return text


def _header_name(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name):
        raise _wrong("is no header name: letters, digits and hyphens, at most 76")
    lower = name.lower()
    if lower in _OWN_FIELDS:
        raise _wrong(_OWN_FIELDS[lower])
    if lower.startswith(_OWN_PREFIXES):
        raise _wrong("is written by the mail system and cannot be set")
    return name


def _tag(text: str) -> str:
    if not text.strip():
        raise _wrong("may not be empty")
    return _line(text)


def _metadata(values: dict[str, str]) -> dict[str, str]:
    total = 0
    for name, value in values.items():
        if not name:
            raise _wrong("may not have an empty name")
        if "\0" in name or "\0" in value:
            raise _wrong(f"may not have a NUL character (in {name[:40]!r})")
        total += len(name) + len(value)
    if total > MOST_METADATA_CHARACTERS:
        raise _wrong(f"may have {MOST_METADATA_CHARACTERS} characters in all, not {total}")
    return values


def _filename(name: str) -> str:
    _line(name)
    if "/" in name or "\\" in name or name.strip(" .") == "":
        raise _wrong("must be a plain file name, without a path")
    if len(name.encode()) > 255:
        raise _wrong("must be at most 255 octets long")
    return name


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise _wrong("must be base64 (A-Z a-z 0-9 + / with = at the end), without line breaks") from None


def _media_type(text: str) -> str:
    match = _MEDIA_TYPE.fullmatch(text)
    if match is None:
        raise _wrong("must be a media type such as application/pdf")
    if match[1].lower().startswith(("multipart/", "message/")):
        raise _wrong("may not be multipart/… or message/…; use application/octet-stream for a mail as a file")
    return text


def _content_id(text: str) -> str:
    match = _CONTENT_ID.fullmatch(text)
    if match is None:
        raise _wrong("must be letters, digits and signs like . _ - @, as in logo@example.com")
    return match[1]


def _send_at(text: str, info: ValidationInfo[Any]) -> datetime:
    if not RFC3339.fullmatch(text):
        raise _wrong("must be a time with its zone, as in 2030-12-31T23:59:00Z or 2030-12-31T23:59:00+03:00")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise _wrong("is no time that exists") from None
    now: datetime = (info.context or {})["now"]
    try:
        wait = moment - now
    except OverflowError:
        raise _wrong("is no time that exists") from None
    if wait <= timedelta(0):
        raise _wrong("must be in the future; leave it out to send now")
    if wait > LATEST:
        raise _wrong(f"may be at most {LATEST.days} days ahead")
    return moment


def _not_yet(value: Any) -> Any:
    if value:  # false, null and empty ask for nothing
        raise PydanticCustomError(MISSING_FEATURE, "is not yet available; leave it out")
    return value


def _text_as(convert: Callable[[str], Any], longest: int | None = None) -> GetPydanticSchema:
    """A field that is text in JSON and something else in the request."""
    text = core_schema.str_schema(strict=True, max_length=longest)
    return GetPydanticSchema(lambda _type, _handler: core_schema.no_info_after_validator_function(convert, text))


Address = Annotated[Mailbox, _text_as(_mailbox, longest=1000)]
Octets = Annotated[bytes, _text_as(_base64)]
Later = Annotated[Any, AfterValidator(_not_yet)]
Moment = Annotated[
    datetime,
    GetPydanticSchema(
        lambda _type, _handler: core_schema.with_info_after_validator_function(
            _send_at, core_schema.str_schema(strict=True)
        )
    ),
]
Addresses = Annotated[list[Address], Field(max_length=MOST_ADDRESSES)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, Field(max_length=LONGEST_HEADER), AfterValidator(_line)]
Tag = Annotated[str, Field(max_length=LONGEST_TAG), AfterValidator(_tag)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class AttachmentRequest(_Request):
    """One file. With a `content_id` it is shown inside the HTML by `cid:`."""

    filename: Annotated[str, AfterValidator(_filename)]
    content: Octets
    content_type: Annotated[str, AfterValidator(_media_type)] | None = None
    content_id: Annotated[str, AfterValidator(_content_id)] | None = None


class SendRequest(_Request):
    """One mail to send; null is the same as leaving a field out. Read it with `context={"now": …}`."""

    sender: Address | None = Field(None, alias="from")
    to: Annotated[Addresses, Field(min_length=1)]
    cc: Addresses | None = None
    bcc: Addresses | None = None
    reply_to: Address | None = None
    subject: Annotated[str, Field(max_length=LONGEST_SUBJECT), AfterValidator(_line)] | None = None
    body: str | None = None
    html: str | None = None
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=MOST_HEADERS)] | None = None
    attachments: Annotated[list[AttachmentRequest], Field(max_length=MOST_ATTACHMENTS)] | None = None
    send_at: Moment | None = None
    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=MOST_METADATA), AfterValidator(_metadata)] | None = None
    template_id: Later = None
    template_name: Later = None
    data: Later = None
    track_opens: Later = None
    track_clicks: Later = None


class BatchRequest(_Request):
    """Up to 1,000 mails."""

    messages: Annotated[list[SendRequest], Field(min_length=1, max_length=MOST_IN_BATCH)]
