"""The root key and the address of an HTTP caller."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendry.access.keys import Network, RootKey, client_ip, is_within, shown_key

PROXIES: tuple[Network, ...] = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


class TestRootKey:
    def test_admits_the_key_itself(self) -> None:
        assert RootKey("correct horse").admits("correct horse")

    @pytest.mark.parametrize("shown", ["", "correct hors", "correct horse ", "Correct horse", "\u20ac"])
    def test_admits_nothing_else(self, shown: str) -> None:
        assert not RootKey("correct horse").admits(shown)

    @pytest.mark.parametrize("shown", ["", "anything"])
    def test_an_empty_key_admits_nobody(self, shown: str) -> None:
        key = RootKey("")
        assert not key.admits(shown)

    def test_a_key_beyond_ascii_arrives_as_the_server_decodes_it(self) -> None:
        assert RootKey("ключ").admits("ключ".encode().decode("latin-1"))


class TestShownKey:
    @pytest.mark.parametrize("value", ["Bearer k1", "bearer k1", "BEARER   k1 "])
    def test_is_read_from_a_bearer_token(self, value: str) -> None:
        assert shown_key({"HTTP_AUTHORIZATION": value}) == "k1"

    def test_is_read_from_the_header_of_its_own(self) -> None:
        assert shown_key({"HTTP_X_API_KEY": " k1 "}) == "k1"

    def test_of_another_scheme_is_none(self) -> None:
        assert shown_key({"HTTP_AUTHORIZATION": "Basic azE6"}) == ""

    def test_a_proxys_basic_credentials_do_not_hide_the_other_header(self) -> None:
        assert shown_key({"HTTP_AUTHORIZATION": "Basic azE6", "HTTP_X_API_KEY": "k1"}) == "k1"

    def test_is_empty_when_nothing_is_shown(self) -> None:
        assert shown_key({}) == ""


class TestClientIp:
    @pytest.mark.parametrize(
        ("remote", "forwarded", "expected"),
        [
            ("198.51.100.7", "", "198.51.100.7"),
            ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # not from a proxy: not believed
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "127.0.0.1, 203.0.113.9", "203.0.113.9"),  # the left entry is the stranger's own
            ("10.0.0.1", "203.0.113.9, 10.2.3.4", "203.0.113.9"),  # two proxies
            ("10.0.0.1", "10.9.9.9, 10.2.3.4", "10.9.9.9"),  # a caller inside
            ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::1", "[2a00::5]:4711", "2a00::5"),
            ("2001:db8::1", "2a00::5", "2a00::5"),
            ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("", "203.0.113.9", ""),
        ],
    )
    def test_is_the_rightmost_address_that_is_no_trusted_proxy(
        self, remote: str, forwarded: str, expected: str
    ) -> None:
        environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded}
        assert client_ip(environ, PROXIES) == expected

    def test_is_the_connections_where_no_proxy_is_trusted(self) -> None:
        environ = {"REMOTE_ADDR": "198.51.100.7", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}
        assert client_ip(environ, ()) == "198.51.100.7"

    @given(forged=st.text(alphabet=st.characters(max_codepoint=255)))
    def test_does_not_depend_on_what_a_stranger_forged(self, forged: str) -> None:
        environ = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": forged + ", 203.0.113.9"}
        assert client_ip(environ, PROXIES) == "203.0.113.9"


class TestIsWithin:
    @pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:5::1"])
    def test_finds_an_address_of_the_networks(self, address: str) -> None:
        assert is_within(address, PROXIES)

    @pytest.mark.parametrize("address", ["11.0.0.1", "", "localhost", "10.1.2", "2001:db9::1"])
    def test_does_not_find_others(self, address: str) -> None:
        assert not is_within(address, PROXIES)
