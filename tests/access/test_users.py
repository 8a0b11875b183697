from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher

from sendry.access.sessions import Sessions
from sendry.access.users import Role, UserFault, Users
from sendry.store.database import Store

NOW = datetime(2026, 3, 18, 14, 32, tzinfo=UTC)
PASSWORD = "correct horse battery"


@pytest.fixture
def users(store: Store) -> Users:
    return Users(store, "web secret")


def test_a_person_comes_in_with_the_right_password_whatever_case_the_address_has(users: Users) -> None:
    made = users.create("Operator@Example.com", "Olga Petrova", PASSWORD, Role.ADMIN, NOW)
    assert users.authenticate(" OPERATOR@example.COM ", PASSWORD) == made
    assert (made.email, made.initials, made.may_act) == ("operator@example.com", "OP", True)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("operator@example.com", "correct horse batter"),
        ("operator@example.com", ""),
        ("nobody@example.com", PASSWORD),
    ],
)
def test_a_wrong_password_and_an_unknown_address_are_refused_alike(users: Users, email: str, password: str) -> None:
    users.create("operator@example.com", "", PASSWORD, Role.ADMIN, NOW)
    assert users.authenticate(email, password) is None


def test_an_unknown_address_costs_one_hash_like_a_known_one(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    genuine = PasswordHasher.verify

    def counting(self: PasswordHasher, kept: str, password: str) -> bool:
        checked.append(kept.rsplit("$", 2)[0])
        return bool(genuine(self, kept, password))

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    users.create("operator@example.com", "", PASSWORD, Role.ADMIN, NOW)
    users.authenticate("operator@example.com", "wrong wrong wrong")
    users.authenticate("nobody@example.com", "wrong wrong wrong")
    assert checked == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2


def test_a_hash_of_other_cost_is_renewed_when_its_owner_comes_in(users: Users, store: Store) -> None:
    users.create("operator@example.com", "", PASSWORD, Role.ADMIN, NOW)
    cheap = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    store.writer.call(lambda tx: tx.change("UPDATE account SET password_hash = ?", (cheap,))).result()
    assert users.authenticate("operator@example.com", PASSWORD) is not None
    (kept,) = store.rows("SELECT password_hash FROM account")[0]
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("email", ["", "operator", "@example.com", "operator@", "a b@example.com", "a\n@b.c"])
def test_an_address_that_is_none_is_refused_by_name(users: Users, email: str) -> None:
    with pytest.raises(UserFault) as fault:
        users.create(email, "", PASSWORD, Role.VIEWER, NOW)
    assert (fault.value.field, fault.value.code) == ("email", "email")


@pytest.mark.parametrize(("password", "code"), [("123456789", "short"), ("x" * 1025, "long")])
def test_a_password_has_ten_to_1024_characters(users: Users, password: str, code: str) -> None:
    with pytest.raises(UserFault) as fault:
        users.create("operator@example.com", "", password, Role.VIEWER, NOW)
    assert (fault.value.field, fault.value.code) == ("password", code)


def test_an_address_has_one_account(users: Users) -> None:
    users.create("operator@example.com", "", PASSWORD, Role.ADMIN, NOW)
    with pytest.raises(UserFault) as fault:
        users.create("OPERATOR@example.com", "", PASSWORD, Role.VIEWER, NOW)
    assert fault.value.code == "taken"
    assert len(users.all()) == 1


def test_the_first_admin_link_counts_until_somebody_can_sign_in(users: Users, store: Store) -> None:
    token = users.first_admin_token()
    assert token is not None
    assert Users(store, "web secret").first_admin_token() == token, "each process prints the same link"
    assert Users(store, "another secret").first_admin_token() != token
    assert users.create_first_admin("guessed", "eve@example.com", "", PASSWORD, NOW) is None
    made = users.create_first_admin(token, "operator@example.com", "", PASSWORD, NOW)
    assert made is not None
    assert made.role is Role.ADMIN
    assert users.first_admin_token() is None
    assert not users.is_first_admin_token(token)
    assert users.create_first_admin(token, "eve@example.com", "", PASSWORD, NOW) is None
    assert [person.email for person in users.all()] == ["operator@example.com"]


def test_of_two_first_admins_at_once_one_wins(users: Users, store: Store) -> None:
    token = users.first_admin_token()
    assert token is not None

    class MeetsAnother(Users):
        def _hash(self, password: str) -> str:
            users.create("first@example.com", "", PASSWORD, Role.ADMIN, NOW)
            return super()._hash(password)

    late = MeetsAnother(store, "web secret")
    assert late.create_first_admin(token, "second@example.com", "", PASSWORD, NOW) is None
    assert [person.email for person in users.all()] == ["first@example.com"]


def test_the_last_admin_cannot_be_deleted(users: Users) -> None:
    users.create("operator@example.com", "", PASSWORD, Role.ADMIN, NOW)
    users.create("viewer@example.com", "", PASSWORD, Role.VIEWER, NOW)
    with pytest.raises(UserFault):
        users.delete("operator@example.com")
    users.create("second@example.com", "", PASSWORD, Role.ADMIN, NOW + timedelta(seconds=1))
    assert users.delete("operator@example.com")
    assert not users.delete("operator@example.com")
    assert [person.email for person in users.all()] == ["viewer@example.com", "second@example.com"]


def test_a_new_password_and_a_deleted_account_end_all_sessions(users: Users, store: Store) -> None:
    sessions = Sessions(store, timedelta(hours=24))
    admin = users.create("operator@example.com", "", PASSWORD, Role.ADMIN, NOW)
    viewer = users.create("viewer@example.com", "", PASSWORD, Role.VIEWER, NOW)
    tokens = [sessions.open(admin.id, NOW), sessions.open(viewer.id, NOW)]
    assert users.set_password("operator@example.com", "another long password")
    assert sessions.find(tokens[0], NOW) is None
    assert users.authenticate("operator@example.com", PASSWORD) is None
    assert users.authenticate("operator@example.com", "another long password") == admin
    users.delete("viewer@example.com")
    assert sessions.find(tokens[1], NOW) is None
    assert not users.set_password("nobody@example.com", PASSWORD)


def test_the_language_of_a_person_is_kept(users: Users) -> None:
    person = users.create("operator@example.com", "", PASSWORD, Role.VIEWER, NOW)
    users.set_locale(person.id, "ru")
    found = users.find("operator@example.com")
    assert found is not None
    assert found.locale == "ru"
    assert not found.may_act
