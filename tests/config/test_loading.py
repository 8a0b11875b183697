"""A file becomes typed tables, or every fault of it at once."""

from __future__ import annotations

import contextlib
from dataclasses import FrozenInstanceError
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.config import (
    BareNewline,
    Config,
    ConfigError,
    DeliveryTls,
    DestinationConfig,
    DkimKeyConfig,
    DomainMode,
    HostPort,
    LogLevel,
    OriginKind,
    find_config_path,
    load,
    loads,
)

GOOD = """
[server]
hostname = "Mail.Example.com"
[smtp]
domain = "Example.com"
listen_addr = "127.0.0.1:2525"
smtps_addr = ""
allowed_ips = ["10.0.0.0/8", "::1"]
read_timeout = "5m"
bare_newline = "normalize"
[smtp.auth.users]
"app@example.com" = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"
[domains."Shop.Example"]
mode = "redirect"
redirect_to = ["QA@Example.com"]
dkim = { selector = "one", key_file = "/keys/one.pem" }
[[domains."example.com".dkim]]
selector = "rsa"
key_file = "/keys/rsa.pem"
[[domains."example.com".dkim]]
enabled = false
selector = "ed"
[api]
api_key = "sk_0123456789"
trusted_proxies = ["127.0.0.1"]
public_url = "https://mail.example.com/"
[queue]
max_retries = 40
[delivery]
relay = "smtp.example.net:587"
allowed_networks = ["127.0.0.0/8"]
destinations."mx.example" = { tls = "require" }
[dns]
nameservers = ["127.0.0.1:5353", "::1"]
[storage.retention]
delivered_max_age = "30d"
[logging]
level = "WARN"
"""


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        loads(text, {}, Path("c.toml"))
    return [str(fault) for fault in raised.value.faults]


def test_every_value_has_its_type() -> None:
    config = loads(GOOD)
    assert config.server.hostname == "mail.example.com"
    assert config.smtp.domain == "example.com"
    assert config.smtp.listen_addr == HostPort("127.0.0.1", 2525)
    assert config.smtp.smtps_addr is None
    assert config.smtp.allowed_ips == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert config.smtp.read_timeout == timedelta(minutes=5)
    assert config.smtp.bare_newline is BareNewline.NORMALIZE
    assert list(config.smtp.auth.users) == ["app@example.com"]
    assert config.domains["shop.example"].mode is DomainMode.REDIRECT
    assert config.domains["shop.example"].redirect_to == ("QA@example.com",)
    assert config.api.public_url == "https://mail.example.com"
    assert config.delivery.relay == HostPort("smtp.example.net", 587)
    assert config.delivery.destinations == {"mx.example": DestinationConfig(DeliveryTls.REQUIRE)}
    assert config.dns.nameservers == (HostPort("127.0.0.1", 5353), HostPort("::1", 53))
    assert config.storage.retention.delivered_max_age == timedelta(days=30)
    assert config.logging.level is LogLevel.WARNING


def test_what_is_not_given_keeps_its_default() -> None:
    config = loads(GOOD)
    assert config.smtp.submission_addr == HostPort("", 587)
    assert config.smtp.max_message_bytes == 10485760
    assert config.storage.path == Path("/var/lib/sendry/queue.db")
    assert config.dlq == Config().dlq
    assert ip_address("127.0.0.1") in config.smtp.trusted_networks[0]


def test_a_domain_has_one_dkim_table_or_an_array_of_them() -> None:
    config = loads(GOOD)
    assert config.domains["shop.example"].dkim == (DkimKeyConfig(True, "one", Path("/keys/one.pem")),)
    assert [key.selector for key in config.domains["example.com"].dkim] == ["rsa", "ed"]


def test_dkim_keys_join_the_short_form_and_leave_out_what_is_switched_off() -> None:
    config = loads(GOOD + '[dkim]\nenabled = true\nselector = "short"\nkey_file = "/keys/short.pem"\n')
    assert {name: [key.selector for key in keys] for name, keys in config.dkim_keys.items()} == {
        "example.com": ["short", "rsa"],
        "shop.example": ["one"],
    }


def test_own_domains_are_named_once() -> None:
    config = loads(GOOD + '[dkim]\ndomain = "news.example"\n')
    assert config.own_domains == ("example.com", "news.example", "shop.example")


def test_a_configuration_cannot_be_changed() -> None:
    config = loads(GOOD)
    with pytest.raises(FrozenInstanceError):
        config.smtp.domain = "other.example"  # type: ignore[misc]  # that is what is tested
    with pytest.raises(TypeError):
        config.domains["x.example"] = config.domains["shop.example"]  # type: ignore[index]  # likewise


def test_secrets_stay_out_of_repr() -> None:
    config = loads(GOOD + '[web]\nsecret_key = "topsecret-topsecret-topsecret-topsecret"\n')
    assert "topsecret" not in repr(config)
    assert "sk_0123456789" not in repr(config)
    assert "$argon2id" not in repr(config)


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """
[smtp]
domain = "exa mple"
max_recipents = 5
listen_addr = 25

[queue]
workers = 0
retry_interval = "5 minutes"
[domains."a.example"]
mode = "produktion"
redirect_to = ["a@b.example",
  "nobody"]
[nonsense]
x = 1
"""
    assert faults_of(text) == [
        'c.toml:3: smtp.domain: "exa mple" is wrong (this is no domain name); '
        "allowed is a domain name such as example.com",
        "c.toml:4: smtp.max_recipents: unknown key; did you mean max_recipients?",
        'c.toml:5: smtp.listen_addr: 25 is wrong; allowed is host:port or :port, or "" for no such listener',
        "c.toml:8: queue.workers: 0 is wrong; allowed is a whole number from 1 to 2147483647",
        'c.toml:9: queue.retry_interval: "5 minutes" is wrong (this is no duration); '
        "allowed is a duration such as 30s, 5m, 1h or 7d, above 0",
        'c.toml:11: domains."a.example".mode: "produktion" is wrong; allowed is production, sandbox, redirect or bcc',
        'c.toml:13: domains."a.example".redirect_to[1]: "nobody" is wrong (this is no address); '
        "allowed is an address such as ops@example.com",
        "c.toml:14: nonsense: unknown key; known here: server, smtp, dkim, domains, rate_limit, header_rules, api, "
        "queue, delivery, dns, bounce, storage, dlq, logging, metrics, web, webhooks, sandbox",
    ]


def test_a_fault_carries_key_line_and_message_apart() -> None:
    with pytest.raises(ConfigError) as raised:
        loads("\n[queue]\nworkers = 0\n", {}, Path("c.toml"))
    (fault,) = raised.value.faults
    assert (fault.key, fault.line, fault.origin.name) == ("queue.workers", 3, "c.toml")


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ('[smtp]\nhostname = "a.example"', "did you mean server.hostname?"),
        ("[smtp]\nusers = {}", "did you mean smtp.auth.users?"),
        ("[smtp.auth]\nrequire = true", "did you mean required?"),
        ("[dequeue]", "did you mean queue?"),
        ('[domains."a.example".dkim]\nselectors = "x"', "did you mean selector?"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_known_one(line: str, advice: str) -> None:
    assert any(fault.endswith(advice) for fault in faults_of(line))


def test_a_domain_without_quotes_is_explained() -> None:
    assert faults_of('[domains.shop.example]\nmode = "sandbox"\n[domains.shop.test]\n') == [
        'c.toml:1: domains.shop: a name with dots needs quotes; did you mean [domains."shop.example"]?'
    ]


def test_a_domain_given_twice_in_different_letters_is_a_fault() -> None:
    assert faults_of('[domains."a.example"]\n[domains."A.example"]\n') == [
        'c.toml:2: domains."a.example": a.example is given twice; write it once'
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("smtp = 5", "c.toml:1: smtp: 5 is wrong; allowed is a table [smtp]"),
        ("domains = []", "c.toml:1: domains: [] is wrong; allowed is a table [domains]"),
        (
            'domains."a.example".dkim = "x"',
            'c.toml:1: domains."a.example".dkim: "x" is wrong; allowed is a table or an array of tables',
        ),
        (
            "header_rules.global = [1]",
            "c.toml:1: header_rules.global: [1] is wrong; allowed is an array of tables",
        ),
        (
            '[dns]\nnameservers = "::1"',
            'c.toml:2: dns.nameservers: "::1" is wrong; allowed is a list, each item ip or ip:port',
        ),
        (
            "[queue]\nretry_interval = 300",
            "c.toml:2: queue.retry_interval: 300 is wrong (the unit is missing, and the value needs quotes); "
            "allowed is a duration such as 30s, 5m, 1h or 7d, above 0",
        ),
        ("[dlq]\nenabled = 1", "c.toml:2: dlq.enabled: 1 is wrong; allowed is true or false"),
        (
            "[queue]\nworkers = true",
            "c.toml:2: queue.workers: true is wrong; allowed is a whole number from 1 to 2147483647",
        ),
        (
            "[queue]\nworkers = 1.5",
            "c.toml:2: queue.workers: 1.5 is wrong; allowed is a whole number from 1 to 2147483647",
        ),
        (
            "[dlq]\nmax_age = 1979-05-27",
            "c.toml:2: dlq.max_age: 1979-05-27 is wrong; allowed is a duration such as 30s, 5m, 1h or 7d, 0 for off",
        ),
        (
            '[delivery]\nrelay_user = "a\\nb"',
            'c.toml:2: delivery.relay_user: "a\\nb" is wrong (it holds a control character or line break); '
            "allowed is text",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_what_is_allowed(text: str, fault: str) -> None:
    assert faults_of(text)[0] == fault


def test_the_value_of_a_secret_is_not_repeated() -> None:
    text = """
[smtp]
auth.users = { app = 12345 }
[storage]
url = "mysql://user:hunter2@db/mail"
[api]
api_key = 4711
api_kye = "hunter2"
[delivery]
relay_password = "hunter2\\u0000"
"""
    told = "\n".join(faults_of(text))
    assert "hunter2" not in told
    assert "12345" not in told
    assert "4711" not in told
    assert "storage.url: ******** is wrong" in told


def test_zero_stands_for_off_with_and_without_quotes() -> None:
    for zero in ("0", '"0"', '"0s"'):
        assert loads(f"[dlq]\nmax_age = {zero}\n").dlq.max_age == timedelta(0)


def test_a_loop_cannot_be_set_to_no_interval() -> None:
    assert "queue.process_interval" in faults_of("[queue]\nprocess_interval = 0")[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[smtp]\ndomain = \n", "c.toml:2: this is no valid TOML: Invalid value (column 10)"),
        ("[smtp]\na = 1\na = 2\n", "c.toml:3: this is no valid TOML: Cannot overwrite a value (column 6)"),
        ('[smtp]\na = "x', "c.toml:2: this is no valid TOML: Unterminated string at the end of the file"),
    ],
)
def test_a_syntax_error_has_its_line(text: str, fault: str) -> None:
    assert faults_of(text) == [fault]


def test_hostile_toml_is_a_fault_and_no_crash() -> None:
    assert "nested too deep" in faults_of("a = " + "[" * 5000 + "]" * 5000)[0]
    assert faults_of("a = " + "9" * 5000)[0].startswith("c.toml: Exceeds the limit")


@given(st.text(alphabet="[]{}\"'=.,#\n abcsmtp013", max_size=60))
def test_no_text_makes_loading_crash(text: str) -> None:
    with contextlib.suppress(ConfigError):
        loads(text)


def test_a_file_is_read_with_its_path_remembered(tmp_path: Path) -> None:
    path = tmp_path / "sendry.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    config = load(path, {})
    assert config.file == path
    assert str(config.origins["smtp.domain"]) == f"{path}:5"
    assert config.origins['domains."shop.example".redirect_to'].kind is OriginKind.FILE


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "missing.toml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigError, match=r"no UTF-8 text \(octet 6\)"):
        load(tmp_path / "latin.toml", {})


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk_from_file\n")
    (tmp_path / "users").write_text('app = "$argon2id$x"\n"other app" = "$argon2id$y"\n')
    config = loads(f'[api]\napi_key_file = "{tmp_path}/key"\n[smtp.auth]\nusers_file = "{tmp_path}/users"\n')
    assert config.api.api_key == "sk_from_file"
    assert config.smtp.auth.users == {"app": "$argon2id$x", "other app": "$argon2id$y"}


def test_both_forms_of_a_secret_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    assert faults_of(f'[api]\napi_key = "a"\napi_key_file = "{tmp_path}/key"\n') == [
        "c.toml:3: api.api_key_file: both api_key and api_key_file are given; remove one of the two"
    ]


def test_a_secret_file_that_is_missing_empty_or_wrong_is_a_fault_without_its_contents(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "url").write_text("mysql://u:hunter2@db")
    (tmp_path / "users").write_text("app: hunter2")
    text = f"""
[api]
api_key_file = "{tmp_path}/missing"
[web]
secret_key_file = "{tmp_path}/empty"
[storage]
url_file = "{tmp_path}/url"
[delivery]
relay_password_file = 5
[smtp.auth]
users_file = "{tmp_path}/users"
"""
    told = faults_of(text)
    assert [fault.split(": ", 2)[1] for fault in told] == [
        "api.api_key_file",
        "web.secret_key_file",
        "storage.url_file",
        "delivery.relay_password_file",
        "smtp.auth.users_file",
    ]
    assert "hunter2" not in "".join(told)


def test_only_secrets_have_a_file_form() -> None:
    assert "unknown key" in faults_of('[smtp]\ndomain_file = "/x"\n')[0]


def test_the_file_is_the_option_then_the_variable_then_the_one_in_the_folder_then_none(tmp_path: Path) -> None:
    environ = {"SENDRY_CONFIG": "/etc/a.toml"}
    assert find_config_path(None, {}, tmp_path) is None
    assert find_config_path(None, {"SENDRY_CONFIG": ""}, tmp_path) is None
    (tmp_path / "config.toml").touch()
    assert find_config_path(None, {}, tmp_path) == tmp_path / "config.toml"
    assert find_config_path(None, environ, tmp_path) == Path("/etc/a.toml")
    assert find_config_path(Path("b.toml"), environ, tmp_path) == Path("b.toml")


def test_the_horizon_is_the_sum_of_all_waits() -> None:
    def horizon(settings: str) -> timedelta:
        return loads(f"[queue]\n{settings}").queue.horizon

    assert horizon("") == timedelta(minutes=75)
    assert horizon("max_retries = 1") == timedelta(0)
    assert horizon("max_retries = 40") == timedelta(minutes=5 + 10 + 20 + 40 + 80 + 160) + 33 * timedelta(hours=4)
    assert horizon('max_retries = 2147483647\nretry_interval = "1s"\nretry_max_interval = "1s"') == timedelta(
        seconds=2147483646
    )
