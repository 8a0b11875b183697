from __future__ import annotations

import base64
import re
from types import SimpleNamespace

import dkim as dkimpy
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from sendry.mail import dkim
from sendry.mail.dkim import Algorithm, BodyHash, DkimKeyError, SigningKey
from sendry.mail.headers import HeaderError

RSA_PEM = dkim.generate_rsa()
RSA = dkim.load_key(RSA_PEM, "Example.COM.", "s1")
ED = dkim.load_key(dkim.generate_ed25519(), "example.com", "s2")
HEAD = (
    b"Received: from a.example\r\n\tby b.example; Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"From: Anna  <anna@example.com>\r\n"
    b"To: bob@example.org,\r\n\tcarol@example.net\r\n"
    b"SUBJECT:  a \t b  \r\n"
    b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"X-Other: not signed\r\n\r\n"
)
BODY = b"Hello  world \r\n\r\n\t indented\tline\r\n\r\n\r\n"

PIECES = [b" ", b"\t", b"  ", b"\r\n", b"\r\n", b"a", b".", b"\xd1\x8f", b"=20", b"        "]
BODIES = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


class Ed25519VerifyKey:
    """dkimpy wants PyNaCl for Ed25519; this gives it the same answers from another implementation."""

    def __init__(self, octets: bytes, encoder: object) -> None:
        self.key = Ed25519PublicKey.from_public_bytes(base64.b64decode(octets))

    def verify(self, message: bytes, signature: bytes) -> None:
        self.key.verify(signature, message)


@pytest.fixture(autouse=True)
def _nacl(monkeypatch: pytest.MonkeyPatch) -> None:
    nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=Ed25519VerifyKey),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(BadSignatureError=InvalidSignature, ValueError=ValueError),
    )
    monkeypatch.setattr(dkimpy, "nacl", nacl, raising=False)


def verifies(message: bytes, *keys: SigningKey, index: int = 0) -> bool:
    records = {f"{key.record_name}.".encode(): dkim.dns_record(key).encode() for key in keys}

    def look_up(name: bytes, timeout: int = 5) -> bytes:
        return records[name]

    try:
        return bool(dkimpy.DKIM(message).verify(index, dnsfunc=look_up))
    except dkimpy.ValidationError:
        return False


def canonical_by_dkimpy(body: bytes) -> bytes:
    return bytes(Relaxed.canonicalize_body(body))


def cut(octets: bytes, sizes: list[int]) -> list[bytes]:
    blocks, at = [], 0
    for size in sizes:
        blocks.append(octets[at : at + size])
        at += size
    return [*blocks, octets[at:]]


# --- canonicalisation ---


@given(BODIES)
def test_the_canonical_body_is_that_of_dkimpy(body: bytes) -> None:
    body += b"\r\n"
    assert dkim.relaxed_body(body) == canonical_by_dkimpy(body)


@given(st.lists(st.sampled_from([*PIECES, b"\r", b"\n"]), max_size=40).map(b"".join))
def test_bare_line_ends_are_text_as_in_dkimpy(body: bytes) -> None:
    body += b"\r\n"
    assert dkim.relaxed_body(body) == canonical_by_dkimpy(body)


def test_a_last_line_without_its_end_is_hashed_as_the_wire_carries_it() -> None:
    assert dkim.relaxed_body(b"a") == b"a\r\n"
    assert dkim.relaxed_body(b"a \t") == b"a\r\n"
    assert dkim.relaxed_body(b"a\r\n ") == b"a\r\n"


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n\r\n", b" \r\n\t\r\n", b"  "])
def test_a_body_of_empty_lines_is_the_empty_body(body: bytes) -> None:
    assert dkim.relaxed_body(body) == b""
    assert BodyHash.of([body]) == BodyHash.of(b"") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@given(
    st.lists(st.sampled_from([*PIECES, b"\r", b"\n"]), max_size=60).map(b"".join),
    st.lists(st.integers(0, 9), max_size=20),
)
def test_a_body_in_blocks_has_the_hash_of_the_whole(body: bytes, sizes: list[int]) -> None:
    assert BodyHash.of(cut(body, sizes)) == BodyHash.of(body)


def test_very_many_empty_lines_are_counted_not_kept() -> None:
    hashed = BodyHash()
    for _ in range(200):
        hashed.feed(b" \r\n" * 10_000)
    hashed.feed(b"end")
    assert hashed.finish() == BodyHash.of(b"\r\n" * 2_000_000 + b"end")


@given(
    st.from_regex(r"[!-9;-~]{1,12}", fullmatch=True),
    st.lists(st.sampled_from([" ", "\t", "\r\n ", "\r\n\t", "a", "=", ";", "я"]), max_size=20).map("".join),
)
def test_the_canonical_field_is_that_of_dkimpy(name: str, value: str) -> None:
    raw = value.encode()
    ((expected_name, expected_value),) = Relaxed.canonicalize_headers([(name.encode(), raw + b"\r\n")])
    assert dkim.relaxed_field(name.encode(), raw) == expected_name + b":" + expected_value


# --- signatures ---


@pytest.mark.parametrize("key", [RSA, ED], ids=["rsa", "ed25519"])
def test_dkimpy_verifies_what_we_sign(key: SigningKey) -> None:
    field = dkim.sign(HEAD, BODY, key, now_ts=1_795_000_000)
    assert verifies(field + HEAD + BODY, key)
    assert not verifies(field + HEAD + BODY.replace(b"world", b"moon"), key)
    assert not verifies(field + HEAD.replace(b"anna@", b"eve@"), key)


@settings(max_examples=40)
@given(
    BODIES,
    st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\xd1\x8f", b"word"]), max_size=12).map(b"".join),
    st.sampled_from([RSA, ED]),
)
def test_dkimpy_verifies_any_body_and_any_folded_subject(body: bytes, subject: bytes, key: SigningKey) -> None:
    head = b"From: a@example.com\r\nSubject: s" + subject + b"s\r\n\r\n"
    body = body + b"\r\n" if body and not body.endswith(b"\r\n") else body
    assert verifies(dkim.sign(head, body, key, now_ts=1) + head + body, key)


def test_two_keys_sign_with_one_reading_of_the_body() -> None:
    blocks = iter([BODY[:7], BODY[7:]])
    signatures = dkim.sign(HEAD, blocks, [RSA, ED], now_ts=5)
    assert signatures.count(b"DKIM-Signature:") == 2
    assert verifies(signatures + HEAD + BODY, RSA, ED, index=0)
    assert verifies(signatures + HEAD + BODY, RSA, ED, index=1)


def test_the_signature_names_its_domain_selector_time_and_no_length() -> None:
    field = dkim.sign(HEAD, BODY, RSA, now_ts=1_795_000_000).replace(b"\r\n\t", b"").decode()
    tags = dict(tag.strip().split("=", 1) for tag in field.removeprefix("DKIM-Signature:").split(";"))
    assert (tags["d"], tags["s"], tags["t"]) == ("example.com", "s1", "1795000000")
    assert (tags["a"], tags["c"]) == ("rsa-sha256", "relaxed/relaxed")
    assert "l" not in tags
    assert tags["h"] == ("from:from:to:to:subject:subject:date:date:reply-to:message-id:list-unsubscribe-post")


def test_every_line_of_the_signature_is_short() -> None:
    head = HEAD[:-2] + b"".join(name.encode() + b": x\r\n" for name in dkim.SIGNED[5:]) + b"\r\n"
    assert max(map(len, dkim.sign(head, BODY, RSA, now_ts=5).split(b"\r\n"))) <= 78


@pytest.mark.parametrize("name", [b"From", b"To", b"Subject", b"Date", b"Reply-To"])
def test_nobody_can_add_a_field_that_readers_believe(name: bytes) -> None:
    field = dkim.sign(HEAD, BODY, RSA, now_ts=5)
    for message in (
        field + name + b": added@example.com\r\n" + HEAD + BODY,
        field + HEAD[:-2] + name + b": added@example.com\r\n\r\n" + BODY,
    ):
        assert not verifies(message, RSA)


def test_fields_that_occur_twice_are_signed_from_the_bottom() -> None:
    head = b"From: a@example.com\r\nReferences: <1@x>\r\nreferences: <2@x>\r\n\r\n"
    field = dkim.sign(head, b"", RSA, now_ts=5)
    assert b":references:references;" in re.sub(rb"\s", b"", field)
    assert verifies(field + head, RSA)


@pytest.mark.parametrize("head", [b"From: a@x.example\r\nfrom: b@x.example\r\n\r\n", b"To: a@x.example\r\n\r\n"])
def test_a_head_without_exactly_one_author_field_is_not_signed(head: bytes) -> None:
    with pytest.raises(HeaderError, match="one From field"):
        dkim.sign(head, BODY, RSA, now_ts=5)


def test_a_head_with_a_line_that_is_no_field_is_not_signed() -> None:
    with pytest.raises(HeaderError, match="no field"):
        dkim.sign(b"From: a@example.com\r\njunk\r\n\r\n", BODY, RSA, now_ts=5)


# --- keys ---


def test_both_forms_of_rsa_pem_give_the_same_key() -> None:
    key = serialization.load_pem_private_key(RSA_PEM, None)
    pkcs1 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert b"BEGIN RSA PRIVATE KEY" in pkcs1
    assert dkim.dns_record(dkim.load_key(pkcs1, "example.com", "s1")) == dkim.dns_record(RSA)


def test_a_key_knows_where_its_record_is_published() -> None:
    assert RSA.record_name == "s1._domainkey.example.com"
    assert (RSA.algorithm, ED.algorithm) == (Algorithm.RSA, Algorithm.ED25519)
    assert dkim.dns_record(RSA).startswith("v=DKIM1; k=rsa; p=MIIB")
    assert re.fullmatch(r"v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=", dkim.dns_record(ED))


def test_a_private_key_is_not_shown() -> None:
    assert "RSAPrivateKey" not in repr(RSA)


def test_a_published_record_is_compared_by_its_key() -> None:
    record = dkim.dns_record(RSA)
    assert dkim.is_published(RSA, record)
    assert dkim.is_published(RSA, record.replace("; ", ";").replace("p=M", "t=s; p=M "))
    assert not dkim.is_published(ED, record)
    assert not dkim.is_published(RSA, "v=DKIM1; p=")
    assert not dkim.is_published(RSA, "nonsense;;")


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "not a private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key"),
        (RSA_PEM.replace(b"PRIVATE", b"PUBLIC"), "not a private key"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "neither RSA nor Ed25519"),
        (pem_of(rsa.generate_private_key(65537, 2048), b"secret"), "passphrase"),
    ],
)
def test_a_file_that_is_no_usable_key_is_refused_with_its_reason(pem: bytes, reason: str) -> None:
    with pytest.raises(DkimKeyError, match=reason):
        dkim.load_key(pem, "example.com", "s1")


@pytest.mark.parametrize(
    ("domain", "selector", "reason"),
    [
        ("", "s1", "domain"),
        ("exam ple.com", "s1", "domain"),
        ("почта.рф", "s1", "ASCII"),
        ("example.com;", "s1", "domain"),
        ("example.com", "", "selector"),
        ("example.com", "s1; d=evil", "selector"),
        ("example.com", "s1\r\nX: y", "selector"),
    ],
)
def test_a_domain_or_selector_that_would_break_the_field_is_refused(domain: str, selector: str, reason: str) -> None:
    with pytest.raises(DkimKeyError, match=reason):
        dkim.load_key(RSA_PEM, domain, selector)
