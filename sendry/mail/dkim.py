"""DKIM signatures (RFC 6376, RFC 8301, RFC 8463): keys, relaxed canonicalisation, the finished header fields.

Pure but for the generation of keys, which takes randomness; key files are read by the caller. Promise: what
is hashed is octet for octet what the message has on the wire, its canonical form is the one dkimpy computes,
a body may come in blocks of any size, and a head that verifiers could read in two ways is not signed.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sendry.mail.headers import HeaderError, fields, is_well_formed

# Signed as often as they are there; of the first five one more than that, so that nobody can add one.
OVERSIGNED: Final = ("from", "to", "subject", "date", "reply-to")
SIGNED: Final = (
    *OVERSIGNED, "cc", "sender", "message-id", "in-reply-to", "references", "mime-version", "content-type",
    "content-transfer-encoding", "list-id", "list-unsubscribe", "list-unsubscribe-post", "feedback-id",
)  # fmt: skip

SMALLEST_RSA: Final = 1024  # bits, RFC 8301 section 3.2
_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)*")
_DOMAIN: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_LINE: Final = 72


class DkimKeyError(ValueError):
    """A private key, domain or selector cannot be used; the text says why and what to do."""


class Algorithm(StrEnum):
    """The a= tag."""

    RSA = "rsa-sha256"
    ED25519 = "ed25519-sha256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that signs for `domain`; its public half is published at `record_name`."""

    domain: str
    selector: str
    algorithm: Algorithm
    key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    @property
    def record_name(self) -> str:
        """The DNS name of the TXT record."""
        return f"{self.selector}._domainkey.{self.domain}"


def load_key(pem: bytes, domain: str, selector: str) -> SigningKey:
    """The key in a PEM file: RSA (PKCS#1 or PKCS#8, 1024 bits or more) or Ed25519 (PKCS#8). Raises
    DkimKeyError.
    """
    domain, selector = domain.lower().rstrip("."), selector.lower()
    if not _DOMAIN.fullmatch(domain):
        raise DkimKeyError(f"DKIM domain {domain!r} is not a domain name; write it in ASCII, as in example.com")
    if not _DOMAIN.fullmatch(selector):
        raise DkimKeyError(f"DKIM selector {selector!r} may have letters, digits, '-', '_' and dots only")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise DkimKeyError("the private key has a passphrase; store it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise DkimKeyError("this is not a private key in PEM form (RSA or Ed25519)") from None
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(domain, selector, Algorithm.ED25519, key)
    if not isinstance(key, RSAPrivateKey):
        raise DkimKeyError("the private key is neither RSA nor Ed25519")
    if key.key_size < SMALLEST_RSA:
        raise DkimKeyError(f"the RSA key has {key.key_size} bits; {SMALLEST_RSA} are the least, 2048 are advised")
    return SigningKey(domain, selector, Algorithm.RSA, key)


def generate_rsa(bits: int = 2048) -> bytes:
    """A new RSA private key as PKCS#8 PEM."""
    return _pem(generate_private_key(public_exponent=65537, key_size=bits))


def generate_ed25519() -> bytes:
    """A new Ed25519 private key as PKCS#8 PEM."""
    return _pem(Ed25519PrivateKey.generate())


def dns_record(key: SigningKey) -> str:
    """The text of the TXT record at `key.record_name`, in one piece (DNS cuts it into strings of 255)."""
    public = key.key.public_key()
    if key.algorithm is Algorithm.RSA:
        octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    kind = "rsa" if key.algorithm is Algorithm.RSA else "ed25519"
    return f"v=DKIM1; k={kind}; p={_base64(octets)}"


def is_published(key: SigningKey, record: str) -> bool:
    """Does a TXT record carry the public half of `key`? Blanks and further tags are of no matter."""
    tags = dict(part.strip().partition("=")[::2] for part in record.split(";"))
    published = re.sub(r"\s", "", tags.get("p", ""))
    return bool(published) and published == dns_record(key).rpartition("p=")[2]


def sign(
    head: bytes,
    body: bytes | Iterable[bytes],
    keys: SigningKey | Sequence[SigningKey],
    *,
    now_ts: int,
    headers: Sequence[str] = SIGNED,
) -> bytes:
    """The DKIM-Signature fields of a message, one for each key, each with its CRLF, to be put on top of
    `head`.

    `body` is hashed once, whole or in blocks; `now_ts` is the t= tag in seconds. `headers` are lower-case
    names; those of OVERSIGNED among them are signed once more than they occur. Raises HeaderError (a
    ValueError) when there is not exactly one From field, or when the head has a line that is no field
    (`headers.mend` cures that).
    """
    names, block = _signed_headers(head, headers)
    digest = BodyHash.of(body)
    signers = (keys,) if isinstance(keys, SigningKey) else keys
    return b"".join(_signature(key, names, block, digest, now_ts) for key in signers)


def sign_octets(key: RSAPrivateKey | Ed25519PrivateKey, octets: bytes) -> bytes:
    """The signature of a= over `octets`; for Ed25519 it is that of their SHA-256 (RFC 8463 section 3)."""
    if isinstance(key, RSAPrivateKey):
        return key.sign(octets, _PKCS1, _SHA256)
    return key.sign(sha256(octets).digest())


class BodyHash:
    """The bh= of a body that comes in blocks: relaxed canonicalisation (RFC 6376 section 3.4.4), then
    SHA-256.

    A last line without CRLF is taken with one, since the wire adds it.
    """

    __slots__ = ("_empty_lines", "_has_content", "_hash", "_held")

    def __init__(self) -> None:
        self._hash = sha256()
        # Blanks or half a CRLF at the end of what came: what they mean, the next block decides.
        self._held = b""
        self._empty_lines = 0  # line ends before them; they count only when text follows
        self._has_content = False

    @classmethod
    def of(cls, body: bytes | Iterable[bytes]) -> str:
        """The tag's value for a whole body or its blocks."""
        if isinstance(body, bytes):
            return _base64(sha256(relaxed_body(body)).digest())
        hashed = cls()
        for block in body:
            hashed.feed(block)
        return hashed.finish()

    def feed(self, block: bytes) -> None:
        """Take the next block."""
        block = self._held + block if self._held else block
        end = len(block.rstrip(b" \t\r\n"))
        if end:
            if self._empty_lines:
                self._hash.update(b"\r\n" * self._empty_lines)
                self._empty_lines = 0
            self._has_content = True
            self._hash.update(_squeezed_lines(block[:end]))
        tail = _squeezed_lines(block[end:])
        lines = _EMPTY_LINES.match(tail)
        full = lines.end() if lines else 0
        self._empty_lines += full // 2
        self._held = tail[full:]

    def finish(self) -> str:
        """The tag's value."""
        last = b""
        if self._held:
            last = _without_empty_lines(
                b"\r\n" * self._empty_lines + _squeezed_lines(self._held + b"\r\n"),
            )
        if last:
            self._hash.update(last)
        if last or self._has_content:
            self._hash.update(b"\r\n")
        return _base64(self._hash.digest())


def relaxed_body(body: bytes) -> bytes:
    """The canonical form of a whole body; b"" for one of empty lines only."""
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    body = _without_empty_lines(_squeezed_lines(body))
    return body + b"\r\n" if body else b""


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """The canonical form of a field, with CRLF; `value` is raw, as `headers.fields` gives it."""
    value = value.replace(b"\r\n", b"")
    return name.lower() + b":" + _squeezed(value).strip(b" ") + b"\r\n"


def _signed_headers(head: bytes, wanted: Sequence[str]) -> tuple[str, bytes]:
    """The h= tag and the canonical fields in its order: of each name the lowest first (RFC 6376 section
    5.4.2).
    """
    if not is_well_formed(head):
        raise HeaderError("header", "a line of the header block is no field, so it cannot be signed")
    found: dict[str, list[bytes]] = {}
    wanted_octets = {name.encode("ascii"): name for name in wanted}
    for name, value in fields(head):
        key = wanted_octets.get(name.lower())
        if key is not None:
            found.setdefault(key, []).append(relaxed_field(name, value))
    senders = len(found.get("from", ()))
    if senders != 1:
        raise HeaderError("From", f"a message is signed with one From field, here are {senders}")
    listed: list[str] = []
    canonical: list[bytes] = []
    for wanted_name in wanted:
        present = found.get(wanted_name, [])
        canonical += reversed(present)
        listed += [wanted_name] * (len(present) + (wanted_name in OVERSIGNED))
    return ":".join(listed), b"".join(canonical)


def _signature(key: SigningKey, names: str, block: bytes, digest: str, now_ts: int) -> bytes:
    tags = (
        f" v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};\r\n"
        f"\ts={key.selector}; t={now_ts};\r\n\th={_folded(names)};\r\n\tbh={digest};\r\n\tb="
    ).encode("ascii")
    # The field is hashed with an empty b= and without its CRLF (RFC 6376 section 3.7).
    covered = block + relaxed_field(b"dkim-signature", tags)[:-2]
    encoded = _base64(sign_octets(key.key, covered))
    lines = "\r\n\t".join(encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE))
    return b"DKIM-Signature:" + tags + lines.encode("ascii") + b"\r\n"


def _folded(names: str) -> str:
    """The h= tag on lines of its own length; a fold is allowed behind a colon."""
    lines: list[str] = []
    while len(names) > _LINE:
        at = names.rfind(":", 0, _LINE) + 1 or len(names)
        lines.append(names[:at])
        names = names[at:]
    lines.append(names)
    return "\r\n\t".join(line for line in lines if line)


def _squeezed(octets: bytes) -> bytes:
    """Every run of blanks and tabs as one blank."""
    if b"\t" in octets:
        octets = octets.replace(b"\t", b" ")
    if b"  " in octets:
        octets = octets.replace(b" " * 8, b" ")  # not needed, but indented HTML takes half the time
        size = 0
        while size != len(octets):  # each turn halves the runs
            size = len(octets)
            octets = octets.replace(b"  ", b" ")
    return octets


def _squeezed_lines(octets: bytes) -> bytes:
    if b" " not in octets and b"\t" not in octets:  # base64: nothing to do, and most of the octets of large mail
        return octets
    return _squeezed(octets).replace(b" \r\n", b"\r\n")


def _without_empty_lines(octets: bytes) -> bytes:
    """`octets` without the line ends at its very end."""
    text = octets.rstrip(b"\r\n")
    end = len(text)
    if octets[end:] == b"\r\n" * ((len(octets) - end) // 2):
        return text
    end = len(octets)  # bare CR or LF among them: those are text
    while octets.endswith(b"\r\n", 0, end):
        end -= 2
    return octets[:end]


def _base64(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).decode("ascii")


def _pem(key: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
