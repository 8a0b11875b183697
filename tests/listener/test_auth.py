"""AUTH: the dialogues, who is let in, and what wrong credentials lead to."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from sendry.access.logins import hash_password
from tests.listener.client import Client
from tests.listener.conftest import Listen, Listening

USERS = 'auth.users = { alice = "correct horse", "bob@example.com" = "pa\\u0448word" }\n'


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plain(name: str, password: str, for_whom: str = "") -> str:
    return encoded(f"{for_whom}\0{name}\0{password}")


GOOD = plain("alice", "correct horse")
BAD = plain("alice", "wrong")


@pytest.fixture
def server(listen: Listen) -> Listening:
    return listen(USERS)


@pytest.fixture
def client(server: Listening) -> Client:
    return server.connect().hello()


class TestDialogue:
    def test_plain_with_an_initial_response(self, client: Client) -> None:
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"235 2.7.0 ")

    def test_plain_without_one(self, client: Client) -> None:
        assert client.ask("AUTH PLAIN") == b"334 \r\n"
        assert client.ask(GOOD).startswith(b"235 ")

    def test_login(self, client: Client) -> None:
        assert client.ask("AUTH LOGIN") == b"334 VXNlcm5hbWU6\r\n"
        assert client.ask(encoded("alice")) == b"334 UGFzc3dvcmQ6\r\n"
        assert client.ask(encoded("correct horse")).startswith(b"235 ")

    def test_login_with_an_initial_response(self, client: Client) -> None:
        assert client.ask(f"AUTH LOGIN {encoded('alice')}") == b"334 UGFzc3dvcmQ6\r\n"
        assert client.ask(encoded("correct horse")).startswith(b"235 ")

    @pytest.mark.parametrize("mechanism", ["plain", "Plain", "PLAIN"])
    def test_mechanisms_are_known_in_any_case(self, client: Client, mechanism: str) -> None:
        assert client.ask(f"AUTH {mechanism} {GOOD}").startswith(b"235 ")

    def test_names_and_passwords_may_be_utf8(self, client: Client) -> None:
        assert client.ask(f"AUTH PLAIN {plain('bob@example.com', 'paшword')}").startswith(b"235 ")

    def test_an_identity_to_act_for_must_be_ones_own(self, client: Client) -> None:
        assert client.ask(f"AUTH PLAIN {plain('alice', 'correct horse', 'bob')}").startswith(b"535 5.7.8 ")
        assert client.ask(f"AUTH PLAIN {plain('alice', 'correct horse', 'alice')}").startswith(b"235 ")

    def test_is_cancelled_by_an_asterisk(self, client: Client) -> None:
        client.ask("AUTH PLAIN")
        assert client.ask("*").startswith(b"501 5.7.0 ")
        client.ask("AUTH LOGIN")
        client.ask(encoded("alice"))
        assert client.ask("*").startswith(b"501 5.7.0 ")
        assert client.ask("NOOP").startswith(b"250 ")

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("AUTH", b"501 5.5.4"),
            ("AUTH PLAIN a b", b"501 5.5.4"),
            ("AUTH CRAM-MD5", b"504 5.5.4"),
            ("AUTH PLAIN not-base64!", b"501 5.5.2"),
            ("AUTH PLAIN é", b"501 5.5.2"),
            ("AUTH PLAIN =", b"501 5.5.2"),
            ("AUTH PLAIN " + encoded("no nul"), b"501 5.5.2"),
            ("AUTH PLAIN " + encoded("a\0b\0c\0d"), b"501 5.5.2"),
            ("AUTH PLAIN " + base64.b64encode(b"\0\xff\0x").decode(), b"501 5.5.2"),
        ],
    )
    def test_with_a_fault_is_refused_and_the_session_goes_on(self, client: Client, line: str, code: bytes) -> None:
        assert client.ask(line).startswith(code)
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"235 ")

    def test_an_answer_may_be_long_but_not_endless(self, client: Client) -> None:
        client.ask("AUTH PLAIN")
        assert client.ask(encoded("\0alice\0" + "x" * 8000)).startswith(b"535 5.7.8 ")
        client.ask("AUTH PLAIN")
        assert client.ask("A" * 20_000).startswith(b"500 5.5.6 ")
        assert client.ask("NOOP").startswith(b"250 ")


class TestOrder:
    def test_needs_ehlo(self, server: Listening) -> None:
        with server.connect() as client:
            client.ask("HELO x")
            assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"503 5.5.1 ")

    def test_twice_is_refused(self, client: Client) -> None:
        client.ask(f"AUTH PLAIN {GOOD}")
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"503 5.5.1 ")

    def test_within_a_transaction_is_refused(self, client: Client) -> None:
        client.ask("MAIL FROM:<a@example.com>")
        assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"503 5.5.1 ")

    def test_is_not_offered_any_more_afterwards(self, client: Client) -> None:
        assert b"250-AUTH PLAIN LOGIN\r\n" in client.ask("EHLO x")
        client.ask(f"AUTH PLAIN {GOOD}")
        assert b"AUTH" not in client.ask("EHLO x")

    def test_is_not_offered_without_users(self, listen: Listen) -> None:
        assert b"AUTH" not in listen().connect().ask("EHLO x")


class TestCredentials:
    @pytest.mark.parametrize(
        "response",
        [BAD, plain("nobody", "correct horse"), plain("Alice", "correct horse"), plain("alice", "correct horse ")],
    )
    def test_that_are_wrong_all_get_one_answer(self, client: Client, response: str) -> None:
        assert client.ask(f"AUTH PLAIN {response}") == b"535 5.7.8 Authentication credentials invalid\r\n"

    def test_of_an_argon2_hash_are_checked_once_and_then_remembered(self, listen: Listen) -> None:
        server = listen(f'auth.users = {{ carol = "{hash_password("sesame open")}" }}')
        for _ in range(2):
            with server.connect() as client:
                assert client.hello().ask(f"AUTH PLAIN {plain('carol', 'sesame open')}").startswith(b"235 ")
        assert server.servers.logins.remembers("carol", "sesame open")
        assert not server.servers.logins.remembers("carol", "sesame")

    def test_make_the_session_one_that_may_relay(self, listen: Listen) -> None:
        server = listen(USERS + "trusted_networks = []\n")
        with server.connect() as client:
            client.hello().ask("MAIL FROM:<a@example.com>")
            client.ask("RSET")
            client.ask(f"AUTH PLAIN {GOOD}")
            client.ask("MAIL FROM:<a@example.com>")
        before, after = (origin for origin, _ in server.intake.senders)
        assert (before.may_relay, before.name) == (False, "")
        assert (after.may_relay, after.name) == (True, "alice")

    def test_are_not_asked_for_in_the_sandbox_profile(self, listen: Listen) -> None:
        server = listen('auth.accept_any = true\n[domains."example.com"]\nmode = "sandbox"\n')
        assert server.connect().hello().ask(f"AUTH PLAIN {plain('any', 'thing')}").startswith(b"235 ")

    def test_changed_in_the_configuration_count_at_once(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().ask(f"AUTH PLAIN {GOOD}")
        smtp = server.config.smtp
        changed = replace(server.config, smtp=replace(smtp, auth=replace(smtp.auth, users={"alice": "new secret"})))
        server.servers.reload(changed)
        with server.connect() as client:
            assert client.hello().ask(f"AUTH PLAIN {GOOD}").startswith(b"535 ")
            assert client.ask(f"AUTH PLAIN {plain('alice', 'new secret')}").startswith(b"235 ")


class TestGuessing:
    def test_ends_the_session_at_the_third_failure(self, client: Client) -> None:
        assert client.ask(f"AUTH PLAIN {BAD}").startswith(b"535 ")
        assert client.ask(f"AUTH PLAIN {BAD}").startswith(b"535 ")
        assert client.ask(f"AUTH PLAIN {BAD}").startswith(b"535 ")
        assert client.rest().startswith(b"421 4.7.0 ")

    def test_blocks_the_address_on_all_listeners(self, listen: Listen) -> None:
        server = listen(USERS + "auth.max_failures = 3\n", submission=True)
        for name in ("x", "y", "z"):
            with server.connect("smtp.listen_addr") as client:
                client.hello().ask(f"AUTH PLAIN {plain(name, 'wrong')}")
        with server.connect("smtp.submission_addr") as client:
            assert client.hello().ask(f"AUTH PLAIN {GOOD}").startswith(b"421 4.7.0 ")
            assert client.is_closed()
        with server.connect("smtp.submission_addr", source="127.0.0.2") as client:
            assert client.hello().ask(f"AUTH PLAIN {GOOD}").startswith(b"235 ")

    def test_blocks_the_name_from_every_address(self, listen: Listen) -> None:
        server = listen(USERS + "auth.max_failures = 3\n")
        for last in (2, 3, 4):
            with server.connect(source=f"127.0.0.{last}") as client:
                client.hello().ask(f"AUTH PLAIN {BAD}")
        with server.connect(source="127.0.0.9") as client:
            client.hello()
            assert client.ask(f"AUTH PLAIN {GOOD}").startswith(b"454 4.7.0 ")
            assert client.ask(f"AUTH PLAIN {plain('bob@example.com', 'paшword')}").startswith(b"235 ")

    def test_is_counted(self, server: Listening) -> None:
        with server.connect() as client:
            client.hello().ask(f"AUTH PLAIN {BAD}")
            client.ask(f"AUTH PLAIN {GOOD}")
        counters = server.servers.counters
        assert (counters.auth_failed_total, counters.auth_success_total) == (1, 1)


class TestWhoMust:
    def test_everybody_where_it_is_required_except_trusted_networks(self, listen: Listen) -> None:
        server = listen(USERS + 'auth.required = true\ntrusted_networks = ["127.0.0.5"]\n')
        with server.connect() as client:
            assert client.hello().ask("MAIL FROM:<a@example.com>").startswith(b"530 5.7.0 ")
            client.ask(f"AUTH PLAIN {GOOD}")
            assert client.ask("MAIL FROM:<a@example.com>").startswith(b"250 ")
        with server.connect(source="127.0.0.5") as client:
            assert client.hello().ask("MAIL FROM:<a@example.com>").startswith(b"250 ")

    def test_everybody_on_submission(self, listen: Listen) -> None:
        server = listen(USERS.replace("auth", "trusted_networks = []\nauth", 1), submission=True)
        with server.connect("smtp.listen_addr") as client:
            assert client.hello().ask("MAIL FROM:<a@example.com>").startswith(b"250 ")
        with server.connect("smtp.submission_addr") as client:
            assert client.hello().ask("MAIL FROM:<a@example.com>").startswith(b"530 5.7.0 ")
            client.ask(f"AUTH PLAIN {GOOD}")
            client.transaction().send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            assert client.reply().startswith(b"250 ")
        assert server.intake.only.is_submission
        assert b" with ESMTPA id " in server.intake.only.trace
