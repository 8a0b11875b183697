"""The self-made certificate: made once, kept, and made anew in time."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from sendry.tls.contexts import ServerContexts
from sendry.tls.selfmade import LIFETIME, RENEW_BEFORE, self_made_certificate

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def serial(folder: Path) -> int:
    return x509.load_pem_x509_certificate((folder / "self-made.crt").read_bytes()).serial_number


def test_serves_host_name_and_loopback(tmp_path: Path) -> None:
    files = self_made_certificate(tmp_path / "tls", "mx.example.com", NOW)
    assert ServerContexts([files]).context is not None
    certificate = x509.load_pem_x509_certificate(files.cert_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.example.com", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_has_a_key_that_only_the_owner_reads(tmp_path: Path) -> None:
    files = self_made_certificate(tmp_path, "mx.example.com", NOW)
    assert stat.S_IMODE(files.key_file.stat().st_mode) == 0o600


def test_is_used_again(tmp_path: Path) -> None:
    self_made_certificate(tmp_path, "mx.example.com", NOW)
    first = serial(tmp_path)
    self_made_certificate(tmp_path, "mx.example.com", NOW + timedelta(days=300))
    assert serial(tmp_path) == first


def test_is_made_anew_before_it_runs_out(tmp_path: Path) -> None:
    self_made_certificate(tmp_path, "mx.example.com", NOW)
    first = serial(tmp_path)
    self_made_certificate(tmp_path, "mx.example.com", NOW + LIFETIME - RENEW_BEFORE)
    assert serial(tmp_path) != first


def test_is_made_anew_for_another_host_name(tmp_path: Path) -> None:
    self_made_certificate(tmp_path, "mx.example.com", NOW)
    first = serial(tmp_path)
    self_made_certificate(tmp_path, "other.example.com", NOW)
    assert serial(tmp_path) != first


def test_is_made_anew_when_its_files_are_broken(tmp_path: Path) -> None:
    for broken in ("self-made.crt", "self-made.key"):
        self_made_certificate(tmp_path, "mx.example.com", NOW)
        first = serial(tmp_path)
        (tmp_path / broken).write_text("not PEM")
        assert ServerContexts([self_made_certificate(tmp_path, "mx.example.com", NOW)]).context is not None
        assert serial(tmp_path) != first


def test_takes_a_long_host_name(tmp_path: Path) -> None:
    name = ".".join(["a" * 60] * 4)
    assert ServerContexts([self_made_certificate(tmp_path, name, NOW)]).context is not None
