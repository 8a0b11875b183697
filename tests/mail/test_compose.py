from __future__ import annotations

import re
from base64 import b64decode
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendry.mail.address import Mailbox
from sendry.mail.compose import Attachment, Composed, Draft, DraftError, compose
from sendry.mail.newlines import has_only_crlf

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ANNA = Mailbox("Anna", "anna@example.com")
BOB = Mailbox("", "bob@example.org")
LINES = st.text(alphabet=st.one_of(st.characters(), st.sampled_from('\r\n\0\t =?_."\\<>,;:@()йя漢😀')), max_size=90)


def draft(**fields: Any) -> Draft:
    return Draft(**{"from_": ANNA, "to": (BOB,), "message_id": "1@example.com", "date": NOON, **fields})


def read(composed: Composed) -> EmailMessage:
    message = BytesParser(policy=policy.default).parsebytes(composed.raw)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def attempt(wanted: Draft) -> Composed | DraftError:
    try:
        return compose(wanted)
    except DraftError as fault:
        return fault


def first_name(composed: Composed) -> str:
    """The display name in To; the old reader, since the new one puts blanks between encoded words in names."""
    message = BytesParser(policy=policy.compat32).parsebytes(composed.raw)
    name, _ = getaddresses([message["to"]])[0]
    return str(make_header(decode_header(name)))


def names_of(composed: Composed) -> list[str]:
    return [name.lower() for name in read(composed)]


def newlines(text: str) -> str:
    """As a reader gets it: one kind of line end, and one at the end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else text + "\n"


PLAIN_NAMES = [
    "from", "to", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding",
]  # fmt: skip


# --- the promise ---


@settings(max_examples=300)
@given(subject=LINES, name=LINES, header=LINES, value=LINES)
def test_any_string_is_refused_by_name_or_arrives_as_it_was(subject: str, name: str, header: str, value: str) -> None:
    wanted = draft(subject=subject, to=(Mailbox(name, "b@example.org"), BOB), headers=((f"X-{header}", value),))
    composed = attempt(wanted)
    if isinstance(composed, DraftError):
        assert composed.field in ("subject", "to") or composed.field.startswith("headers.")
        return
    assert names_of(composed) == [
        *PLAIN_NAMES[:5], f"x-{header}".lower(), "mime-version", "content-type", "content-transfer-encoding",
    ]  # fmt: skip
    message = read(composed)
    assert message["subject"] == subject.strip(" ")
    assert [entry.addr_spec for entry in message["to"].addresses] == ["b@example.org", "bob@example.org"]
    assert first_name(composed) == name.strip()
    assert message[f"x-{header}"] == value.strip(" ")
    assert has_only_crlf(composed.raw)
    assert composed.raw.isascii()
    assert max(map(len, composed.head.split(b"\r\n"))) <= 998


@settings(max_examples=150)
@given(text=st.none() | LINES, html=st.none() | LINES)
def test_any_text_and_html_arrive_as_they_were(text: str | None, html: str | None) -> None:
    composed = attempt(draft(text=text, html=html))
    if isinstance(composed, DraftError):
        assert composed.field in ("text", "html")
        assert "surrogate" in composed.reason
        return
    message = read(composed)
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    if text is not None:
        assert plain is not None
        assert newlines(plain.get_content()) == newlines(text)
    if html is not None:
        assert rich is not None
        assert newlines(rich.get_content()) == newlines(html)
    assert (plain is None) == (text is None and html is not None)
    assert has_only_crlf(composed.raw)
    assert composed.raw.isascii()
    assert b"\0" not in composed.raw
    assert max(map(len, composed.body.split(b"\r\n"))) <= 998


@settings(max_examples=150)
@given(
    filename=LINES,
    kind=st.sampled_from(["", "application/pdf", "text/plain; charset=utf-8", "message/rfc822"]) | LINES,
    content=st.binary(max_size=300),
    content_id=st.just("") | LINES,
    inline=st.booleans(),
)
def test_any_attachment_is_refused_by_name_or_arrives_as_it_was(
    filename: str, kind: str, content: bytes, content_id: str, inline: bool
) -> None:
    attachment = Attachment(filename, kind, content, content_id, inline)
    composed = attempt(draft(html="<p>x</p>", text="x", attachments=(attachment,)))
    if isinstance(composed, DraftError):
        assert re.fullmatch(r"attachments\[0\]\.(filename|content_type|content_id)", composed.field)
        return
    message = read(composed)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in leaves[:2]] == ["text/plain", "text/html"]
    (part,) = leaves[2:]
    assert part.get_payload(decode=True) == content
    expected = re.split(r"[/\\]", filename)[-1].strip()
    assert part.get_filename() == (expected if expected.strip(".") else "attachment")
    assert part.get_content_disposition() == ("inline" if inline else "attachment")
    assert part["content-id"] == (f"<{content_id.removeprefix('<').removesuffix('>')}>" if content_id else None)
    assert part.get_content_maintype() not in ("message", "multipart")


# --- heads ---


def test_a_plain_mail_has_the_fields_it_needs_and_no_others() -> None:
    composed = compose(draft(subject="Hello", text="Hi\n"))
    assert composed.raw == (
        b"From: Anna <anna@example.com>\r\nTo: bob@example.org\r\nSubject: Hello\r\n"
        b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nHi\r\n"
    )
    assert not composed.needs_smtputf8


def test_the_same_draft_gives_the_same_octets() -> None:
    both = draft(text="a", html="b", attachments=(Attachment("x.pdf", "", b"1"),))
    assert compose(both).raw == compose(both).raw


@pytest.mark.parametrize(
    "subject",
    [
        "Счёт № 17 за ноябрь: оплатите до пятницы, иначе будет поздно и придётся начинать всё сначала",
        "Re: Café au lait, s'il vous plaît, et un croissant pour le monsieur qui attend depuis une heure",
        "plain words " * 12 + "end",
        "x" * 2000,
        "=?utf-8?q?not_a_word?=",
        "two  blanks  kept " + "and some more words " * 6,
        "😀" * 60,
    ],
)
def test_a_long_or_foreign_subject_is_folded_in_short_lines_and_reads_back(subject: str) -> None:
    composed = compose(draft(subject=subject))
    assert read(composed)["subject"] == subject.strip()
    assert max(map(len, composed.head.split(b"\r\n"))) <= 78


def test_encoded_words_end_at_characters_and_have_at_most_75_octets() -> None:
    head = compose(draft(subject="漢" * 100 + "é" * 100, to=(Mailbox("я" * 200, "b@example.org"),))).head
    words = re.findall(rb"=\?utf-8\?b\?([^?]*)\?=", head)
    assert len(words) > 8
    for word in re.findall(rb"=\?[^ \r]*\?=", head):
        assert len(word) <= 75
    for word in words:
        b64decode(word).decode("utf-8")


def test_many_recipients_are_folded_between_addresses() -> None:
    to = tuple(Mailbox(f"Person {n}, Esq." if n % 2 else "Имя", f"person{n}@example.org") for n in range(60))
    composed = compose(draft(to=to))
    assert [entry.addr_spec for entry in read(composed)["to"].addresses] == [box.address for box in to]
    assert [entry.display_name for entry in read(composed)["to"].addresses] == [box.name for box in to]
    assert max(map(len, composed.head.split(b"\r\n"))) <= 78


def test_cc_and_reply_to_are_written_and_an_empty_to_is_said() -> None:
    composed = compose(draft(to=(), cc=(BOB,), reply_to=(ANNA, BOB)))
    message = read(composed)
    assert (message["cc"], message["to"]) == ("bob@example.org", None)
    assert message["reply-to"] == "Anna <anna@example.com>, bob@example.org"
    assert read(compose(draft(to=())))["to"] == "undisclosed-recipients:;"


def test_a_domain_of_u_labels_goes_out_as_a_labels() -> None:
    composed = compose(draft(to=(Mailbox("", "иван@почта.рф"), Mailbox("", "ivan@почта.рф"))))
    assert "To: иван@xn--80a1acny.xn--p1ai, ivan@xn--80a1acny.xn--p1ai".encode() in composed.head
    assert composed.needs_smtputf8
    assert not compose(draft(to=(Mailbox("", "ivan@почта.рф"),))).needs_smtputf8


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@b@c", "a b@example.org", "a@example.org\r\nBcc: x@y.example", "a@example.org>, <b@x"]
)
def test_a_mailbox_that_is_no_address_is_refused_wherever_it_stands(address: str) -> None:
    for field, value in (("from_", Mailbox("", address)), ("cc", (BOB, Mailbox("", address)))):
        with pytest.raises(DraftError) as caught:
            compose(draft(**{field: value}))
        assert caught.value.field == field.strip("_")


@pytest.mark.parametrize("message_id", ["", "x", "a@b@c", "<a@b", "a@b\r\nBcc: x@y", "a b@c", "é@c"])
def test_a_message_id_must_be_one(message_id: str) -> None:
    if message_id == "<a@b":
        assert b"Message-ID: <a@b>\r\n" in compose(draft(message_id=message_id)).head
        return
    with pytest.raises(DraftError, match="message_id"):
        compose(draft(message_id=message_id))


# --- custom headers ---


@pytest.mark.parametrize(
    "name",
    [
        "From", "FROM", "Sender", "To", "Cc", "Bcc", "Subject", "Date", "Message-Id", "Received", "DKIM-Signature",
        "Return-Path", "MIME-Version", "Content-Type", "content-foo", "Resent-To", "ARC-Seal",
    ],
)  # fmt: skip
def test_a_header_of_ours_cannot_be_given(name: str) -> None:
    with pytest.raises(DraftError, match=re.escape(name)):
        compose(draft(headers=((name, "x"),)))


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nBcc", "X\0", "Тест", "X" * 65])
def test_a_header_name_has_the_characters_of_rfc_5322_only(name: str) -> None:
    with pytest.raises(DraftError, match="header name") as caught:
        compose(draft(headers=((name, "x"),)))
    assert caught.value.field == f"headers.{name}"


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: b@example.com", "a\nb", "a\rb", "a\0", "a\x1b", "a\x7f", "a\u2028b", "\ud800"]
)
def test_a_control_character_is_refused_in_every_field(value: str) -> None:
    fields: list[tuple[str, dict[str, Any]]] = [
        ("headers.X-A", {"headers": (("X-A", value),)}),
        ("subject", {"subject": value}),
        ("from", {"from_": Mailbox(value, "a@example.com")}),
        ("cc", {"cc": (Mailbox(value, "a@example.com"),)}),
        ("headers.Reply-To", {"headers": (("Reply-To", f"{value} <a@example.com>"),)}),
        ("headers.References", {"headers": (("References", value),)}),
        ("attachments[0].filename", {"attachments": (Attachment(value, "", b""),)}),
        ("attachments[0].content_type", {"attachments": (Attachment("", f"a/b; c={value}", b""),)}),
        ("attachments[0].content_id", {"attachments": (Attachment("", "", b"", value),)}),
    ]
    for field, wrong in fields:
        with pytest.raises(DraftError) as caught:
            compose(draft(**wrong))
        assert caught.value.field == field


def test_a_header_that_readers_take_once_may_be_given_once() -> None:
    for name, value in (("References", "<1@x>"), ("Reply-To", "a@example.com"), ("List-Unsubscribe", "<https://x>")):
        compose(draft(headers=((name, value),)))
        with pytest.raises(DraftError, match="only once"):
            compose(draft(headers=((name, value), (name.upper(), value))))
    with pytest.raises(DraftError, match="only once"):
        compose(draft(reply_to=(BOB,), headers=(("Reply-To", "a@example.com"),)))
    assert names_of(compose(draft(headers=(("X-A", "1"), ("X-A", "2"))))).count("x-a") == 2


def test_a_reply_to_header_must_be_addresses() -> None:
    assert read(compose(draft(headers=(("Reply-To", "Я <a@example.com>"),))))["reply-to"] == "Я <a@example.com>"
    with pytest.raises(DraftError, match=r"headers\.Reply-To"):
        compose(draft(headers=(("Reply-To", "nobody"),)))


def test_a_header_with_a_grammar_of_its_own_is_never_encoded() -> None:
    link = "<https://example.com/" + "x" * 300 + ">, <mailto:a@example.com>"
    assert read(compose(draft(headers=(("List-Unsubscribe", link),))))["list-unsubscribe"] == link
    with pytest.raises(DraftError, match="ASCII"):
        compose(draft(headers=(("References", "<é@x>"),)))
    with pytest.raises(DraftError, match="longer than a line"):
        compose(draft(headers=(("List-Unsubscribe", "<https://" + "x" * 1000 + ">"),)))


# --- bodies ---


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("", "7bit"),
        ("plain\r\ntext\twith tab", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("one\n" + "x" * 999 + "\ntwo", "quoted-printable"),
        ("mostly ascii, one é", "quoted-printable"),
        ("привет", "base64"),
        ("a\0b", "quoted-printable"),
        ("From here", "quoted-printable"),
        ("a\nFrom here", "quoted-printable"),
        (".\n..\n.", "7bit"),
    ],
)
def test_a_body_has_the_simplest_encoding_that_is_safe(text: str, encoding: str) -> None:
    composed = compose(draft(text=text))
    message = read(composed)
    assert message["content-transfer-encoding"] == encoding
    assert newlines(message.get_content()) == newlines(text)
    assert b"\r\nFrom " not in composed.raw
    if encoding != "7bit":
        assert max(map(len, composed.body.split(b"\r\n"))) <= 76


def test_parts_are_nested_as_readers_expect() -> None:
    composed = compose(
        draft(
            text="t",
            html='<img src="cid:logo">',
            attachments=(Attachment("logo.png", "", b"p", "logo", True), Attachment("a.pdf", "", b"f")),
        )
    )
    assert [part.get_content_type() for part in read(composed).walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
        "application/pdf",
    ]  # fmt: skip


def test_an_inline_part_without_html_is_still_sent() -> None:
    composed = compose(draft(text="t", attachments=(Attachment("logo.png", "", b"p", "logo", True),)))
    assert [part.get_content_type() for part in read(composed).walk()] == [
        "multipart/mixed",
        "text/plain",
        "image/png",
    ]


def test_two_attachments_cannot_have_one_content_id() -> None:
    same = Attachment("a.png", "", b"", "logo", True)
    with pytest.raises(DraftError, match=r"attachments\[1\]\.content_id"):
        compose(draft(html="x", attachments=(same, same)))


def test_a_boundary_that_stands_in_the_text_is_not_used() -> None:
    boundary = read(compose(draft(text="x", html="y"))).get_boundary()
    text = f"--{boundary}\n--{boundary}--\n--{boundary}1\n"
    composed = compose(draft(text=text, html="y"))
    plain = read(composed).get_body(("plain",))
    assert plain is not None
    assert newlines(plain.get_content()) == text
    assert str(read(composed).get_boundary()) not in text


def test_a_type_is_found_by_the_name_and_a_whole_message_is_sent_as_octets() -> None:
    attachments = (
        Attachment("a.PDF", "", b"x"),
        Attachment("noext", "", b"x"),
        Attachment("mail.eml", "message/rfc822", b"x"),
        Attachment("c.ics", 'text/calendar; method=REQUEST; name="x;y"; charset=utf-8', b"x"),
    )
    parts = list(read(compose(draft(text="t", attachments=attachments))).iter_attachments())
    assert [part.get_content_type() for part in parts] == [
        "application/pdf", "application/octet-stream", "application/octet-stream", "text/calendar",
    ]  # fmt: skip
    assert parts[3]["content-type"].params == {"method": "REQUEST", "charset": "utf-8", "name": "c.ics"}


def test_a_path_is_cut_from_a_file_name() -> None:
    attachments = tuple(Attachment(name, "", b"") for name in ("/etc/passwd", "..\\..\\x.txt", "..", "a/", "a" * 255))
    parts = read(compose(draft(text="t", attachments=attachments))).iter_attachments()
    assert [part.get_filename() for part in parts] == ["passwd", "x.txt", "attachment", "attachment", "a" * 255]
    with pytest.raises(DraftError, match="255"):
        compose(draft(attachments=(Attachment("a" * 256, "", b""),)))


def test_large_content_is_whole_lines_of_base64() -> None:
    content = bytes(range(256)) * 1000
    composed = compose(draft(text="t", attachments=(Attachment("a.bin", "", content),)))
    (part,) = read(composed).iter_attachments()
    assert part.get_payload(decode=True) == content
    lines = composed.body.partition(b"base64\r\n\r\n")[2].split(b"\r\n")
    assert {len(line) for line in lines[:4490]} == {76}
