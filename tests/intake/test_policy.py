"""Who may send what to whom. The relay matrix: who connects, crossed with every form of a recipient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.domains.registry import Directory
from sendry.intake import policy
from sendry.intake.policy import DomainNotAllowed
from sendry.mail.address import BadAddress, parse_path
from sendry.mail.envelope import Origin, OriginKind
from sendry.mail.headers import scan
from sendry.mail.reply import Refused
from tests import make

CONFIG = """
dkim.domain = "signed.example"
[domains."shop.example"]
mode = "sandbox"
[domains."news.shop.example"]
"""
DIRECTORY = Directory(make.config(CONFIG))
SANDBOX = Directory(make.config(domain=""))

SIGNED_IN = Origin(OriginKind.SMTP, name="app", client_ip="198.51.100.7", may_relay=True)
NEIGHBOUR = Origin(OriginKind.SMTP, client_ip="127.0.0.1", may_relay=True)
BY_API = Origin(OriginKind.API, name="key", may_relay=True)
STRANGER = make.STRANGER
UNTRUSTED_API = Origin(OriginKind.API, name="key")

FOREIGN = (
    "user@other.example",
    "User.Name+tag@OTHER.example",
    "user@[203.0.113.5]",
    "user@[IPv6:2001:db8::1]",
    "user@xn--e1afmkfd.example",
    "юзер@other.example",
    "user@example.com.other.example",
    "user@notexample.com",
    '"john smith"@other.example',
    "postmaster@other.example",
    "abuse@other.example",
    '"postmaster"@other.example',
)
"""Plain addresses elsewhere, in every spelling."""

ROUTED = (
    "user%other.example@example.com",
    "postmaster%other.example@example.com",
    "other.example!user@example.com",
    "other.example!postmaster@example.com",
    '"user@other.example"@example.com',
    '"postmaster@other.example"@example.com',
    '"user%other.example"@example.com',
    "user%other.example@[127.0.0.1]",
    "user%other.example@other.example",
)
"""Addresses that ask for sending on elsewhere."""

PEOPLE = (
    "anna@example.com",
    "anna@EXAMPLE.com",
    "anna@sub.example.com",
    "info@shop.example",
    "postmaster1@example.com",
)
"""People of own domains: Sendry keeps no mailboxes."""

HANDLED = (
    "postmaster@example.com",
    "Postmaster@EXAMPLE.COM",
    "ABUSE@example.com",
    "postmaster@sub.example.com",
    "abuse@shop.example",
    "postmaster@signed.example",
    '"postmaster"@example.com',
    "postmaster",
    "PostMaster",
)
"""What Sendry itself takes mail for, whoever sends it."""

NO_ADDRESS = (
    "@relay.example:user@other.example",
    "@relay.example,@relay2.example:postmaster@example.com",
    "user@other.example.",
    "postmaster@example.com.",
    "user@",
    "@example.com",
    "user",
    "user@other..example",
    "user@203.0.113.5",
    "user name@other.example",
    "user@other.example@example.com",
    "user@example.com\0@other.example",
    "=?utf-8?q?user=40other.example?=@example.com",
    "(comment)user@other.example",
)
"""Forms that RCPT refuses before anybody asks for more."""


def parsed(form: str) -> str:
    address, _ = parse_path(f"<{form}>", allow_null=False, smtputf8=True, allow_postmaster=True)
    return address


def answer(origin: Origin, form: str, directory: Directory = DIRECTORY) -> str:
    """What a client hears that gives this form of a recipient at RCPT."""
    try:
        policy.check_recipient(directory, origin, parsed(form))
    except BadAddress as fault:
        return f"{fault.reply.code} {fault.reply.enhanced}"
    except Refused as refused:
        return f"{refused.reply.code} {refused.reply.enhanced}"
    return "250"


class TestRelayMatrix:
    @pytest.mark.parametrize("origin", [STRANGER, UNTRUSTED_API])
    @pytest.mark.parametrize("form", [*FOREIGN, *ROUTED, *PEOPLE])
    def test_a_stranger_gets_nothing_sent_on(self, origin: Origin, form: str) -> None:
        assert answer(origin, form) == "550 5.7.1"

    @pytest.mark.parametrize("form", HANDLED)
    def test_a_stranger_reaches_the_people_who_run_the_server(self, form: str) -> None:
        assert answer(STRANGER, form) == "250"

    @pytest.mark.parametrize("origin", [SIGNED_IN, NEIGHBOUR, BY_API])
    @pytest.mark.parametrize("form", [*FOREIGN, *PEOPLE, *HANDLED])
    def test_who_may_relay_reaches_everybody(self, origin: Origin, form: str) -> None:
        assert answer(origin, form) == "250"

    @pytest.mark.parametrize("origin", [SIGNED_IN, NEIGHBOUR, BY_API])
    @pytest.mark.parametrize("form", ROUTED)
    def test_nobody_gets_a_routed_address(self, origin: Origin, form: str) -> None:
        assert answer(origin, form) == "550 5.7.1"

    @pytest.mark.parametrize("origin", [STRANGER, SIGNED_IN])
    @pytest.mark.parametrize("form", NO_ADDRESS)
    def test_what_is_no_address_is_none_for_anybody(self, origin: Origin, form: str) -> None:
        assert answer(origin, form) == "501 5.1.3"

    @pytest.mark.parametrize("form", [*FOREIGN, *ROUTED, "anna@example.com"])
    def test_a_stranger_gets_nothing_sent_on_by_an_open_sandbox_either(self, form: str) -> None:
        if parsed(form).partition("@")[0] in ("postmaster", "abuse"):
            assert answer(STRANGER, form, SANDBOX) == "250"  # kept in the inbox like everything else
        else:
            assert answer(STRANGER, form, SANDBOX) == "550 5.7.1"

    @given(st.text(max_size=60), st.sampled_from(["", "@example.com", "@shop.example", "@other.example"]))
    def test_whatever_a_stranger_writes_is_refused_or_ours(self, local: str, domain: str) -> None:
        recipient = local + domain
        try:
            policy.check_recipient(DIRECTORY, STRANGER, recipient)
        except Refused:
            return
        assert policy.is_handled(DIRECTORY, recipient)
        assert recipient.rpartition("@")[0].lower() in ("", "postmaster", "abuse")

    def test_the_refusal_tells_the_client_what_to_do_and_nothing_else(self) -> None:
        with pytest.raises(Refused) as caught:
            policy.check_recipient(DIRECTORY, STRANGER, "user@other.example")
        assert caught.value.reply.wire() == b"550 5.7.1 Relaying denied; sign in first\r\n"


class TestSenderDomain:
    @pytest.mark.parametrize(
        ("sender", "name"),
        [
            ("anna@example.com", "example.com"),
            ("anna@EXAMPLE.com", "example.com"),
            ("anna@deep.sub.example.com", "example.com"),
            ("anna@signed.example", "signed.example"),
            ("anna@shop.example", "shop.example"),
            ("anna@x.news.shop.example", "news.shop.example"),
        ],
    )
    def test_is_the_nearest_configured_parent(self, sender: str, name: str) -> None:
        own = policy.sender_domain(DIRECTORY, SIGNED_IN, sender)
        assert own is not None
        assert own.name == name

    @pytest.mark.parametrize(
        "sender", ["eve@other.example", "eve@example.com.other.example", "eve@com", "eve@[127.0.0.1]"]
    )
    def test_must_be_ours_for_who_sends_through_us(self, sender: str) -> None:
        with pytest.raises(DomainNotAllowed) as caught:
            policy.sender_domain(DIRECTORY, SIGNED_IN, sender)
        reply = caught.value.reply
        assert (reply.code, reply.enhanced) == (550, "5.7.1")
        assert sender.partition("@")[2] in reply.text

    def test_of_the_null_sender_is_none(self) -> None:
        assert policy.sender_domain(DIRECTORY, SIGNED_IN, "") is None

    def test_of_strangers_is_their_own_business(self) -> None:
        assert policy.sender_domain(DIRECTORY, STRANGER, "eve@other.example") is None

    def test_is_any_in_the_sandbox_profile(self) -> None:
        own = policy.sender_domain(SANDBOX, SIGNED_IN, "eve@other.example")
        assert own is not None
        assert (own.name, own.mode) == ("other.example", "sandbox")


class TestAuthorDomain:
    def test_is_that_of_the_from_field(self) -> None:
        facts = scan(b"From: Anna <anna@Sub.Shop.example>\r\n\r\n")
        assert policy.author_domain(DIRECTORY, facts).name == "shop.example"

    def test_must_be_ours(self) -> None:
        with pytest.raises(DomainNotAllowed, match=r"From domain 'other\.example' is not ours"):
            policy.author_domain(DIRECTORY, scan(b"From: eve@other.example\r\n\r\n"))

    @pytest.mark.parametrize(
        "head",
        [
            b"Subject: none\r\n\r\n",
            b"From: anna@example.com\r\nFrom: eve@other.example\r\n\r\n",
            b"From: anna@example.com, eve@other.example\r\n\r\n",
            b"From: Anna\r\n\r\n",
            b"From:\r\n\r\n",
        ],
    )
    def test_must_be_one_and_clear(self, head: bytes) -> None:
        with pytest.raises(Refused) as caught:
            policy.author_domain(DIRECTORY, scan(head))
        assert not isinstance(caught.value, DomainNotAllowed)
        assert (caught.value.reply.code, caught.value.reply.enhanced) == (554, "5.6.0")


@pytest.mark.parametrize(("received", "is_loop"), [(0, False), (50, False), (51, True), (200, True)])
def test_more_than_fifty_hops_are_a_loop(received: int, is_loop: bool) -> None:
    facts = scan(b"Received: from a by b; x\r\n" * received + b"From: anna@example.com\r\n\r\n")
    if not is_loop:
        policy.check_hops(facts)
        return
    with pytest.raises(Refused) as caught:
        policy.check_hops(facts)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (554, "5.4.6")
