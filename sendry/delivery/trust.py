"""TLS as a client: contexts, and the judgement on a certificate after the handshake.

Opportunistic TLS takes any certificate, yet the history of a message should tell whether it would have passed.
So the handshake does not verify; the chain is judged afterwards, by the same roots, and only noted.
"""

from __future__ import annotations

import ssl
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

VERIFIED: Final = "web-pki"
UNVERIFIED: Final = "unverified"


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
            verifier = PolicyBuilder().store(self._store).time(now).build_server_verifier(x509.DNSName(host))
            verifier.verify(leaf, others)
        except (VerificationError, ValueError, TypeError):
            return UNVERIFIED
        return VERIFIED

    @cached_property
    def _store(self) -> Store:
        path = self._ca_file or Path(ssl.get_default_verify_paths().cafile or "")
        try:
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
