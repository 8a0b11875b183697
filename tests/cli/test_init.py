"""`init` writes a configuration that validates, with secrets of its own, and overwrites nothing by itself."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import argon2
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sendry.cli import main
from sendry.config import DomainMode, load, warnings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["init", "--domain", "Example.com", "--data-dir", "data", "--json", *arguments]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_file_is_private_and_validates(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(capsys)
    path = folder / "config.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["config", "validate"]) == 0
    config = load(path, {})
    assert config.smtp.domain == "example.com"
    assert config.server.hostname == "mail.example.com"
    assert config.storage.path == folder / "data" / "queue.db"
    assert config.domains["example.com"].mode is DomainMode.PRODUCTION
    assert config.queue.max_retries == 40


def test_secrets_are_made_and_the_password_is_kept_as_a_hash_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = made(capsys)
    second = made(capsys, "-o", "other.toml")
    assert first["api_key"].startswith("sk_")
    assert first["api_key"] != second["api_key"]
    assert first["smtp_password"] != second["smtp_password"]
    config = load(folder / "config.toml", {})
    assert config.api.api_key == first["api_key"]
    assert first["smtp_password"] not in (folder / "config.toml").read_text()
    assert argon2.PasswordHasher().verify(config.smtp.auth.users["sendry"], first["smtp_password"])


def test_given_secrets_are_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(capsys, "--api-key", "sk_mine_0123456789", "--smtp-user", 'app "one"', "--smtp-pass", "hunter2")
    config = load(folder / "config.toml", {})
    assert config.api.api_key == "sk_mine_0123456789"
    assert argon2.PasswordHasher().verify(config.smtp.auth.users['app "one"'], "hunter2")


def test_a_file_that_is_there_stays_unless_forced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "config.toml"
    path.write_text("mine")
    path.chmod(0o644)
    assert main(["init", "--domain", "example.com"]) == 1
    assert "config.toml exists; name another with -o, or overwrite it with --force" in capsys.readouterr().err
    assert path.read_text() == "mine"
    made(capsys, "--force")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path, {}).smtp.domain == "example.com"
    assert {entry.name for entry in folder.iterdir()} == {"config.toml", "data"}


def test_a_dkim_key_is_made_and_its_record_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = made(capsys, "--dkim", "--dkim-selector", "Mail1")
    path = Path(answer["dkim_key_file"])
    assert path == folder / "data" / "dkim" / "example.com" / "mail1.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    assert key.key_size == 2048
    (setting,) = load(folder / "config.toml", {}).dkim_keys["example.com"]
    assert (setting.selector, setting.key_file) == ("mail1", path)
    assert [(item["type"], item["name"]) for item in answer["records"]] == [
        ("MX", "example.com"),
        ("TXT", "example.com"),
        ("TXT", "mail1._domainkey.example.com"),
        ("TXT", "_dmarc.example.com"),
    ]
    assert answer["records"][0]["value"] == "10 mail.example.com."
    assert answer["records"][1]["value"].startswith("v=spf1 ")
    assert answer["records"][2]["value"].startswith("v=DKIM1; k=rsa; p=MII")
    assert answer["records"][3]["value"].startswith("v=DMARC1; ")


def test_without_a_dkim_key_only_the_configuration_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = made(capsys, "--no-dkim")
    assert answer["dkim_key_file"] is None
    assert [item["name"] for item in answer["records"]] == ["example.com", "example.com", "_dmarc.example.com"]
    assert [entry.name for entry in folder.iterdir()] == ["config.toml"]


def test_a_dkim_key_that_is_there_is_kept_even_when_forced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = made(capsys, "--dkim")
    again = made(capsys, "--dkim", "--force")
    assert first["records"] == again["records"]


def test_a_file_that_is_no_dkim_key_is_told_and_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "keys" / "example.com" / "sendry.pem"
    path.parent.mkdir(parents=True)
    path.write_text("no key")
    assert main(["init", "--domain", "example.com", "--dkim", "--dkim-dir", "keys"]) == 1
    assert path.read_text() == "no key"
    assert not (folder / "config.toml").exists()


def test_a_folder_that_cannot_be_made_is_told_with_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data").write_text("a file")
    assert main(["init", "--domain", "example.com", "--dkim", "--data-dir", "data"]) == 1
    told = capsys.readouterr().err
    assert str(folder / "data") in told
    assert "--data-dir" in told


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        (["--mode", "sandbox"], DomainMode.SANDBOX),
        (
            ["--mode", "redirect", "--redirect-to", "qa@example.com", "--redirect-to", "b@example.com"],
            DomainMode.REDIRECT,
        ),
        (["--mode", "bcc", "--bcc-to", "archive@example.com"], DomainMode.BCC),
    ],
)
def test_each_mode_gives_a_valid_file(
    arguments: list[str], mode: DomainMode, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(capsys, *arguments)
    assert load(folder / "config.toml", {}).domains["example.com"].mode is mode


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: --domain"),
        (["--domain", "exa mple"], "argument --domain: 'exa mple': this is no domain name"),
        (["--domain", "example.com", "--mode", "redirect"], "--mode redirect needs --redirect-to ADDRESS"),
        (["--domain", "example.com", "--bcc-to", "a@b.example"], "--bcc-to goes with --mode bcc only"),
        (["--domain", "example.com", "--mode", "bcc", "--bcc-to", "nobody"], "argument --bcc-to: 'nobody'"),
        (["--domain", "example.com", "--cert-file", "/c"], "--cert-file and --key-file are given together"),
        (["--domain", "example.com", "--smtp-user", ""], "--smtp-user may not be empty"),
    ],
)
def test_wrong_usage_writes_nothing(
    arguments: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_what_is_not_yet_available_is_refused_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "init",
        "--domain",
        "example.com",
        "--dkim",
        "--data-dir",
        "data",
        "--acme",
        "--acme-email",
        "a@b.example",
    ]
    assert main(arguments) == 1
    assert "smtp.tls.acme.enabled: not yet available" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_with_a_certificate_there_is_nothing_to_warn_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cert.pem", "key.pem"):
        (folder / name).write_text("x")
        (folder / name).chmod(0o600)
    made(capsys, "--cert-file", "cert.pem", "--key-file", "key.pem", "--dkim")
    config = load(folder / "config.toml", {})
    assert config.smtp.tls.cert_file == folder / "cert.pem"
    assert warnings(config) == []


def test_a_person_is_told_the_secrets_the_records_and_what_to_do_next(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["init", "--domain", "example.com", "-o", "my.toml", "--smtp-pass", "hunter2", "--data-dir", "."]) == 0
    )
    told = capsys.readouterr().out
    for part in ("my.toml is written", "hunter2", "sk_", "_dmarc.example.com.", "sendry serve -c my.toml"):
        assert part in told
