"""Every key can be set by a variable, and no variable is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from sendry.config import ConfigError, DomainMode, HostPort, OriginKind, loads
from sendry.config.listing import known_keys


def faults_of(environ: Mapping[str, str], text: str = "") -> list[str]:
    with pytest.raises(ConfigError) as raised:
        loads(text, environ, Path("c.toml") if text else None)
    return [str(fault) for fault in raised.value.faults]


def test_a_variable_wins_over_the_file_and_is_read_by_the_type_of_its_key() -> None:
    config = loads(
        '[smtp]\ndomain = "file.example"\nallowed_ips = ["10.0.0.0/8"]\n[api]\napi_key = "x"\n',
        {
            "SENDRY_SMTP__DOMAIN": "variable.example",
            "SENDRY_smtp__Max_Recipients": "7",
            "SENDRY_SMTP__ALLOWED_IPS": "192.0.2.1, 2001:db8::/32 ,",
            "SENDRY_SMTP__TRUSTED_NETWORKS": '["192.0.2.2"]',
            "SENDRY_SMTP__AUTH__REQUIRED": "yes",
            "SENDRY_QUEUE__RETRY_INTERVAL": "1m",
            "SENDRY_DLQ__MAX_AGE": "0",
            "SENDRY_SMTP__SMTPS_ADDR": "",
        },
    )
    assert config.smtp.domain == "variable.example"
    assert config.smtp.max_recipients == 7
    assert config.smtp.allowed_ips == (ip_network("192.0.2.1"), ip_network("2001:db8::/32"))
    assert config.smtp.trusted_networks == (ip_network("192.0.2.2"),)
    assert config.smtp.auth.required is True
    assert config.queue.retry_interval == timedelta(minutes=1)
    assert config.dlq.max_age == timedelta(0)
    assert config.smtp.smtps_addr is None
    assert str(config.origins["smtp.domain"]) == "environment SENDRY_SMTP__DOMAIN"


def test_an_empty_variable_is_an_empty_list() -> None:
    assert loads("", {"SENDRY_SMTP__TRUSTED_NETWORKS": ""}).smtp.trusted_networks == ()


def test_every_known_key_has_a_variable() -> None:
    for key in known_keys():
        name = "SENDRY_" + key.name.replace(".NAME", ".A_EXAMPLE").upper().replace(".", "__")
        try:
            loads("", {name: "?"})
            told = ""
        except ConfigError as error:
            told = str(error)
        assert "unknown variable" not in told


def test_wrong_variables_are_told_with_their_name_all_at_once() -> None:
    assert faults_of(
        {"SENDRY_QUEUE__WORKERS": "many", "SENDRY_DLQ__ENABLED": "maybe", "SENDRY_DLQ__MAX_AGE": "5"}
    ) == [
        'environment SENDRY_DLQ__ENABLED: dlq.enabled: "maybe" is wrong; allowed is true or false',
        'environment SENDRY_DLQ__MAX_AGE: dlq.max_age: "5" is wrong (this is no duration); '
        "allowed is a duration such as 30s, 5m, 1h or 7d, 0 for off",
        'environment SENDRY_QUEUE__WORKERS: queue.workers: "many" is wrong; '
        "allowed is a whole number from 1 to 2147483647",
    ]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SENDRY_SMPT__DOMAIN", "did you mean SENDRY_SMTP__DOMAIN?"),
        ("SENDRY_SMTP_DOMAIN", "did you mean SENDRY_SMTP__DOMAIN?"),
        ("SENDRY_WHATEVER", "allowed is SENDRY_ and the path of a key with __, such as SENDRY_SMTP__DOMAIN"),
        ("SENDRY_", "allowed is SENDRY_ and the path of a key with __, such as SENDRY_SMTP__DOMAIN"),
        ("SENDRY_SMTP__DOMAIN__X", "did you mean SENDRY_SMTP__DOMAIN?"),
        ("SENDRY_SMTP__DOMAIN_FILE", "did you mean SENDRY_SMTP__DOMAIN?"),
    ],
)
def test_an_unknown_variable_is_a_fault_with_advice(name: str, advice: str) -> None:
    assert faults_of({name: "x"}) == [f"environment {name}: unknown variable; {advice}"]


def test_the_variable_that_names_the_file_and_foreign_ones_are_no_settings() -> None:
    loads("", {"SENDRY_CONFIG": "/etc/sendry/config.toml", "HOME": "/root", "SENDRYX": "1", "sendry_x": "1"})


def test_two_variables_for_one_key_are_a_fault() -> None:
    assert faults_of({"SENDRY_QUEUE__WORKERS": "1", "SENDRY_queue__workers": "2"}) == [
        "environment SENDRY_queue__workers: queue.workers: SENDRY_QUEUE__WORKERS sets the same key; "
        "remove one of the two"
    ]


def test_port_is_http_on_all_addresses() -> None:
    config = loads("", {"PORT": "5000"})
    assert config.api.listen_addr == HostPort("0.0.0.0", 5000)
    assert str(config.origins["api.listen_addr"]) == "environment PORT"


def test_a_variable_of_our_own_wins_over_that_of_the_platform() -> None:
    environ = {
        "PORT": "5000",
        "SENDRY_API__LISTEN_ADDR": "127.0.0.1:1",
        "DATABASE_URL": "postgres://a/b",
        "SENDRY_STORAGE__URL": "postgres://c/d",
    }
    config = loads("", environ)
    assert config.api.listen_addr == HostPort("127.0.0.1", 1)
    assert config.storage.url == "postgres://c/d"


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_wrong_port_is_a_fault(port: str) -> None:
    assert faults_of({"PORT": port}) == [
        f'environment PORT: api.listen_addr: "{port}" is wrong; allowed is a port number from 1 to 65535'
    ]


def test_database_url_is_the_store() -> None:
    assert loads("", {"DATABASE_URL": "postgres://u:p@db/x"}).storage.url == "postgres://u:p@db/x"
    assert faults_of({"DATABASE_URL": "mysql://u:hunter2@db/x"}) == [
        "environment DATABASE_URL: storage.url: ******** is wrong (only PostgreSQL is known; for SQLite leave it "
        "empty and set storage.path); allowed is a URL such as postgresql://user:password@host/database"
    ]


def test_empty_variables_of_the_platform_say_nothing() -> None:
    config = loads("", {"PORT": "", "DATABASE_URL": ""})
    assert config.api.listen_addr == HostPort("127.0.0.1", 8080)
    assert config.storage.url == ""


def test_a_domain_is_written_with_underscores_for_dots() -> None:
    config = loads("", {"SENDRY_DOMAINS__SHOP_EXAMPLE__MODE": "sandbox"})
    assert config.domains["shop.example"].mode is DomainMode.SANDBOX


def test_a_domain_that_the_file_has_is_found_whatever_its_hyphens() -> None:
    text = '[domains."My-Shop.example"]\nmode = "sandbox"\n'
    config = loads(
        text,
        {"SENDRY_DOMAINS__MY_SHOP_EXAMPLE__MODE": "bcc", "SENDRY_DOMAINS__my-shop.example__BCC_TO": "a@b.example"},
    )
    assert list(config.domains) == ["my-shop.example"]
    assert config.domains["my-shop.example"].mode is DomainMode.BCC
    assert config.domains["my-shop.example"].bcc_to == ("a@b.example",)


def test_a_table_may_be_given_inline_and_is_laid_over_the_file() -> None:
    config = loads(
        '[domains."a.example"]\nmode = "sandbox"\n',
        {
            "SENDRY_DOMAINS": '{ "my-shop.example" = { mode = "sandbox" } }',
            "SENDRY_SMTP__AUTH__USERS": '{ "App One" = "$argon2id$x" }',
            "SENDRY_SMTP__AUTH__USERS__OTHER": "$argon2id$y",
        },
    )
    assert set(config.domains) == {"a.example", "my-shop.example"}
    assert config.smtp.auth.users == {"App One": "$argon2id$x", "other": "$argon2id$y"}
    assert config.origins['smtp.auth.users."App One"'].name == "SENDRY_SMTP__AUTH__USERS"


def test_the_more_exact_variable_wins_over_that_of_its_table() -> None:
    environ = {"SENDRY_QUEUE__WORKERS": "2", "SENDRY_QUEUE": "{ workers = 9, max_retries = 40 }"}
    config = loads("", environ)
    assert (config.queue.workers, config.queue.max_retries) == (2, 40)


def test_a_table_that_is_no_toml_is_a_fault_and_its_text_is_not_repeated_where_it_holds_secrets() -> None:
    assert faults_of({"SENDRY_SMTP__AUTH__USERS": "app:hunter2"}) == [
        "environment SENDRY_SMTP__AUTH__USERS: smtp.auth.users: ******** is wrong; allowed is a TOML value"
    ]
    assert faults_of({"SENDRY_DOMAINS": "5"}) == [
        'environment SENDRY_DOMAINS: domains: "5" is wrong; allowed is an inline table of TOML'
    ]
    assert "more than one value" in faults_of({"SENDRY_DOMAINS": "{}\n[api]"})[0]


def test_dkim_keys_by_variable_are_one_table_or_an_array() -> None:
    one = {"SENDRY_DOMAINS__A_EXAMPLE__DKIM__SELECTOR": "s", "SENDRY_DOMAINS__A_EXAMPLE__DKIM__KEY_FILE": "/k"}
    assert [key.selector for key in loads("", one).domains["a.example"].dkim] == ["s"]
    several = {"SENDRY_DOMAINS__A_EXAMPLE__DKIM": '[{ selector = "a", key_file = "/a" }, { enabled = false }]'}
    assert [key.selector for key in loads("", several).domains["a.example"].dkim] == ["a", ""]


def test_a_variable_replaces_the_secret_of_the_file_in_whichever_form(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    in_file = f'[api]\napi_key_file = "{tmp_path}/key"\n'
    assert loads(in_file, {"SENDRY_API__API_KEY": "from-variable"}).api.api_key == "from-variable"
    inline = '[api]\napi_key = "inline"\n'
    assert loads(inline, {"SENDRY_API__API_KEY_FILE": f"{tmp_path}/key"}).api.api_key == "from-file"
    both = {"SENDRY_API__API_KEY": "a", "SENDRY_API__API_KEY_FILE": f"{tmp_path}/key"}
    assert "both api_key and api_key_file" in faults_of(both)[0]


def test_a_login_that_ends_like_a_file_form_is_left_alone() -> None:
    text = '[smtp.auth.users]\napp_file = "$argon2id$x"\n'
    config = loads(text, {"SENDRY_SMTP__AUTH__USERS__APP": "$argon2id$y"})
    assert config.smtp.auth.users == {"app_file": "$argon2id$x", "app": "$argon2id$y"}


def test_a_file_value_that_blocks_the_way_is_the_fault() -> None:
    assert faults_of({"SENDRY_SMTP__DOMAIN": "a.example"}, "smtp = 5\n") == [
        "c.toml:1: smtp: 5 is wrong; allowed is a table [smtp]"
    ]


def test_a_list_from_a_variable_has_no_line_of_the_file() -> None:
    told = faults_of({"SENDRY_SMTP__ALLOWED_IPS": "x"}, '[smtp]\nallowed_ips = ["10.0.0.0/8"]\n')
    assert told[0].startswith("environment SENDRY_SMTP__ALLOWED_IPS: smtp.allowed_ips[0]:")


def test_the_origin_of_a_key_is_the_last_that_set_it() -> None:
    config = loads("[queue]\nworkers = 1\nmax_retries = 9\n", {"SENDRY_QUEUE__WORKERS": "2"})
    assert config.origins["queue.workers"].kind is OriginKind.ENVIRONMENT
    assert config.origins["queue.max_retries"].kind is OriginKind.FILE
    assert "queue.retry_interval" not in config.origins
