"""Addresses: RFC 5321 and nothing else, in one canonical form."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendry.mail.address import (
    BadAddress,
    Mailbox,
    domain_of,
    is_routed,
    normalise,
    parse_mailbox,
    parse_mailbox_list,
    parse_path,
)

LONG_LABELS = ".".join(["d" * 63] * 3)


def recipient(text: str, smtputf8: bool = False) -> str:
    return parse_path(text, allow_null=False, smtputf8=smtputf8)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a@b.com>", ("a@b.com", "")),
        (" <a@b.com>", ("a@b.com", "")),
        ("<A.b@B.Example.COM>", ("A.b@b.example.com", "")),
        ("<a@b.com> SIZE=12 BODY=8BITMIME", ("a@b.com", "SIZE=12 BODY=8BITMIME")),
        ("<a@b.com>   SIZE=12  ", ("a@b.com", "SIZE=12")),
        ("<a@b.com> ", ("a@b.com", "")),
        ("<>", ("", "")),
        (" <> RET=HDRS", ("", "RET=HDRS")),
        ("<a@b.com> ENVID=δ", ("a@b.com", "ENVID=δ")),
        ('<"a b"@b.com> SIZE=1', ('"a b"@b.com', "SIZE=1")),
        ('<"a>b"@b.com>', ('"a>b"@b.com', "")),
        ('<"a@b"@b.com>', ('"a@b"@b.com', "")),
    ],
)
def test_sender_paths_are_read(text: str, expected: tuple[str, str]) -> None:
    assert parse_path(text, allow_null=True, smtputf8=False) == expected


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("a+tag@b.com", "a+tag@b.com"),
        ("!#$%&'*+-/=?^_`{|}~@b.com", "!#$%&'*+-/=?^_`{|}~@b.com"),
        ("a%c@b.com", "a%c@b.com"),
        ("c!a@b.com", "c!a@b.com"),
        ("a@localhost", "a@localhost"),
        ("a@XN--E1AFMKFD.XN--P1AI", "a@xn--e1afmkfd.xn--p1ai"),
        ("a@xn--i-7iq.ws", "a@xn--i-7iq.ws"),
        ("a@ab--cd.com", "a@ab--cd.com"),
        ("a@1and1.com", "a@1and1.com"),
        ("a@b.4cd", "a@b.4cd"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[ipv6:2001:DB8:0::1]", "a@[IPv6:2001:db8::1]"),
        ("a@[IPv6:::ffff:192.0.2.1]", "a@[IPv6:::ffff:c000:201]"),
        ('"ab.c"@b.com', "ab.c@b.com"),
        ('"a\\b"@b.com', "ab@b.com"),
        ('"a\\"b"@b.com', '"a\\"b"@b.com'),
        ('"\\a\\ b"@b.com', '"a b"@b.com'),
        ('"a..b"@b.com', '"a..b"@b.com'),
        ('""@b.com', '""@b.com'),
        ('"a,b;c:d<e>(f)[g]"@b.com', '"a,b;c:d<e>(f)[g]"@b.com'),
        ("x" * 64 + "@b.com", "x" * 64 + "@b.com"),
        ("x@" + LONG_LABELS + "." + "e" * 60, "x@" + LONG_LABELS + "." + "e" * 60),
    ],
)
def test_addresses_come_out_in_one_form(written: str, canonical: str) -> None:
    assert recipient(f"<{written}>") == canonical
    assert normalise(written) == canonical
    assert normalise(canonical) == canonical


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@xn--hxajbheg2az3al.xn--jxalpdlp"),
        ("a@ПРИМЕР.РФ", "a@xn--e1afmkfd.xn--p1ai"),
        ("a@straße.de", "a@xn--strae-oqa.de"),
        ("a@пример.xn--p1ai", "a@xn--e1afmkfd.xn--p1ai"),
        ('"δ δ"@b.com', '"δ δ"@b.com'),
        ('"δ"@b.com', "δ@b.com"),
        ("💌@b.com", "💌@b.com"),
    ],
)
def test_unicode_addresses_need_smtputf8(written: str, canonical: str) -> None:
    assert recipient(f"<{written}>", smtputf8=True) == canonical
    with pytest.raises(BadAddress) as refused:
        recipient(f"<{written}>")
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (553, "5.6.7")


REFUSED = [
    "", " ", "a@b.com", "<a@b.com", "a@b.com>", "<<a@b.com>>", "  <a@b.com>", "\t<a@b.com>", "Bob <a@b.com>",
    "<a@b.com>x", "<a@b.com>SIZE=1", "<a@b.com>>", "<a@b.com>\r\nRCPT TO:<v@v.v>",
    "<a>", "<@b.com>", "<a@>", "<@>", "< >", "<a@b@c>", "<a b@b.com>", "< a@b.com>", "<a@b.com >", "<a @ b.com>",
    "<.a@b.com>", "<a.@b.com>", "<a..b@b.com>", "<a(c)@b.com>", "<(c)a@b.com>", "<a@b.com(c)>", "<a,b@b.com>",
    "<a:b@b.com>", "<a;b@b.com>", "<a[b@b.com>", "<a\\b@b.com>", "<a@b_c.com>",
    "<@c.com:a@b.com>", "<@c.com,@d.com:a@b.com>",
    "<a\x00@b.com>", "<a\r@b.com>", "<a\n@b.com>", "<a@b\n.com>", "<a@b.com\r\n>", "<a\x7f@b.com>", "<a\t@b.com>",
    '<"a\x00"@b.com>', '<"a\r\nb"@b.com>', '<"a\\\nb"@b.com>', '<"a"b@b.com>', '<a"b"@b.com>', '<"a@b.com>',
    '<"a""b"@b.com>', '<"a".b@b.com>', '<"a\\"@b.com>',
    "<=?utf-8?q?x=3E=0D=0ARCPT_TO=3A=3Cvictim=40v=2Ev=3E?=@allowed.test>", "<x=?utf-8?b?YQ==?=@b.com>",
    '<"=?utf-8?q?a?="@b.com>', '<"=\\?utf-8\\?q\\?a\\?="@b.com>',
    "<a@b.com.>", "<a@.b.com>", "<a@b..com>", "<a@-b.com>", "<a@b-.com>", "<a@" + "d" * 64 + ".com>",
    "<" + "x" * 65 + "@b.com>", "<x@" + LONG_LABELS + "." + "e" * 61 + ">", "<a@" + "d." * 200 + "com>",
    "<a@127.0.0.1>", "<a@1>", "<a@0x7f000001>", "<a@127.0x1>", "<a@b.com:25>", "<a@b.com/x>",
    "<a@[]>", "<a@[1.2.3]>", "<a@[1.2.3.4>", "<a@1.2.3.4]>", "<a@[01.2.3.4]>", "<a@[1.2.3.4]x>", "<a@[IPv6:x]>",
    "<a@[IPv6:fe80::1%eth0]>", "<a@[x-tag:y]>", "<a@[::1]>", "<postmaster>",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused_with_the_code_of_its_side(text: str) -> None:
    for allow_null, enhanced in ((True, "5.1.7"), (False, "5.1.3")):
        with pytest.raises(BadAddress) as refused:
            parse_path(text, allow_null=allow_null, smtputf8=True)
        assert (refused.value.reply.code, refused.value.reply.enhanced) == (501, enhanced)
        refused.value.reply.wire()


@pytest.mark.parametrize(
    "address",
    ["a\u00a0b@b.com", "a\u2028@b.com", "a\u202eb@b.com", "a\u200b@b.com", "a\ufeff@b.com", "a\x85@b.com",
     "a\udcff@b.com", "a@b\u2028.com", "a@☃.net", "a@δ_δ.com", "a@b.com＠c", "a@" + "δ" * 300, "δ" * 33 + "@b.com",
     "a@١٢٣.com/"],
)  # fmt: skip
def test_smtputf8_does_not_let_invisible_or_broken_characters_in(address: str) -> None:
    with pytest.raises(BadAddress) as refused:
        recipient(f"<{address}>", smtputf8=True)
    assert refused.value.reply.code == 501
    with pytest.raises(BadAddress):
        normalise(address)


def test_a_source_route_is_called_by_its_name() -> None:
    with pytest.raises(BadAddress, match="source routes"):
        recipient("<@c.com:a@b.com>")


def test_the_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(BadAddress) as refused:
        recipient("<secret..name@b.com>")
    assert "secret" not in refused.value.reply.text


def test_a_null_path_is_for_senders_only() -> None:
    with pytest.raises(BadAddress) as refused:
        recipient("<>")
    assert refused.value.reply.enhanced == "5.1.3"


def test_postmaster_needs_no_domain_where_it_is_allowed() -> None:
    path = parse_path("<PostMaster> NOTIFY=NEVER", allow_null=False, smtputf8=False, allow_postmaster=True)
    assert path == ("postmaster", "NOTIFY=NEVER")
    assert domain_of("postmaster") == ""


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("a@b.com", "b.com"),
        ("a@B.Com.", "b.com"),
        ("@b.com", "b.com"),
        ("a@пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ('"a@c.com"@b.com', "b.com"),
        ("a@[192.0.2.1]", "[192.0.2.1]"),
        ("", ""),
        ("a", ""),
        ("a@", ""),
    ],
)
def test_the_domain_of_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain


@pytest.mark.parametrize("domain", ["b..com", LONG_LABELS + "." + "e" * 62, "δ" * 300])
def test_a_domain_that_cannot_be_is_an_error(domain: str) -> None:
    with pytest.raises(BadAddress):
        domain_of(f"a@{domain}")


@pytest.mark.parametrize(
    ("address", "routed"),
    [
        ("a%c.com@b.com", True),
        ("c.com!a@b.com", True),
        ('"a@c.com"@b.com', True),
        ("a+c@b.com", False),
        ("", False),
        ("postmaster", False),
    ],
)
def test_addresses_that_ask_for_relaying_are_recognised(address: str, routed: bool) -> None:
    assert is_routed(address) is routed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@b.com", Mailbox("", "a@b.com")),
        ("  a@B.com ", Mailbox("", "a@b.com")),
        ("<a@b.com>", Mailbox("", "a@b.com")),
        ("Ann Lee <a@b.com>", Mailbox("Ann Lee", "a@b.com")),
        ("Ann<a@b.com>", Mailbox("Ann", "a@b.com")),
        ("J. Q. O'Neil-Ä <a@b.com>", Mailbox("J. Q. O'Neil-Ä", "a@b.com")),
        ('"Acme, Inc." <a@b.com>', Mailbox("Acme, Inc.", "a@b.com")),
        ('"Acme <x>"<a@b.com>', Mailbox("Acme <x>", "a@b.com")),
        ('"a \\"b\\" \\\\c" <a@b.com>', Mailbox('a "b" \\c', "a@b.com")),
        ('" " <a@b.com>', Mailbox("", "a@b.com")),
        ("Иван Петров <ivan@почта.рф>", Mailbox("Иван Петров", "ivan@xn--80a1acny.xn--p1ai")),
        ("👩\u200d💻 Dev <a@b.com>", Mailbox("👩\u200d💻 Dev", "a@b.com")),
        ('"a b"@b.com', Mailbox("", '"a b"@b.com')),
        ('Name <"a,b"@b.com>', Mailbox("Name", '"a,b"@b.com')),
        ("Name < a@b.com >", Mailbox("Name", "a@b.com")),
    ],
)
def test_mailboxes_as_people_write_them(text: str, expected: Mailbox) -> None:
    assert parse_mailbox(text) == expected
    assert parse_mailbox(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "missing"),
        ("  ", "missing"),
        ("Ann", "no @"),
        ("Ann <>", "between < and >"),
        ("Ann <a>", "no @"),
        ("a@b.com Ann", "labels"),
        ("Acme, Inc. <a@b.com>", "double quotes"),
        ("Ann (home) <a@b.com>", "double quotes"),
        ("a@b.com <c@d.com>", "double quotes"),
        ("Ann <a@b.com> x", "write it as"),
        ("Ann <a@b.com", "write it as"),
        ("<a@b.com> <c@d.com>", "write it as"),
        ("a@b.com, c@d.com", "more than one @"),
        ("Ann\r\nBcc: x@y.z <a@b.com>", "line breaks"),
        ("Ann\x00 <a@b.com>", "control"),
        ("Ann\t<a@b.com>", "control"),
        ("Ann\u202e <a@b.com>", "control"),
        ("Ann\x85 <a@b.com>", "control"),
        ("n" * 251 + " <a@b.com>", "longer than 250"),
        ("Ann <a@[1.2.3]>", "literal"),
        ("Ann <=?utf-8?q?a?=@b.com>", "encoded words"),
        ("friends: a@b.com;", "double quotes|, :"),
    ],
)
def test_a_bad_mailbox_is_explained(text: str, why: str) -> None:
    with pytest.raises(BadAddress, match=why):
        parse_mailbox(text)


def test_a_list_of_mailboxes_is_split_at_its_commas_only() -> None:
    assert parse_mailbox_list('"Acme, Inc." <a@b.com>, c@d.com ,"x,y"@e.com') == (
        Mailbox("Acme, Inc.", "a@b.com"),
        Mailbox("", "c@d.com"),
        Mailbox("", '"x,y"@e.com'),
    )
    assert parse_mailbox_list("a@b.com") == (Mailbox("", "a@b.com"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "^an address is missing"),
        ("a@b.com,", "^address 2: an address is missing"),
        ("a@b.com,,c@d.com", "^address 2: an address is missing"),
        ("Acme, Inc. <a@b.com>", "^address 1: it has no @.*comma"),
        ("a@b.com, c@d..com", "^address 2: the domain"),
        ('"a@b.com, c@d.com', "double quote is not closed"),
        ("a@b.com;c@d.com", "more than one @"),
        ("a@b.com\n,c@d.com", "line breaks"),
    ],
)
def test_a_bad_list_names_the_place(text: str, why: str) -> None:
    with pytest.raises(BadAddress, match=why):
        parse_mailbox_list(text)


PIECES = [
    "<", ">", "@", '"', "\\", ".", " ", "a", "b.com", "=?", "?=", "utf-8?q?", "\r\n", "\x00", "(", ")", ",", ":", "[",
    "]", "[1.2.3.4]", "IPv6:::1", "δ", "рф", "\u202e", "。", "＠", "-", "xn--", "%", "!", "\t", "Ⅷ", "İ",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=14).map("".join)


def assert_canonical(address: str) -> None:
    assert address.isprintable()
    local, at, domain = address.rpartition("@")
    assert at
    assert domain.isascii()
    assert not set(domain) & set(' <>"()\\,;@')
    if not local.startswith('"'):
        assert not set(local) & set(' <>"()\\,;:@[]')
    assert normalise(address) == address
    assert recipient(f"<{address}>", smtputf8=True) == address
    assert parse_mailbox(address) == Mailbox("", address)


@given(HOSTILE.map(lambda inside: f"<{inside}>") | HOSTILE | HOSTILE.map(lambda local: f"<{local}@b.com>"))
@example('<"a\\>b"@b.com>')
def test_hostile_paths_are_refused_or_clean(text: str) -> None:
    with contextlib.suppress(BadAddress):
        address, rest = parse_path(text, allow_null=True, smtputf8=True)
        assert rest == rest.strip(" ")
        if address:
            assert_canonical(address)


@given(HOSTILE | HOSTILE.map(lambda name: f"{name} <a@b.com>") | HOSTILE.map(lambda name: f'"{name}" <a@b.com>'))
def test_hostile_mailboxes_are_refused_or_clean_and_come_back(text: str) -> None:
    with contextlib.suppress(BadAddress):
        mailboxes = parse_mailbox_list(text)
        for mailbox in mailboxes:
            assert_canonical(mailbox.address)
            assert not set(mailbox.name) & set("\r\n\x00\u2028")
        assert parse_mailbox_list(", ".join(map(str, mailboxes))) == mailboxes


LOCAL = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(LOCAL)
def test_any_local_part_can_be_quoted_and_means_the_same(plain: str) -> None:
    everything_escaped = "".join("\\" + ch for ch in plain)
    with contextlib.suppress(BadAddress):
        canonical = normalise(f'"{everything_escaped}"@b.com')
        assert_canonical(canonical)
        assert len(canonical) <= len(plain) * 2 + 8
