"""A directory takes over a changed configuration while it is in use."""

from __future__ import annotations

from pathlib import Path

from sendry.config import DomainMode, loads
from sendry.domains.registry import Directory
from sendry.mail.dkim import generate_ed25519

BASE = '[smtp]\ndomain = "example.com"\n[api]\napi_key = "sk_0123456789"\n'


def test_a_mode_that_was_already_asked_for_changes() -> None:
    directory = Directory(loads(BASE))
    found = directory.find("mail.example.com")
    assert found is not None
    assert found.mode is DomainMode.PRODUCTION
    directory.replace(loads(BASE + '[domains."example.com"]\nmode = "sandbox"\n'))
    found = directory.find("mail.example.com")
    assert found is not None
    assert found.mode is DomainMode.SANDBOX


def test_domains_come_and_go() -> None:
    directory = Directory(loads(BASE + '[domains."old.example"]\n'))
    assert directory.find("new.example") is None
    directory.replace(loads(BASE + '[domains."new.example"]\n'))
    assert directory.find("old.example") is None
    assert [domain.name for domain in directory.own()] == ["example.com", "new.example"]


def test_keys_come_and_go(tmp_path: Path) -> None:
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(generate_ed25519())
    directory = Directory(loads(BASE))
    assert directory.signing_keys("example.com") == ()
    directory.replace(loads(f'{BASE}[domains."example.com".dkim]\nselector = "new"\nkey_file = "{key_file}"\n'))
    assert [key.record_name for key in directory.signing_keys("example.com")] == ["new._domainkey.example.com"]
    directory.replace(loads(BASE))
    assert directory.signing_keys("example.com") == ()
