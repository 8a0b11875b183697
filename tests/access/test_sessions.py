from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sendry.access.sessions import Sessions
from sendry.access.users import Person, Role, Users
from sendry.store.database import Store

NOW = datetime(2026, 3, 18, 14, 32, tzinfo=UTC)
DAY = timedelta(hours=24)


@pytest.fixture
def person(store: Store) -> Person:
    return Users(store, "s").create("operator@example.com", "", "correct horse battery", Role.ADMIN, NOW)


@pytest.fixture
def sessions(store: Store) -> Sessions:
    return Sessions(store, DAY)


def test_a_token_opens_its_session_for_its_time_and_not_a_moment_longer(sessions: Sessions, person: Person) -> None:
    token = sessions.open(person.id, NOW, "192.0.2.1", "Firefox")
    found = sessions.find(token, NOW + DAY - timedelta(milliseconds=1))
    assert found is not None
    assert (found.person.email, found.expires_at) == ("operator@example.com", NOW + DAY)
    assert sessions.find(token, NOW + DAY) is None


def test_the_token_itself_is_not_in_the_database(sessions: Sessions, person: Person, store: Store) -> None:
    token = sessions.open(person.id, NOW)
    (row,) = store.rows("SELECT * FROM session")
    assert token not in [str(value) for value in row]
    assert sessions.find(str(row[0]), NOW) is None, "the hash opens nothing"


def test_two_sign_ins_have_two_tokens_and_end_apart(sessions: Sessions, person: Person) -> None:
    first, second = sessions.open(person.id, NOW), sessions.open(person.id, NOW)
    assert first != second
    sessions.end(first)
    assert sessions.find(first, NOW) is None
    assert sessions.find(second, NOW) is not None
    sessions.end(second)
    assert sessions.find(second, NOW) is None


def test_being_there_is_noted_at_most_once_a_minute(sessions: Sessions, person: Person, store: Store) -> None:
    token = sessions.open(person.id, NOW)

    def seen() -> int:
        store.writer.call(lambda tx: None).result()  # whatever was handed in before is written now
        return int(store.rows("SELECT seen_at FROM session")[0][0])

    sessions.find(token, NOW + timedelta(seconds=59))
    assert seen() == int(NOW.timestamp() * 1000)
    sessions.find(token, NOW + timedelta(seconds=60))
    assert seen() == int(NOW.timestamp() * 1000) + 60_000
    found = sessions.find(token, NOW + timedelta(seconds=61))
    assert found is not None
    assert found.person.last_seen_at == NOW + timedelta(seconds=60)


def test_a_sign_in_clears_away_sessions_past_their_time(sessions: Sessions, person: Person, store: Store) -> None:
    sessions.open(person.id, NOW - DAY)
    live = sessions.open(person.id, NOW - timedelta(hours=1))
    sessions.open(person.id, NOW)
    assert store.rows("SELECT COUNT(*) FROM session") == [(2,)]
    assert sessions.find(live, NOW) is not None
