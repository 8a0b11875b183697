"""`user` keeps the people who sign in to the panel; no password is ever an argument."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sendry.access.users import Person, Users
from tests.cli.conftest import Installation


class Desk:
    """Runs `user` with a password on standard input."""

    def __init__(self, house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house = house
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        ran = self.house.run("user", *arguments)
        return ran.code, ran.out, ran.err

    def signs_in(self, email: str, password: str) -> Person | None:
        with self.house.rooms() as here:
            return Users(here.store, "").authenticate(email, password)


@pytest.fixture
def user(house: Installation, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(house, monkeypatch)


def test_the_first_is_an_admin_and_the_next_a_viewer(user: Desk) -> None:
    assert user("create", "Ann@example.com", typed="correct horse\n")[:2] == (
        0,
        "ann@example.com may sign in now, as admin\n",
    )
    assert user("create", "bob@example.com", "--name", "Bob B", typed="battery staple\n")[1].endswith("as viewer\n")
    person = user.signs_in("ann@example.com", "correct horse")
    assert person is not None
    assert person.role == "admin"
    assert user.signs_in("bob@example.com", "battery staple\n") is None


def test_a_role_can_be_given(user: Desk) -> None:
    assert user("create", "ann@example.com", "--role", "editor", typed="correct horse")[1].endswith("as editor\n")
    assert user("create", "b@example.com", "--role", "boss", typed="correct horse")[0] == 2


def test_a_password_can_be_made(user: Desk) -> None:
    code, out, _ = user("create", "ann@example.com", "--generate")
    assert code == 0
    assert "note it down" in out
    password = out.splitlines()[1].split()[1]
    assert user.signs_in("ann@example.com", password) is not None


def test_everybody_is_listed(user: Desk) -> None:
    assert user("list")[1] == "nobody; sendry user create EMAIL adds somebody\n"
    user("create", "ann@example.com", "--name", "Ann", typed="correct horse")
    assert [line.split()[:3] for line in user("list")[1].splitlines()] == [
        ["EMAIL", "NAME", "ROLE"],
        ["ann@example.com", "Ann", "admin"],
    ]
    (shown,) = user.house.run("user", "list", "--json").json["users"]
    assert (shown["email"], shown["role"], shown["last_seen_at"]) == ("ann@example.com", "admin", None)
    assert "password" not in str(shown)


def test_somebody_is_removed_but_not_the_last_admin(user: Desk) -> None:
    user("create", "ann@example.com", typed="correct horse")
    user("create", "bob@example.com", typed="correct horse")
    assert user("delete", "bob@example.com")[:2] == (0, "bob@example.com is removed\n")
    assert user("delete", "bob@example.com") == (
        1,
        "",
        "sendry: there is no user bob@example.com; sendry user list shows all\n",
    )
    code, _, err = user("delete", "ann@example.com")
    assert code == 1
    assert "last admin" in err


def test_a_new_password_ends_the_old_one(user: Desk) -> None:
    user("create", "ann@example.com", typed="correct horse")
    assert user("reset-password", "Ann@example.com", typed="battery staple\n")[0] == 0
    assert user.signs_in("ann@example.com", "correct horse") is None
    assert user.signs_in("ann@example.com", "battery staple") is not None
    made = user.house.run("user", "reset-password", "ann@example.com", "--generate", "--json").json
    assert user.signs_in("ann@example.com", made["password"]) is not None


@pytest.mark.parametrize(
    ("arguments", "typed", "told"),
    [
        (("create", "ann"), "correct horse", "«ann» is not an address"),
        (("create", "b@example.com"), "short", "at least 10 characters"),
        (("create", "b@example.com"), "", "the password is empty"),
        (("create", "ann@example.com"), "correct horse", "has an account already"),
        (("reset-password", "nobody@example.com"), "correct horse", "there is no user nobody@example.com"),
        (("reset-password", "ann@example.com"), "short", "at least 10 characters"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(
    arguments: tuple[str, ...], typed: str, told: str, user: Desk
) -> None:
    user("create", "ann@example.com", typed="a good password")
    code, out, err = user(*arguments, typed=typed)
    assert (code, out) == (1, "")
    assert told in err
    assert user.signs_in("ann@example.com", "a good password") is not None
    assert len(user.house.run("user", "list", "--json").json["users"]) == 1


def test_the_first_user_can_be_made_before_the_first_start(user: Desk, tmp_path: Path) -> None:
    (tmp_path / "queue.db").unlink()
    assert user("create", "ann@example.com", typed="correct horse")[0] == 0
    assert user.signs_in("ann@example.com", "correct horse") is not None
