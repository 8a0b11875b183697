"""`dkim` makes keys that are never overwritten, and shows the records that go with them."""

from __future__ import annotations

import stat
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sendry.mail.dkim import load_key, sign
from tests.cli.conftest import Installation


def test_a_key_is_made_and_its_record_told(house: Installation) -> None:
    ran = house.run("dkim", "generate", "--domain", "Example.com", "--out", str(house.folder / "keys"))
    path = house.folder / "keys" / "example.com" / "sendry.pem"
    assert ran.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert 'sendry._domainkey.example.com. IN TXT "v=DKIM1; k=rsa; p=MII' in ran.out
    assert f'key_file = "{path}"' in ran.out
    assert "PRIVATE" not in ran.out


def test_an_ed25519_key(house: Installation) -> None:
    arguments = ["--domain", "example.com", "--out", str(house.folder), "--selector", "ed", "--type", "ed25519"]
    made = house.run("dkim", "generate", *arguments, "--json").json
    assert made["selector"] == "ed"
    assert made["record"]["name"] == "ed._domainkey.example.com"
    assert made["record"]["value"].startswith("v=DKIM1; k=ed25519; p=")
    assert isinstance(load_pem_private_key(Path(made["key_file"]).read_bytes(), None), Ed25519PrivateKey)


def test_the_record_verifies_what_the_key_signs(house: Installation) -> None:
    made = house.run("dkim", "generate", "--domain", "example.com", "--out", str(house.folder), "--json").json
    key = load_key(Path(made["key_file"]).read_bytes(), "example.com", "sendry")
    head, body = b"From: a@example.com\r\nSubject: x\r\n\r\n", b"Hello\r\n"
    mail = sign(head, body, key, now_ts=1) + head + body
    asked = {f"{made['record']['name']}.".encode(): made["record"]["value"].encode()}
    assert dkim.verify(mail, dnsfunc=lambda name, timeout=5: asked.get(name))


def test_a_key_that_is_there_is_left_alone(house: Installation) -> None:
    arguments = ("dkim", "generate", "--domain", "example.com", "--out", str(house.folder))
    house.run(*arguments)
    path = house.folder / "example.com" / "sendry.pem"
    before = path.read_bytes()
    ran = house.run(*arguments)
    assert ran.code == 1
    assert f"{path} exists and may be in use" in ran.err
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_told(house: Installation) -> None:
    (house.folder / "file").write_text("")
    ran = house.run("dkim", "generate", "--domain", "example.com", "--out", str(house.folder / "file"))
    assert ran.code == 1
    assert "another folder by --out" in ran.err


def configure(house: Installation, domain: str, selector: str, kind: str = "rsa") -> str:
    """Make a key and put it into the configuration; gives the value of its record."""
    arguments = ["--domain", domain, "--selector", selector, "--type", kind, "--out", str(house.folder)]
    made = house.run("dkim", "generate", *arguments, "--json").json
    with house.config.open("a") as file:
        file.write(f'[[domains."{domain}".dkim]]\nselector = "{selector}"\nkey_file = "{made["key_file"]}"\n')
    value: str = made["record"]["value"]
    return value


def test_the_records_of_configured_keys_are_shown(house: Installation) -> None:
    first = configure(house, "a.example", "s1")
    second = configure(house, "a.example", "s2", "ed25519")
    other = configure(house, "b.example", "s1")

    def shown(*arguments: str) -> list[tuple[str, str]]:
        records = house.run("dkim", "show", "--json", *arguments).json["records"]
        return [(record["name"], record["value"]) for record in records]

    everything = [
        ("s1._domainkey.a.example", first),
        ("s2._domainkey.a.example", second),
        ("s1._domainkey.b.example", other),
    ]
    assert shown() == everything
    assert shown("--domain", "a.example") == everything[:2]
    assert shown("--domain", "a.example", "--selector", "s2") == everything[1:2]
    assert house.run("dkim", "show").lines[1] == f's2._domainkey.a.example. IN TXT "{second}"'


def test_the_record_of_a_key_file_is_shown(house: Installation) -> None:
    made = house.run("dkim", "generate", "--domain", "example.com", "--out", str(house.folder), "--json").json
    arguments = ["--key", made["key_file"], "--domain", "example.com"]
    assert house.run("dkim", "show", *arguments, "--json").json["records"] == [made["record"]]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["generate"], 2, "required: --domain"),
        (["generate", "--domain", "a b"], 2, "'a b': this is no domain name"),
        (["generate", "--domain", "example.com", "--selector", "a b"], 2, "argument --selector"),
        (["generate", "--domain", "example.com", "--type", "dsa"], 2, "invalid choice: 'dsa'"),
        (["show"], 1, "no DKIM key is configured; sendry dkim generate makes one"),
        (["show", "--domain", "example.com"], 1, "no DKIM key for example.com is configured"),
        (["show", "--key", "missing.pem", "--domain", "example.com"], 1, "missing.pem: No such file"),
        (["show", "--key", "config.toml", "--domain", "example.com"], 1, "config.toml: this is not a private key"),
        (["show", "--key", "config.toml"], 2, "--key needs --domain"),
    ],
)
def test_wrong_usage(
    arguments: list[str], code: int, told: str, house: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.folder)
    ran = house.run("dkim", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err
