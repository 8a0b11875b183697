"""Settings that work and may still hurt are warned of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sendry.config import load, loads, warnings

GOOD = """
[server]
hostname = "mail.example.com"
[smtp]
domain = "example.com"
tls = { cert_file = "CERT", key_file = "KEY" }
[api]
api_key = "sk_0123456789"
[queue]
max_retries = 40
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A configuration without any risk; its certificate is there."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    return GOOD.replace("CERT", str(tmp_path / "cert.pem")).replace("KEY", str(tmp_path / "key.pem"))


def warned(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    return [str(warning) for warning in warnings(loads(text, environ or {}, Path("c.toml")))]


def test_a_sound_configuration_gives_no_warning(good: str) -> None:
    assert warned(good) == []


def test_the_sandbox_profile_gives_no_warning() -> None:
    assert warned("") == []


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("[queue]\nmax_retries = 5", "c.toml:10: queue.max_retries: mail is given up after 75m"),
        ('[server]\nhostname = "mx"', "c.toml:3: server.hostname: mx is no full host name"),
        (
            '[smtp]\nauth.users = { app = "hunter2" }',
            "c.toml:5: smtp.auth.users.app: the password stands in clear text",
        ),
        ("[smtp]\nauth.allow_plaintext = true", "c.toml:5: smtp.auth.allow_plaintext: passwords cross the network"),
        (
            '[smtp]\ntrusted_networks = ["0.0.0.0/0"]',
            "c.toml:5: smtp.trusted_networks: 0.0.0.0/0 may relay without AUTH",
        ),
        ('[web]\nsecret_key = "short"', "c.toml:13: web.secret_key: shorter than 32"),
        (
            '[delivery]\nrelay = "smtp.example.net:587"\nrelay_user = "u"\nrelay_password = "p4ssw0rd"',
            "delivery.relay_tls: the password may go to the smart host in clear text",
        ),
        ('[delivery]\ntls = "none"', "c.toml:13: delivery.tls: mail leaves in clear text"),
        ('[dkim]\nselector = "s"', "dkim.enabled: is false"),
        (
            '[domains."a.example"]\nredirect_to = ["a@b.example"]',
            'c.toml:13: domains."a.example".redirect_to: has no effect in mode production',
        ),
        (
            '[domains."a.example".dkim]\nselector = "s"\nkey_file = "/nowhere/k.pem"',
            "DKIM key s of a.example: there is no file /nowhere/k.pem",
        ),
    ],
)
def test_a_risky_setting_is_warned_of_at_its_line(good: str, line: str, warning: str) -> None:
    table, _, setting = line.partition("\n")
    text = good.replace(f"{table}\n", f"{line}\n", 1) if f"{table}\n" in good else f"{good}\n{line}\n"
    text = text.replace('hostname = "mx"\nhostname = "mail.example.com"', setting)
    text = text.replace("max_retries = 5\nmax_retries = 40", setting)
    assert any(told.startswith(warning) for told in warned(text))


def test_an_open_api_is_warned_of(good: str) -> None:
    text = good.replace('api_key = "sk_0123456789"', "allow_anonymous = true")
    (told,) = warned(text)
    assert told.startswith("c.toml:8: api.allow_anonymous: whoever can reach :8080 may send mail and read it")
    assert warned(text.replace("allow_anonymous = true", 'listen_addr = "127.0.0.1:80"')) == []


def test_listeners_without_a_certificate_are_warned_of(good: str) -> None:
    (told,) = warned("\n".join(line for line in good.splitlines() if not line.startswith("tls")))
    assert told.startswith("smtp.tls.cert_file: without a certificate there is no TLS")


def test_an_opened_sandbox_is_warned_of() -> None:
    (told,) = warned("", {"PORT": "5000"})
    assert told == "smtp.domain: not set, so this is the sandbox profile, but others can reach it (api.listen_addr)"


@pytest.mark.parametrize(
    "secret", ["changeme", "change-me-please", "CHANGE_THIS", "your-api-key", "secret", "<key>", "xxxx"]
)
def test_a_placeholder_in_place_of_a_secret_is_warned_of(good: str, secret: str) -> None:
    assert warned(good.replace("sk_0123456789", secret)) == [
        "c.toml:8: api.api_key: this looks like a placeholder that everyone knows; put a secret of your own there"
    ]


def test_a_placeholder_in_the_database_url_is_warned_of_but_not_a_host_of_that_name(good: str) -> None:
    (told,) = warned(good, {"DATABASE_URL": "postgresql://sendry:changeme@db/mail"})
    assert told.startswith("environment DATABASE_URL: storage.url: this looks like a placeholder")
    assert warned(good, {"DATABASE_URL": "postgresql://sendry:g00d-one@changeme/mail"}) == []


def test_a_config_file_with_secrets_that_everyone_can_read_is_warned_of(good: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(good)
    path.chmod(0o644)
    (warning,) = warnings(load(path, {}))
    assert str(warning) == f"everyone on this machine can read the secrets in {path}; use chmod 640 or 600"
    path.chmod(0o640)
    assert warnings(load(path, {})) == []


def test_a_readable_config_file_without_secrets_is_fine(good: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(good.replace('api_key = "sk_0123456789"', 'listen_addr = "127.0.0.1:80"'))
    path.chmod(0o644)
    assert warnings(load(path, {})) == []


def test_a_private_key_that_everyone_can_read_is_warned_of(good: str, tmp_path: Path) -> None:
    (tmp_path / "key.pem").chmod(0o644)
    (told,) = warned(good)
    assert told.startswith(f"c.toml:6: smtp.tls.key_file: everyone on this machine can read {tmp_path}/key.pem")
