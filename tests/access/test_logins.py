"""SMTP logins: who is let in, and that nothing is told by the way it is refused."""

from __future__ import annotations

import pytest

from sendry.access.logins import Logins, hash_password, is_hash, verify_hash

HASH = hash_password("sesame open")


class TestHashPassword:
    def test_makes_an_argon2id_hash_that_fits_only_its_password(self) -> None:
        assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert verify_hash(HASH, "sesame open")
        assert not verify_hash(HASH, "sesame open ")

    def test_salts_each_anew(self) -> None:
        assert hash_password("sesame open") != HASH

    def test_is_told_from_clear_text(self) -> None:
        assert is_hash(HASH)
        assert not is_hash("argon2")

    @pytest.mark.parametrize(
        "stored", ["$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$x$y", HASH[:-5]], ids=["empty", "weak", "cut"]
    )
    def test_broken_is_of_no_password(self, stored: str) -> None:
        assert not verify_hash(stored, "sesame open")


class TestVerify:
    @pytest.mark.parametrize("password", ["clear", HASH], ids=["clear", "hash"])
    def test_knows_clear_text_and_hashes(self, password: str) -> None:
        logins = Logins({"alice": password})
        assert logins.verify("alice", "clear" if password == "clear" else "sesame open")
        assert not logins.verify("alice", "wrong")
        assert not logins.verify("alice", "")

    def test_does_not_take_the_hash_for_the_password(self) -> None:
        assert not Logins({"alice": HASH}).verify("alice", HASH)

    def test_knows_no_strangers(self) -> None:
        logins = Logins({"alice": "clear", "bob": HASH})
        assert not logins.verify("carol", "clear")
        assert not logins.verify("carol", "")
        assert not logins.verify("Alice", "clear")

    def test_takes_no_empty_password_even_where_one_is_configured(self) -> None:
        assert not Logins({"alice": ""}).verify("alice", "")

    def test_takes_no_endless_password(self) -> None:
        assert not Logins({"alice": "x" * 5000}).verify("alice", "x" * 5000)

    def test_takes_text_that_is_no_unicode(self) -> None:
        assert not Logins({"alice": "clear"}).verify("alice", "\ud800")

    def test_lets_everybody_in_where_any_are_accepted(self) -> None:
        logins = Logins({}, accepts_any=True)
        assert logins.is_open
        assert logins.remembers("any", "thing")
        assert logins.verify("any", "thing")

    def test_has_nobody_to_let_in_without_users(self) -> None:
        assert not Logins({}).is_open

    @pytest.mark.parametrize("name", ["plain", "hashed", "nobody"])
    def test_hashes_for_every_name_where_it_does_for_one(self, name: str) -> None:
        from sendry.access import logins as room

        class Counting:
            """The semaphore, seen from outside: how often a hash was computed."""

            entered = 0

            def __enter__(self) -> None:
                Counting.entered += 1

            def __exit__(self, *_: object) -> None: ...

        logins = Logins({"plain": "clear", "hashed": HASH})
        real, room.hashing = room.hashing, Counting()  # type: ignore[misc, assignment]  # a stand-in that counts
        try:
            logins.verify(name, "wrong")
        finally:
            room.hashing = real  # type: ignore[misc]  # put back what is final
        assert Counting.entered == 1


class TestRemembering:
    def test_spares_the_second_hash(self) -> None:
        logins = Logins({"alice": HASH})
        assert not logins.remembers("alice", "sesame open")
        logins.verify("alice", "sesame open")
        assert logins.remembers("alice", "sesame open")
        assert not logins.remembers("alice", "wrong")
        assert not logins.remembers("bob", "sesame open")

    def test_never_remembers_what_was_wrong(self) -> None:
        logins = Logins({"alice": HASH})
        logins.verify("alice", "wrong")
        assert not logins.remembers("alice", "wrong")

    def test_ends_after_a_while(self) -> None:
        clock = [1000.0]
        logins = Logins({"alice": HASH}, monotonic=lambda: clock[0])
        logins.verify("alice", "sesame open")
        clock[0] += 299
        assert logins.remembers("alice", "sesame open")
        clock[0] += 2
        assert not logins.remembers("alice", "sesame open")

    def test_ends_with_a_change_of_the_configuration(self) -> None:
        logins = Logins({"alice": "old"})
        logins.verify("alice", "old")
        logins.replace({"alice": "new"})
        assert not logins.remembers("alice", "old")
        assert not logins.verify("alice", "old")
        assert logins.verify("alice", "new")

    def test_keeps_no_password(self) -> None:
        logins = Logins({"alice": HASH})
        logins.verify("alice", "sesame open")
        assert "sesame" not in repr(vars(logins))
