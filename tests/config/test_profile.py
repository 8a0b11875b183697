"""Without a mail domain Sendry is a catcher on loopback, and explicit settings win over that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sendry.config import BareNewline, DomainMode, HostPort, OriginKind, load, loads

PRODUCTION = '[smtp]\ndomain = "example.com"\n[api]\napi_key = "sk_0123456789"\n'


def test_no_mail_domain_means_the_sandbox_on_loopback() -> None:
    config = load(None, {})
    assert config.is_sandbox_profile
    assert not config.is_open
    assert not config.needs_sign_in
    assert config.allows_anonymous_api
    assert config.listeners == {
        "smtp.listen_addr": HostPort("127.0.0.1", 1025),
        "api.listen_addr": HostPort("127.0.0.1", 8080),
    }
    assert config.storage.path == Path("data/queue.db")
    assert config.data_dir == Path("data")
    assert config.default_mode is DomainMode.SANDBOX
    assert config.smtp.auth.accept_any
    assert config.smtp.bare_newline is BareNewline.NORMALIZE
    assert config.origins["smtp.listen_addr"].kind is OriginKind.PROFILE


def test_a_file_without_a_mail_domain_is_the_sandbox_too() -> None:
    config = loads('[domains."a.example"]\n[domains."b.example"]\n[metrics]\nenabled = true\n')
    assert {domain.mode for domain in config.domains.values()} == {DomainMode.SANDBOX}
    assert config.metrics.listen_addr == HostPort("127.0.0.1", 9090)
    assert not config.is_open


def test_a_mail_domain_means_production() -> None:
    config = loads(PRODUCTION + '[domains."a.example"]\n')
    assert not config.is_sandbox_profile
    assert not config.is_open
    assert config.needs_sign_in
    assert not config.allows_anonymous_api
    assert config.domains["a.example"].mode is DomainMode.PRODUCTION
    assert config.default_mode is DomainMode.PRODUCTION
    assert not config.smtp.auth.accept_any
    assert set(config.listeners) == {
        "smtp.listen_addr",
        "smtp.submission_addr",
        "smtp.smtps_addr",
        "api.listen_addr",
    }


def test_with_postgresql_the_data_folder_is_one_that_a_platform_lets_write() -> None:
    url = 'storage.url = "postgresql://h/d"\n'
    assert loads(PRODUCTION).data_dir == Path("/var/lib/sendry")
    assert loads(url + PRODUCTION).data_dir == Path("data")
    assert loads(url + 'storage.path = "/srv/mail/queue.db"\n' + PRODUCTION).data_dir == Path("/srv/mail")
    assert loads(PRODUCTION, {"DATABASE_URL": "postgres://h/d"}).data_dir == Path("data")


def test_what_is_set_wins_over_the_profile() -> None:
    config = loads(
        """
[smtp]
submission_addr = "127.0.0.1:1587"
bare_newline = "reject"
auth.accept_any = false
[storage]
path = "/tmp/x/queue.db"
[domains."a.example"]
mode = "bcc"
bcc_to = ["a@b.example"]
"""
    )
    assert config.smtp.submission_addr == HostPort("127.0.0.1", 1587)
    assert config.smtp.bare_newline is BareNewline.REJECT
    assert not config.smtp.auth.accept_any
    assert config.storage.path == Path("/tmp/x/queue.db")
    assert config.domains["a.example"].mode is DomainMode.BCC


def test_a_domain_that_sends_for_real_ends_the_acceptance_of_any_credentials() -> None:
    assert not loads('[domains."a.example"]\nmode = "production"\n').smtp.auth.accept_any


def opened(text: str = "", environ: Mapping[str, str] | None = None) -> tuple[bool, bool, bool]:
    config = loads(text, environ or {})
    return config.is_open, config.needs_sign_in, config.allows_anonymous_api


def test_a_port_or_setting_that_opens_the_sandbox_asks_for_sign_in_and_key() -> None:
    assert opened(environ={"PORT": "5000"}) == (True, True, False)
    assert opened('[smtp]\nlisten_addr = ":1025"\n') == (True, True, False)
    assert opened('[api]\nlisten_addr = "192.0.2.1:80"\n') == (True, True, False)
    assert opened('[metrics]\nenabled = true\nlisten_addr = ":9090"\n') == (True, True, False)


def test_a_listener_that_is_off_opens_nothing() -> None:
    assert opened('[smtp]\nlisten_addr = ""\n[metrics]\nlisten_addr = ":9090"\n') == (False, False, True)


def test_the_api_of_an_opened_sandbox_stays_anonymous_only_if_that_is_said() -> None:
    assert opened("[api]\nallow_anonymous = true\n", {"PORT": "5000"}) == (True, True, True)
    assert opened('[api]\napi_key = "sk_0123456789"\n') == (False, False, False)


def test_an_empty_mail_domain_is_none() -> None:
    assert loads('[smtp]\ndomain = ""\n').is_sandbox_profile
    assert loads(PRODUCTION, {"SENDRY_SMTP__DOMAIN": ""}).is_sandbox_profile
