"""Own domains by name, and the keys that sign for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sendry.config.values import DomainMode
from sendry.domains.registry import Directory, KeyUnreadable
from sendry.mail.dkim import Algorithm, generate_ed25519, generate_rsa
from tests import make

DOMAINS = """
[domains."shop.example"]
mode = "redirect"
redirect_to = ["qa@example.com", "qa@example.com", "lead@example.com"]
default_from = "info@shop.example"
[domains."news.shop.example"]
mode = "bcc"
bcc_to = ["archive@example.com"]
[domains."catch.example"]
mode = "sandbox"
"""


class TestFinding:
    @pytest.fixture
    def directory(self) -> Directory:
        return Directory(make.config(DOMAINS))

    @pytest.mark.parametrize(
        ("domain", "name"),
        [
            ("example.com", "example.com"),
            ("a.b.example.com", "example.com"),
            ("shop.example", "shop.example"),
            ("x.shop.example", "shop.example"),
            ("news.shop.example", "news.shop.example"),
            ("x.news.shop.example", "news.shop.example"),
        ],
    )
    def test_gives_the_nearest_configured_parent(self, directory: Directory, domain: str, name: str) -> None:
        found = directory.find(domain)
        assert found is not None
        assert found.name == name

    @pytest.mark.parametrize(
        "domain",
        ["", "com", "example", "other.example", "notexample.com", "example.com.other.example", "[192.0.2.1]", "."],
    )
    def test_gives_nothing_for_what_is_not_ours(self, directory: Directory, domain: str) -> None:
        assert directory.find(domain) is None

    def test_tells_what_happens_to_its_mail(self, directory: Directory) -> None:
        shop, news, catch = (directory.find(f"{name}.example") for name in ("shop", "news.shop", "catch"))
        assert shop is not None
        assert news is not None
        assert catch is not None
        assert (shop.mode, shop.redirect_to) == (DomainMode.REDIRECT, ("qa@example.com", "lead@example.com"))
        assert (news.mode, news.bcc_to, news.redirect_to) == (DomainMode.BCC, ("archive@example.com",), ())
        assert (catch.mode, shop.default_from) == (DomainMode.SANDBOX, "info@shop.example")

    def test_lists_all_own_domains(self, directory: Directory) -> None:
        assert [domain.name for domain in directory.own()] == [
            "example.com", "shop.example", "news.shop.example", "catch.example",
        ]  # fmt: skip

    def test_the_domain_of_the_short_form_is_ours_too(self) -> None:
        found = Directory(make.config('dkim.domain = "signed.example"')).find("signed.example")
        assert found is not None
        assert found.mode is DomainMode.PRODUCTION


class TestTheSandboxProfile:
    def test_owns_every_domain(self) -> None:
        directory = Directory(make.config(domain=""))
        found = directory.find("anything.example")
        assert found is not None
        assert (found.name, found.mode, directory.own()) == ("anything.example", DomainMode.SANDBOX, ())
        assert directory.find("") is None


class TestSigningKeys:
    def config(self, folder: Path) -> str:
        return (
            f'[domains."example.com".dkim]\nselector = "s1"\nkey_file = "{folder}/rsa.pem"\n'
            f'[[domains."shop.example".dkim]]\nselector = "rsa"\nkey_file = "{folder}/rsa.pem"\n'
            f'[[domains."shop.example".dkim]]\nselector = "ed"\nkey_file = "{folder}/ed.pem"\n'
            f'[[domains."shop.example".dkim]]\nselector = "old"\nkey_file = "{folder}/gone.pem"\nenabled = false\n'
            '[domains."plain.example"]\n[domains."child.shop.example"]\n'
        )

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Directory:
        (tmp_path / "rsa.pem").write_bytes(generate_rsa(1024))
        (tmp_path / "ed.pem").write_bytes(generate_ed25519())
        return Directory(make.config(self.config(tmp_path)))

    def test_are_those_of_the_author_s_domain(self, directory: Directory) -> None:
        assert [(key.domain, key.selector, key.algorithm) for key in directory.signing_keys("shop.example")] == [
            ("shop.example", "rsa", Algorithm.RSA), ("shop.example", "ed", Algorithm.ED25519),
        ]  # fmt: skip

    def test_of_a_parent_sign_for_its_children(self, directory: Directory) -> None:
        for child in ("mail.example.com", "a.b.example.com"):
            assert [key.domain for key in directory.signing_keys(child)] == ["example.com"]
        assert {key.domain for key in directory.signing_keys("child.shop.example")} == {"shop.example"}

    @pytest.mark.parametrize("domain", ["plain.example", "other.example", "com", ""])
    def test_are_none_where_none_are_configured(self, directory: Directory, domain: str) -> None:
        assert directory.signing_keys(domain) == ()

    def test_are_read_once(self, directory: Directory) -> None:
        (first,), (second,) = directory.signing_keys("example.com"), directory.signing_keys("example.com")
        assert first is second

    def test_are_read_again_when_the_file_changes(self, directory: Directory, tmp_path: Path) -> None:
        (before,) = directory.signing_keys("example.com")
        (tmp_path / "rsa.pem").write_bytes(generate_ed25519())
        os.utime(tmp_path / "rsa.pem", (1, 1))
        (after,) = directory.signing_keys("example.com")
        assert (before.algorithm, after.algorithm) == (Algorithm.RSA, Algorithm.ED25519)

    def test_that_cannot_be_read_say_which_and_why(self, directory: Directory, tmp_path: Path) -> None:
        (tmp_path / "rsa.pem").write_text("no key")
        with pytest.raises(
            KeyUnreadable, match=r"the DKIM key rsa of shop\.example cannot be used: .*not a private key"
        ):
            directory.signing_keys("shop.example")
        (tmp_path / "rsa.pem").unlink()
        with pytest.raises(KeyUnreadable, match=r"the DKIM key s1 of example\.com cannot be used: .*No such file"):
            directory.signing_keys("example.com")

    def test_that_came_back_sign_again(self, directory: Directory, tmp_path: Path) -> None:
        octets = (tmp_path / "rsa.pem").read_bytes()
        (tmp_path / "rsa.pem").unlink()
        with pytest.raises(KeyUnreadable):
            directory.signing_keys("example.com")
        (tmp_path / "rsa.pem").write_bytes(octets)
        assert len(directory.signing_keys("example.com")) == 1
