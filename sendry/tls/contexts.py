"""The TLS contexts of our servers: made from certificate files, chosen by name (SNI), renewed when the files change.

Promises: TLS 1.2 at least; a changed certificate serves from the next handshake on, without a restart; a file that
is broken or half-written is reported and the certificate in use stays in use.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate with its chain and its key, in PEM files."""

    cert_file: Path
    key_file: Path


class CertificateError(Exception):
    """Certificate files that cannot be used; the text names the file and says why."""


class _Entry:
    """One certificate in use."""

    def __init__(self, files: CertificateFiles) -> None:
        self.files = files
        self.stamp = _stamp(files)
        self.context = _context(files)
        self.names = _names(files.cert_file)


class ServerContexts:
    """The certificates of the listeners. The first is for clients that name no host, or none we know."""

    def __init__(self, certificates: Iterable[CertificateFiles] = ()) -> None:
        """Raises CertificateError for files that cannot be used."""
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._by_name: dict[str, ssl.SSLContext] = {}
        for files in certificates:
            self.add(files)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What to start TLS with; it takes another certificate by the name a client asks for. None = no TLS."""
        return self._entries[0].context if self._entries else None

    def add(self, files: CertificateFiles) -> None:
        """Serve this certificate too, from now on. Raises CertificateError."""
        try:
            entry = _Entry(files)
        except OSError as error:
            raise CertificateError(f"{error.filename or files.cert_file}: {error.strerror or error}") from error
        entry.context.sni_callback = self._choose
        with self._lock:
            self._entries.append(entry)
            self._index()

    def refresh(self) -> bool:
        """Read again what has changed on disk; True when something new is in use. Called every few seconds."""
        has_changed = False
        with self._lock:
            for at, entry in enumerate(self._entries):
                try:
                    if _stamp(entry.files) == entry.stamp:
                        continue
                    renewed = _Entry(entry.files)
                except (OSError, CertificateError) as error:
                    log.error(
                        "certificate cannot be read again, the old one stays in use",
                        extra={"file": str(entry.files.cert_file), "error": str(error)},
                    )
                    continue
                renewed.context.sni_callback = self._choose
                self._entries[at] = renewed
                has_changed = True
                log.info("certificate renewed", extra={"file": str(entry.files.cert_file)})
            if has_changed:
                self._index()
        return has_changed

    def _index(self) -> None:
        by_name: dict[str, ssl.SSLContext] = {}
        for entry in self._entries:
            for name in entry.names:
                by_name.setdefault(name, entry.context)
        self._by_name = by_name

    def _choose(self, tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _context: ssl.SSLContext) -> None:
        if name:
            name = name.lower().rstrip(".")
            chosen = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
            if chosen is not None and chosen is not tls.context:
                tls.context = chosen


def _stamp(files: CertificateFiles) -> Stamp:
    stamps = []
    for path in (files.cert_file, files.key_file):
        status = path.stat()
        stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(stamps)


def _context(files: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # A password callback: without one OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(files.cert_file, files.key_file, password=lambda: "")
    except ssl.SSLError as error:
        reason = error.reason or "no usable PEM"
        raise CertificateError(f"{files.cert_file} with {files.key_file}: {reason}") from error
    return context


def _names(cert_file: Path) -> tuple[str, ...]:
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))
