"""TLS as a client: contexts, and the judgement on a certificate after the handshake.

Opportunistic TLS takes any certificate, yet the history of a message should tell whether it would have passed.
So the handshake does not verify; the chain is judged afterwards, by the same roots, and only noted.
"""

from __future__ import annotations

import ssl
import warnings
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

VERIFIED: Final = "web-pki"
UNVERIFIED: Final = "unverified"


def _is_for_servers(
    policy: Policy,  # noqa: ARG001 - the library's form
    certificate: x509.Certificate,  # noqa: ARG001 - the library's form
    usage: x509.ExtendedKeyUsage | None,
) -> None:
    if usage is not None and not _SERVER_USES.intersection(usage):
        raise ValueError("the certificate is not meant for servers")


_SERVER_USES: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
_AUTHORITY: Final = ExtensionPolicy.webpki_defaults_ca()
# As strict as OpenSSL, which does not mind whether these two are marked critical.
_HOST: Final = (
    ExtensionPolicy.webpki_defaults_ee()
    .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_servers)
)


class Trust:
    """The certificates of authorities we believe: those of the system, or of one PEM file."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file

    @cached_property
    def verifying(self) -> ssl.SSLContext:
        """Refuses a certificate that is not valid for the host."""
        return ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))

    @cached_property
    def any_certificate(self) -> ssl.SSLContext:
        """Encrypts, and takes any certificate: who sits in the middle could also have hidden STARTTLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def judgement(self, session: ssl.SSLObject, host: str, now: datetime) -> str:
        """VERIFIED when the peer's chain leads to a trusted root and is for `host`, else UNVERIFIED."""
        if session.context.verify_mode is ssl.CERT_REQUIRED:
            return VERIFIED
        try:
            leaf, *others = [x509.load_der_x509_certificate(der) for der in _chain(session)]
            policy = PolicyBuilder().store(self._store).time(now)
            policy = policy.extension_policies(ca_policy=_AUTHORITY, ee_policy=_HOST)
            policy.build_server_verifier(x509.DNSName(host)).verify(leaf, others)
        except (VerificationError, ValueError, TypeError):
            return UNVERIFIED
        return VERIFIED

    @cached_property
    def _store(self) -> Store:
        path = self._ca_file or Path(ssl.get_default_verify_paths().cafile or "")
        try:
            with warnings.catch_warnings(action="ignore"):  # old roots with odd serial numbers
                return Store(x509.load_pem_x509_certificates(path.read_bytes()))
        except OSError as error:
            raise ValueError(f"no trusted roots can be read: {error}") from None


def _chain(session: ssl.SSLObject) -> list[bytes]:
    """What the peer sent, leaf first. Public only since Python 3.13; without it nothing is verified."""
    public = getattr(session, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    inner = getattr(session, "_sslobj", None)
    certificates = inner.get_unverified_chain() if inner is not None else None
    if not certificates:
        raise ValueError("no certificates")
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in certificates]
