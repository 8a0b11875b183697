"""Settings that are fine one by one and wrong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from sendry.config import ConfigError, loads

BASE = '[smtp]\ndomain = "example.com"\n[api]\napi_key = "sk_0123456789"\n'


def faults_of(text: str) -> list[str]:
    try:
        loads(text, {}, Path("c.toml"))
    except ConfigError as error:
        return [str(fault).removeprefix("c.toml:") for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            '[smtp.tls]\ncert_file = "/c"',
            "6: smtp.tls.cert_file: smtp.tls.key_file is missing; certificate and key are given together",
        ),
        (
            '[smtp.tls]\nkey_file = "/k"',
            "6: smtp.tls.key_file: smtp.tls.cert_file is missing; certificate and key are given together",
        ),
        (
            "[smtp.auth]\naccept_any = true",
            "6: smtp.auth.accept_any: is allowed only if every domain is in mode sandbox, "
            "and example.com is in mode production",
        ),
        (
            "[dkim]\nenabled = true",
            "5: dkim.key_file: must be given where dkim.enabled is true",
        ),
        (
            '[domains."a.example"]\nmode = "redirect"',
            '5: domains."a.example".redirect_to: mode redirect needs at least one address here',
        ),
        (
            '[domains."a.example"]\nmode = "bcc"\nbcc_to = []',
            '7: domains."a.example".bcc_to: mode bcc needs at least one address here',
        ),
        (
            '[domains."a.example"]\ndefault_from = "x@b.example"',
            '6: domains."a.example".default_from: x@b.example belongs to none of the domains configured here',
        ),
        (
            '[domains."a.example".dkim]\nkey_file = "/k"',
            '5: domains."a.example".dkim.selector: must be given, or enabled = false',
        ),
        (
            '[[domains."a.example".dkim]]\nselector = "s"\nkey_file = "/k"\n'
            '[[domains."a.example".dkim]]\nselector = "S"\nkey_file = "/l"',
            '9: domains."a.example".dkim[1].selector: s is the selector of another key of a.example',
        ),
        (
            '[dkim]\nenabled = true\nselector = "s"\nkey_file = "/k"\n'
            '[domains."example.com".dkim]\nselector = "s"\nkey_file = "/k"',
            '10: domains."example.com".dkim.selector: s is the selector of another key of example.com',
        ),
        (
            '[metrics]\nenabled = true\nlisten_addr = ":8080"',
            "7: metrics.listen_addr: :8080 is taken by api.listen_addr",
        ),
        (
            '[metrics]\nenabled = true\nlisten_addr = ""',
            "7: metrics.listen_addr: must be given where metrics.enabled is true",
        ),
        (
            '[queue]\nretry_interval = "5h"',
            "5: queue.retry_max_interval: must be at least as long as queue.retry_interval",
        ),
        ('[delivery]\nrelay_user = "u"', "6: delivery.relay_user: has no effect without delivery.relay"),
        (
            '[delivery]\nrelay = "a.example:25"\nrelay_user = "u"',
            "7: delivery.relay_user: needs delivery.relay_password beside it",
        ),
    ],
)
def test_a_combination_that_cannot_work_is_a_fault_at_its_line(text: str, fault: str) -> None:
    assert fault in faults_of(BASE + text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[smtp.tls.acme]\nenabled = true", "5: smtp.tls.acme.email: must be given where acme.enabled is true"),
        (
            "[smtp.tls.acme]\nenabled = true",
            "5: smtp.tls.acme.domains: must name at least one host where acme.enabled is true",
        ),
        ("[web.oidc]\nenabled = true", "5: web.oidc.issuer_url: must be given where web.oidc.enabled is true"),
        (
            "[[header_rules.global]]\nheader = 'X'",
            "5: header_rules.global[0].action: must be given: remove, replace or add",
        ),
        (
            '[header_rules.domains]\n"a.example" = [{ action = "remove" }]',
            '6: header_rules.domains."a.example"[0].headers: must name at least one header to remove',
        ),
        (
            "[[header_rules.global]]\naction = 'add'\nvalue = 'x'",
            "5: header_rules.global[0].header: must name the header to add",
        ),
        (
            "[sandbox.chaos]\nreject = 0.6\ndefer = 0.6",
            "5: sandbox.chaos: reject, defer and drop may not add up to more than 1",
        ),
    ],
)
def test_features_of_later_releases_are_checked_already(text: str, fault: str) -> None:
    assert fault in faults_of(BASE + text)


@pytest.mark.parametrize(
    "setting",
    [
        "smtp.tls.acme.enabled = true",
        'smtp.tls.acme.cache_dir = "/x"',
        "rate_limit.enabled = true",
        "rate_limit.global.messages_per_hour = 1",
        'rate_limit.recipient_domains."gmail.com".messages_per_day = 1',
        'domains."a.example".rate_limit.recipients_per_message = 1',
        'domains."a.example".source_ips = ["192.0.2.1"]',
        'header_rules.global = [{ action = "remove", headers = ["X-Mailer"] }]',
        'header_rules.domains."a.example" = [{ action = "add", header = "X-A", value = "1" }]',
        "web.oidc.enabled = true",
        'web.oidc.client_secret = "x"',
        'webhooks.allowed_networks = ["10.0.0.0/8"]',
        'bounce.domain = "bounce.example.com"',
        'delivery.source_ips = ["192.0.2.1"]',
        "sandbox.chaos.reject = 0.5",
        'sandbox.chaos.delay = "1s"',
    ],
)
def test_a_key_whose_feature_comes_later_is_refused_and_not_ignored(setting: str) -> None:
    told = faults_of(setting)
    assert any(fault.startswith("1: ") and "not yet available" in fault for fault in told)


def test_such_a_key_may_stand_there_with_its_default() -> None:
    assert (
        faults_of(
            """
rate_limit.enabled = false
rate_limit.recipient_domains."gmail.com".messages_per_day = 0
domains."a.example".rate_limit.messages_per_hour = 0
header_rules.global = []
header_rules.domains."a.example" = []
smtp.tls.acme.directory_url = "https://acme-v02.api.letsencrypt.org/directory"
web.oidc.scopes = ["openid", "profile", "email"]
sandbox.chaos.delay = "0s"
bounce.domain = ""
"""
        )
        == []
    )


def test_an_api_that_others_can_reach_needs_a_key_or_a_word_about_it() -> None:
    no_key = '[smtp]\ndomain = "example.com"\n[api]\n'
    assert faults_of(no_key) == [
        "3: api.api_key: must be given, as api.listen_addr (:8080) can be reached by others; "
        "or listen on 127.0.0.1, or set api.allow_anonymous = true"
    ]
    assert faults_of(no_key + "allow_anonymous = true") == []
    assert faults_of(no_key + 'listen_addr = "127.0.0.1:8080"') == []
    assert faults_of(no_key + 'listen_addr = "[::1]:8080"') == []
    assert faults_of(no_key + 'listen_addr = ""') == []


def test_the_opened_sandbox_profile_makes_its_own_key() -> None:
    assert loads("", {"PORT": "5000"}).api.api_key == ""


def test_any_credentials_are_fine_where_every_domain_is_a_sandbox() -> None:
    sandboxed = '[smtp]\ndomain = "example.com"\nauth.accept_any = true\n[domains."example.com"]\nmode = "sandbox"\n'
    assert faults_of(sandboxed + '[api]\nlisten_addr = ""\n') == []
    (fault,) = faults_of(sandboxed + '[api]\nlisten_addr = ""\n[dkim]\ndomain = "other.example"\n')
    assert "other.example is in mode production" in fault


def test_a_default_sender_may_belong_to_any_own_domain_or_below_it() -> None:
    for sender in ("x@example.com", "x@news.example.com", "x@a.example"):
        assert faults_of(BASE + f'[domains."a.example"]\ndefault_from = "{sender}"\n') == []


def test_listeners_on_different_addresses_may_share_a_port_and_port_zero_is_never_taken() -> None:
    shared = '[smtp]\nlisten_addr = "127.0.0.1:25"\nsubmission_addr = "127.0.0.2:25"\n'
    assert faults_of(shared) == []
    assert faults_of('[smtp]\nlisten_addr = "127.0.0.1:0"\nsubmission_addr = "127.0.0.1:0"\n') == []


def test_a_rule_is_silent_where_its_key_is_already_at_fault() -> None:
    assert [fault.split(": ")[1] for fault in faults_of('[smtp]\ndomain = "example.com"\n[api]\napi_key = 5\n')] == [
        "api.api_key"
    ]
    text = '[api]\nlisten_addr = ""\n[domains."a.example"]\nmode = "redirect"\nredirect_to = ["nobody"]\n'
    assert [fault.split(": ")[1] for fault in faults_of(text)] == ['domains."a.example".redirect_to[0]']
    assert len(faults_of('[smtp]\ndomain = "example.com"\ntls = 1\n[api]\nlisten_addr = 1\n')) == 2
