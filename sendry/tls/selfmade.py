"""A certificate made by ourselves, so that STARTTLS can be tried in the sandbox profile without any set-up.

Kept in the data folder and used again, so that a client that trusted it once need not be told anew; made anew when
it is about to run out or does not fit the host name any more.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sendry.tls.contexts import CertificateFiles

LIFETIME: Final = timedelta(days=825)
RENEW_BEFORE: Final = timedelta(days=30)
_LOOPBACK: Final = ("127.0.0.1", "::1")


def self_made_certificate(folder: Path, hostname: str, now: datetime) -> CertificateFiles:
    """The self-made certificate for `hostname` and loopback in `folder`, made now when there is no good one.

    Raises OSError when the folder cannot be written.
    """
    files = CertificateFiles(folder / "self-made.crt", folder / "self-made.key")
    if not _is_good(files, hostname, now):
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = _make(hostname, now)
        # The key first: a certificate without its key would be taken for good at the next start.
        _write(files.cert_file.with_suffix(".crt.new"), certificate, 0o644)
        _write(files.key_file.with_suffix(".key.new"), key, 0o600)
        os.replace(files.key_file.with_suffix(".key.new"), files.key_file)
        os.replace(files.cert_file.with_suffix(".crt.new"), files.cert_file)
    return files


def _is_good(files: CertificateFiles, hostname: str, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
        key = serialization.load_pem_private_key(files.key_file.read_bytes(), None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return (
        key.public_key() == certificate.public_key()
        and hostname in names.get_values_for_type(x509.DNSName)
        and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE
    )


def _make(hostname: str, now: datetime) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    names = [x509.DNSName(each) for each in dict.fromkeys((hostname, "localhost"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(
            x509.SubjectAlternativeName([*names, *(x509.IPAddress(ip_address(ip)) for ip in _LOOPBACK)]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _write(path: Path, octets: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
