"""Server contexts: chosen by name, renewed when files change, never worse than before."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from sendry.tls.contexts import CertificateError, CertificateFiles, ServerContexts
from tests.tls.make import certificate_files


def served(contexts: ServerContexts, name: str | None) -> tuple[set[str], str | None]:
    """(names of the certificate that a client gets who asks for `name`, TLS version)."""
    ours, theirs = socket.socketpair()
    context = contexts.context
    assert context is not None

    def serve() -> None:
        with context.wrap_socket(ours, server_side=True):
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with client.wrap_socket(theirs, server_hostname=name) as session:
        pem = ssl.DER_cert_to_PEM_cert(session.getpeercert(binary_form=True) or b"")
        version = session.version()
    thread.join()
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=pem, capture_output=True, text=True, check=True
    ).stdout
    return {word.removeprefix("DNS:").strip(",") for word in text.split() if word.startswith("DNS:")}, version


class TestChoice:
    def test_is_the_first_certificate_for_strangers_and_the_named_one_for_friends(self, tmp_path: Path) -> None:
        contexts = ServerContexts(
            [
                certificate_files(tmp_path, "mx.example.com", stem="a"),
                certificate_files(tmp_path, "*.example.org", "example.org", stem="b"),
            ]
        )
        assert served(contexts, None)[0] == {"mx.example.com"}
        assert served(contexts, "unknown.example.net")[0] == {"mx.example.com"}
        assert served(contexts, "mail.example.org")[0] == {"*.example.org", "example.org"}
        assert served(contexts, "EXAMPLE.org")[0] == {"*.example.org", "example.org"}
        assert served(contexts, "a.b.example.org")[0] == {"mx.example.com"}

    def test_is_none_without_certificates(self) -> None:
        assert ServerContexts().context is None

    def test_speaks_at_least_tls_1_2(self, tmp_path: Path) -> None:
        contexts = ServerContexts([certificate_files(tmp_path, "mx.example.com")])
        assert contexts.context is not None
        assert contexts.context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert served(contexts, None)[1] == "TLSv1.3"


class TestRefresh:
    @pytest.fixture
    def files(self, tmp_path: Path) -> CertificateFiles:
        return certificate_files(tmp_path, "old.example.com")

    def test_does_nothing_while_nothing_changes(self, files: CertificateFiles) -> None:
        contexts = ServerContexts([files])
        before = contexts.context
        assert contexts.refresh() is False
        assert contexts.context is before

    def test_serves_a_changed_certificate(self, files: CertificateFiles, tmp_path: Path) -> None:
        contexts = ServerContexts([files])
        new = certificate_files(tmp_path, "new.example.com", stem="new")
        shutil.copy(new.cert_file, files.cert_file)
        shutil.copy(new.key_file, files.key_file)
        assert contexts.refresh() is True
        assert served(contexts, "old.example.com")[0] == {"new.example.com"}

    def test_keeps_the_old_one_while_the_files_do_not_fit(
        self, files: CertificateFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        contexts = ServerContexts([files])
        new = certificate_files(tmp_path, "new.example.com", stem="new")
        shutil.copy(new.cert_file, files.cert_file)  # the key comes a moment later
        assert contexts.refresh() is False
        assert served(contexts, None)[0] == {"old.example.com"}
        assert "the old one stays in use" in caplog.text
        shutil.copy(new.key_file, files.key_file)
        assert contexts.refresh() is True
        assert served(contexts, None)[0] == {"new.example.com"}

    def test_keeps_the_old_one_when_a_file_is_gone(self, files: CertificateFiles) -> None:
        contexts = ServerContexts([files])
        files.cert_file.unlink()
        assert contexts.refresh() is False
        assert served(contexts, None)[0] == {"old.example.com"}


class TestFault:
    def test_names_the_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CertificateError, match="No such file"):
            ServerContexts([CertificateFiles(tmp_path / "none.crt", tmp_path / "none.key")])

    def test_of_a_key_that_does_not_fit(self, tmp_path: Path) -> None:
        one, two = certificate_files(tmp_path, "a.example"), certificate_files(tmp_path, "b.example", stem="b")
        with pytest.raises(CertificateError, match="KEY_VALUES_MISMATCH"):
            ServerContexts([CertificateFiles(one.cert_file, two.key_file)])

    def test_of_an_encrypted_key_asks_nobody(self, tmp_path: Path) -> None:
        files = certificate_files(tmp_path, "a.example")
        encrypted = tmp_path / "encrypted.key"
        subprocess.run(
            ["openssl", "pkey", "-in", files.key_file, "-aes256", "-passout", "pass:x", "-out", encrypted], check=True
        )
        with pytest.raises(CertificateError):
            ServerContexts([CertificateFiles(files.cert_file, encrypted)])

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_of_a_file_that_may_not_be_read(self, tmp_path: Path) -> None:
        files = certificate_files(tmp_path, "a.example")
        files.key_file.chmod(0)
        with pytest.raises(CertificateError, match="Permission denied"):
            ServerContexts([files])
