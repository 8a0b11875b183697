from __future__ import annotations

import base64
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendry.mail.address import Mailbox
from sendry.mail.compose import Attachment, Draft, compose
from sendry.mail.mime import Limits, Mail, part_content, read

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def mail(*lines: str) -> bytes:
    return "\r\n".join(lines).encode()


def kinds(found: Mail) -> list[tuple[str, str]]:
    return [(part.path, part.content_type) for part in found.parts]


FULL = compose(
    Draft(
        from_=Mailbox("Анна", "anna@example.com"),
        to=(Mailbox("", "bob@example.org"), Mailbox("Smith, C.", "carol@example.net")),
        cc=(Mailbox("", "dan@example.org"),),
        reply_to=(Mailbox("", "reply@example.com"),),
        message_id="1@example.com",
        date=NOON,
        subject="Счёт за ноябрь",
        text="Привет\nкак дела\n",
        html='<p>Привет <img src="cid:logo"></p>',
        attachments=(
            Attachment("logo.png", "", b"\x89PNG", "logo", True),
            Attachment("договор № 5.pdf", "application/pdf", b"%PDF" * 50),
        ),
    )
).raw


# --- what is shown ---


def test_a_composed_mail_reads_back() -> None:
    found = read(FULL)
    assert found.subject == "Счёт за ноябрь"
    assert [str(entry) for entry in found.from_] == ["Анна <anna@example.com>"]
    assert [(entry.name, entry.address) for entry in found.to] == [
        ("", "bob@example.org"),
        ("Smith, C.", "carol@example.net"),
    ]
    assert [entry.address for entry in (*found.cc, *found.reply_to)] == ["dan@example.org", "reply@example.com"]
    assert (found.date, found.message_id) == (NOON, "<1@example.com>")
    assert found.text == "Привет\nкак дела\n"
    assert found.html is not None
    assert found.html.startswith("<p>Привет")
    assert not found.is_cut
    assert found.headers[0] == ("From", "Анна <anna@example.com>")
    assert found.head == FULL.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_the_parts_are_numbered_as_imap_counts_them() -> None:
    assert kinds(read(FULL)) == [
        ("", "multipart/mixed"), ("1", "multipart/alternative"), ("1.1", "text/plain"), ("1.2", "multipart/related"),
        ("1.2.1", "text/html"), ("1.2.2", "image/png"), ("2", "application/pdf"),
    ]  # fmt: skip


def test_attachments_are_told_from_texts_and_pictures() -> None:
    parts = read(FULL).parts
    assert [part.filename for part in parts if part.is_attachment] == ["договор № 5.pdf"]
    logo = parts[5]
    assert (logo.content_id, logo.disposition, logo.filename) == ("logo", "inline", "logo.png")


def test_content_is_decoded_and_its_size_told_beforehand() -> None:
    parts = read(FULL).parts
    assert part_content(FULL, 5) == b"\x89PNG"
    assert part_content(FULL, 6) == b"%PDF" * 50
    assert [parts[5].size, parts[6].size] == [4, 200]
    assert part_content(FULL, 7) == b""
    assert part_content(FULL, -1) == b""


def test_a_mail_of_one_part_is_its_own_only_part() -> None:
    raw = mail("Subject: x", "", "Hello", "")
    found = read(raw)
    assert (found.text, found.html) == ("Hello\n", None)
    assert kinds(found) == [("", "text/plain")]
    assert part_content(raw, 0) == b"Hello\r\n"


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"\r\n\r\n", b"Subject: x", b"Subject: x\r\n"])
def test_an_empty_mail_has_an_empty_text(raw: bytes) -> None:
    found = read(raw)
    assert found.text is not None
    assert found.text.strip() == ""
    assert len(found.parts) == 1


def test_a_mail_with_bare_line_feeds_is_read_the_same() -> None:
    found = read(FULL.replace(b"\r\n", b"\n"))
    assert found.text == read(FULL).text
    assert part_content(FULL.replace(b"\r\n", b"\n"), 6) == b"%PDF" * 50


def test_a_body_without_its_empty_line_begins_at_the_first_line_that_is_no_field() -> None:
    assert read(b"Subject: x\r\nHello world\r\nmore").text == "Hello world\nmore"
    assert read(b"Hello world").text == "Hello world"
    found = read(b"From x@y Sun Nov 22\r\nSubject: x\r\n\r\nHello")
    assert (found.subject, found.text) == ("x", "Hello")


def test_texts_around_an_attachment_are_shown_together() -> None:
    raw = mail(
        "Content-Type: multipart/mixed; boundary=b", "",
        "--b", "", "one", "--b", "Content-Disposition: attachment; filename=a.txt", "", "file",
        "--b", "", "two", "--b--",
    )  # fmt: skip
    found = read(raw)
    assert found.text == "one\ntwo"
    assert [part.filename for part in found.parts if part.is_attachment] == ["a.txt"]


def test_a_forwarded_message_is_an_attachment_not_text() -> None:
    raw = mail(
        "Content-Type: multipart/mixed; boundary=b", "", "--b", "", "see below",
        "--b", "Content-Type: message/rfc822", "", "Subject: inner", "", "inner text", "--b--",
    )  # fmt: skip
    found = read(raw)
    assert found.text == "see below"
    assert [(part.content_type, part.is_attachment) for part in found.parts[2:]] == [("message/rfc822", True)]
    assert part_content(raw, 2) == b"Subject: inner\r\n\r\ninner text"


def test_charsets_of_texts_are_honoured_and_bad_ones_survived() -> None:
    def with_charset(charset: str, octets: bytes) -> str | None:
        return read(b"Content-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n" + octets).text

    assert with_charset("windows-1251", "Привет".encode("cp1251")) == "Привет"
    assert with_charset("KOI8-R", "Привет".encode("koi8-r")) == "Привет"
    assert with_charset("utf-8", b"\xff\xfe") == "\ufffd\ufffd"
    assert with_charset("nonsense", "Привет".encode()) == "Привет"
    assert with_charset("us-ascii", b"caf\xe9") == "café"
    assert with_charset('"iso-2022-jp"', "漢字".encode("iso-2022-jp")) == "漢字"


def test_html_without_a_charset_is_read_by_its_meta_tag() -> None:
    html = '<html><head><meta http-equiv="Content-Type" content="text/html; charset=windows-1251"></head>Привет'
    assert read(b"Content-Type: text/html\r\n\r\n" + html.encode("cp1251")).html == html


@pytest.mark.parametrize(
    ("field", "filename"),
    [
        ('attachment; filename="a b.pdf"', "a b.pdf"),
        ("attachment; filename=a.pdf; size=3", "a.pdf"),
        ("attachment; filename*=utf-8''%D1%8F.pdf", "я.pdf"),
        ("attachment; filename=\"x.pdf\"; filename*=utf-8''%D1%8F.pdf", "я.pdf"),
        ("attachment; filename*0*=koi8-r''%D1; filename*1*=%D1; filename*2=.pdf", "яя.pdf"),
        ('attachment; filename*1="b.pdf"; filename*0="a"', "ab.pdf"),
        ('attachment; filename="=?utf-8?b?0Y8=?=.pdf"', "я.pdf"),
        ('attachment;\r\n filename="a;b\\"c.pdf"', 'a;b"c.pdf'),
        ('attachment; filename="../../etc/passwd"', ".._.._etc_passwd"),
        ('attachment; filename="a\0b"', "a b"),
        ('attachment; filename="unclosed', "unclosed"),
        ("attachment; filename*=nonsense", "nonsense"),
        ("attachment; filename*=''", ""),
        ("ATTACHMENT; FILENAME=A.PDF", "A.PDF"),
    ],
)
def test_file_names_in_all_their_forms(field: str, filename: str) -> None:
    found = read(f"Content-Type: application/pdf\r\nContent-Disposition: {field}\r\n\r\nx".encode())
    assert found.parts[0].filename == filename
    assert found.parts[0].is_attachment


@pytest.mark.parametrize(
    "date",
    ["", "nonsense", "Sun, 99 Nov 2026 12:00:00 +0000", "Sun, 22 Nov 99999 12:00:00 +9999"],
)
def test_a_date_that_is_none_is_none(date: str) -> None:
    assert read(f"Date: {date}\r\n\r\n".encode()).date is None


def test_a_date_without_a_zone_is_taken_as_utc() -> None:
    assert read(b"Date: Sun, 22 Nov 2026 12:00:00 -0000\r\n\r\n").date == NOON
    assert read(b"Date: 22 Nov 2026 15:00:00 +0300 (MSK)\r\n\r\n").date == NOON


# --- boundaries ---


def test_a_boundary_that_begins_like_another_is_not_taken_for_it() -> None:
    raw = mail(
        "Content-Type: multipart/mixed; boundary=b", "", "preamble", "--bb", "--b-", "--b \t", "", "one --b", "--b-x",
        "--b--", "epilogue", "--b", "", "not a part",
    )  # fmt: skip
    found = read(raw)
    assert found.text == "one --b\n--b-x"
    assert len(found.parts) == 2


def test_a_multipart_that_is_not_closed_ends_with_the_mail() -> None:
    assert (
        read(mail("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "one", "--b", "", "two")).text
        == "one\ntwo"
    )


def test_a_part_may_be_empty_or_have_no_body() -> None:
    found = read(
        mail("Content-Type: multipart/mixed; boundary=b", "", "--b", "--b", "Content-Type: a/b", "--b", "", "--b--")
    )
    assert kinds(found) == [("", "multipart/mixed"), ("1", "text/plain"), ("2", "a/b"), ("3", "text/plain")]


def test_a_multipart_without_a_boundary_is_shown_as_text() -> None:
    found = read(mail("Content-Type: multipart/mixed", "", "--b", "", "one"))
    assert found.text == "--b\n\none"
    assert len(found.parts) == 1


def test_damaged_base64_gives_as_much_as_can_be_had() -> None:
    def content(encoded: bytes) -> bytes:
        return part_content(b"Content-Transfer-Encoding: BASE64\r\n\r\n" + encoded, 0)

    assert content(base64.b64encode(b"hello world")) == b"hello world"
    assert content(b"aGVsbG8") == b"hello"
    assert content(b"aGVsbG8gd29ybGQ") == b"hello world"
    assert content(b"aG VsbG8=!\r\n") == b"hello"
    assert content(b"a") == b""


# --- limits and hostile input ---


def nested(depth: int) -> bytes:
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(depth)
    )
    return head + b"\r\nthe core"


def test_nesting_beyond_the_limit_is_cut_and_said() -> None:
    found = read(nested(5000))
    assert found.is_cut
    assert len(found.parts) == Limits().depth + 1
    assert not read(nested(20)).is_cut
    assert read(nested(20)).text == "the core"


def test_thousands_of_parts_are_cut_and_said() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 50_000
    found = read(raw)
    assert found.is_cut
    assert len(found.parts) == Limits().parts
    assert read(raw, Limits(parts=3)).text == "x\nx"


def test_the_limit_counts_the_parts_of_all_multiparts() -> None:
    inner = "\r\n".join(["Content-Type: multipart/mixed; boundary=i", "", *(["--i", "", "x"] * 30), "--i--", ""])
    raw = mail("Content-Type: multipart/mixed; boundary=o", "", *(["--o", inner] * 30), "--o--")
    found = read(raw)
    assert found.is_cut
    assert len(found.parts) == Limits().parts
    assert part_content(raw, 499) == b"x"


def test_a_long_text_is_cut_and_said() -> None:
    for encoding, body in (("7bit", b"x" * 5000), ("base64", base64.encodebytes(b"x" * 5000))):
        raw = b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + body
        found = read(raw, Limits(text=1000))
        assert found.text == "x" * 1000
        assert found.is_cut
        assert read(raw).text == "x" * 5000
        assert found.parts[0].size == 5000


def test_very_many_fields_are_cut_and_said() -> None:
    found = read(b"A: 1\r\n" * 5000 + b"\r\nbody")
    assert (len(found.headers), found.is_cut, found.text) == (1000, True, "body")


def test_what_is_shown_has_no_nul_and_no_half_surrogate() -> None:
    found = read(b"Subject: a\0b\r\nContent-Type: text/plain; charset=utf-7\r\n\r\na\0b+2AA-")
    assert found.text is not None
    assert "\0" not in found.text + found.subject
    found.text.encode("utf-8")


PIECES = [
    b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/digest; boundary=\"b\"\r\n",
    b"Content-Type: text/html; charset=utf-16\r\n", b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Disposition: attachment; filename*0*=x''%ff\r\n",
    b"Date: 31 Feb 2026 99:99\r\n", b"From: <a@b>, \"c\r\n", b"Subject: =?idna?q?a=2e?= =?x?b?/?=\r\n",
    b"Content-ID: <\r\n",
    b"--b\r\n", b"--b--\r\n", b"\r\n", b"\n", b"\r", b"\0", b"=\xff=3", b"QUJD", b" ", b";", b"text\r\n",
]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join) | st.binary(max_size=200))
def test_reading_never_fails_whatever_the_octets(raw: bytes) -> None:
    found = read(raw)
    for part in found.parts:
        part_content(raw, part.index)
        assert part.size >= 0
    shown = (found.text or "") + (found.html or "") + found.subject + "".join(value for _, value in found.headers)
    shown.encode("utf-8")
    assert "\0" not in shown
    assert [part.index for part in found.parts] == list(range(len(found.parts)))


@settings(max_examples=150)
@given(st.data())
def test_a_composed_mail_with_flipped_octets_never_fails(data: st.DataObject) -> None:
    raw = bytearray(FULL)
    for _ in range(data.draw(st.integers(1, 12))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(b'\r\n\0"=;-: \xff'))
    found = read(bytes(raw))
    for part in found.parts:
        part_content(bytes(raw), part.index)


# --- held against the standard library ---

TREES = st.recursive(
    st.tuples(st.sampled_from(["plain", "html", "octets"]), st.text(alphabet="ab -=я\n.", max_size=30)),
    lambda children: st.lists(children, min_size=1, max_size=3),
    max_leaves=6,
)


def written(tree: object) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    if isinstance(tree, list):
        message.make_mixed()
        for branch in tree:
            message.attach(written(branch))
        return message
    assert isinstance(tree, tuple)
    kind, text = tree
    if kind == "octets":
        message.set_content(text.encode(), maintype="application", subtype="octet-stream", filename="ф.bin")
    else:
        message.set_content(text, subtype=kind)
    return message


@settings(max_examples=100)
@given(TREES)
def test_the_tree_is_that_of_the_standard_library(tree: object) -> None:
    raw = written(tree).as_bytes()
    theirs = list(BytesParser(policy=policy.SMTP).parsebytes(raw).walk())
    ours = read(raw).parts
    assert [part.content_type for part in ours] == [part.get_content_type() for part in theirs]
    for part, other in zip(ours, theirs, strict=True):
        if not other.is_multipart():
            assert part_content(raw, part.index) == other.get_payload(decode=True)
            assert part.filename == (other.get_filename() or "")
