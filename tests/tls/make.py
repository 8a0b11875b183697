"""Certificates for tests."""

from __future__ import annotations

from pathlib import Path

import trustme

from sendry.tls.contexts import CertificateFiles


def certificate_files(folder: Path, *names: str, stem: str = "server") -> CertificateFiles:
    """A new certificate for these names, in two PEM files."""
    issued = trustme.CA().issue_cert(*names)
    files = CertificateFiles(folder / f"{stem}.crt", folder / f"{stem}.key")
    files.cert_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.key_file.write_bytes(issued.private_key_pem.bytes())
    return files
