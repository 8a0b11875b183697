"""`queue` shows what waits and why, and acts on it; JSON is that of the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import STRANGE, Installation


def test_an_empty_queue(house: Installation) -> None:
    assert house.run("queue", "list").out == "no messages\n"
    assert house.run("queue", "list", "--json").json == {
        "stats": {"pending": 0, "sending": 0, "delivered": 0, "failed": 0, "deferred": 0, "total": 0},
        "messages": [],
        "total": 0,
        "next_cursor": None,
    }


def test_the_list_shows_what_waits_newest_first(house: Installation) -> None:
    done = house.message("delivered")
    deferred = house.message("deferred", "4.2.2 mailbox full")
    pending = house.message(recipients=3)
    ran = house.run("queue", "list")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.lines] == ["ID", pending, deferred]
    assert "450 4.2.2 mailbox full" in ran.lines[2]
    assert "r0@example.net +2" in ran.lines[1]
    assert done not in ran.out


@pytest.mark.parametrize("status", ["pending", "deferred", "delivered", "failed"])
def test_a_status_narrows_the_list(status: str, house: Installation) -> None:
    ids = {state: house.message(state) for state in ("deferred", "delivered", "failed")}
    ids["pending"] = house.message()
    found = house.run("queue", "list", "--status", status, "--json").json
    assert [row["id"] for row in found["messages"]] == [ids[status]]
    assert found["stats"] == {"pending": 1, "sending": 0, "delivered": 1, "failed": 1, "deferred": 1, "total": 4}


def test_a_domain_narrows_the_list(house: Installation) -> None:
    house.message()
    other = house.message(sender="b@other.example")
    found = house.run("queue", "list", "--domain", "Other.Example", "--json").json
    assert [row["id"] for row in found["messages"]] == [other]


def test_pages_go_on_by_the_cursor(house: Installation) -> None:
    ids = [house.message() for _ in range(3)]
    first = house.run("queue", "list", "--limit", "2")
    assert first.lines[-1] == f"more by: sendry queue list --cursor {ids[1]}"
    rest = house.run("queue", "list", "--limit", "2", "--cursor", ids[1], "--json").json
    assert [row["id"] for row in rest["messages"]] == [ids[0]]
    assert rest["next_cursor"] is None


def test_one_message_is_shown_with_recipients_and_history(house: Installation) -> None:
    identity = house.message("failed", "5.1.1 no such user", subject="Bill 7")
    ran = house.run("queue", "show", identity)
    for part in (
        f"id           {identity}",
        "status       failed, in the dead-letter queue",
        "subject      Bill 7",
        "handed in    smtp app 192.0.2.7",
        "r0@example.net  failed  1",
        "mx.example.net [192.0.2.9], in clear: 550 5.1.1 no such user",
    ):
        assert part in ran.out
    shown = house.run("queue", "show", identity, "--json").json
    assert (shown["id"], shown["status"], shown["is_dead"]) == (identity, "failed", True)
    assert shown["events"][0]["type"] == "accepted"


def test_what_a_stranger_wrote_does_not_steer_the_terminal(house: Installation) -> None:
    identity = house.message("deferred", "\x1b]0;title\x07 try \x9b later", subject=STRANGE)
    for command in (("list",), ("show", identity)):
        for form in ((), ("--json",)):
            out = house.run("queue", *command, *form).out
            assert all(char.isprintable() or char == "\n" for char in out)


def test_the_sums(house: Installation) -> None:
    for outcome in ("deferred", "failed", "delivered", ""):
        house.message(outcome, recipients=2)
    ran = house.run("queue", "stats")
    assert "pending               2" in ran.lines
    assert "dead letters          1" in ran.lines
    assert any(line.startswith("example.net  4 ") for line in ran.lines)
    found = house.run("queue", "stats", "--json").json
    assert {name: found[name] for name in ("pending", "deferred", "failed", "delivered", "total", "dead")} == {
        "pending": 2, "deferred": 2, "failed": 2, "delivered": 2, "total": 8, "dead": 1,
    }  # fmt: skip
    assert found["destinations"][0]["destination"] == "example.net"
    assert found["oldest_waiting_at"].endswith("Z")


def test_retry_makes_what_was_put_off_or_given_up_due(house: Installation) -> None:
    deferred, failed = house.message("deferred"), house.message("failed", recipients=2)
    ran = house.run("queue", "retry", deferred, failed)
    assert (ran.code, ran.lines) == (0, [f"{deferred}  1 recipient due now", f"{failed}  2 recipients due now"])
    assert house.status(failed) == "pending"
    assert house.run("dlq", "list", "--json").json["stats"]["count"] == 0


def test_retry_of_what_needs_none_is_told(house: Installation) -> None:
    done = house.message("delivered")
    waiting = house.message("deferred")
    ran = house.run("queue", "retry", done, waiting, "--json")
    assert ran.code == 1
    assert ran.json["retried"] == [waiting]
    assert [error["id"] for error in ran.json["errors"]] == [done]
    assert f"{done}: nothing to retry" in ran.err


def test_delete_takes_a_message_with_its_history(house: Installation) -> None:
    identity = house.message("deferred")
    assert house.run("queue", "delete", identity).lines == [f"{identity}  deleted"]
    ran = house.run("queue", "show", identity)
    assert (ran.code, ran.err) == (1, f"sendry: {identity}: there is no such message\n")
    again = house.run("queue", "delete", identity)
    assert (again.code, again.out) == (1, "")
    assert "there is no such message" in again.err


def test_what_is_being_sent_is_not_deleted(house: Installation) -> None:
    identity = house.message()
    with house.rooms() as here:
        assert here.queue.claim(datetime.now(UTC) + timedelta(seconds=1), 10)
        # The command runs in this process, so it must not take this node for an earlier life of itself.
        change = "UPDATE node SET pid = 1 WHERE id = ?"
        here.store.writer.call(lambda tx: tx.change(change, (here.node.number,))).result()
        ran = house.run("queue", "delete", identity)
        assert ran.code == 1
        assert "it is being sent right now" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["show", "xyz"], 1, "xyz is no message id; they look like"),
        (["show", "0000000000000"], 1, "there is no such message"),
        (["retry", "\x1b[2J"], 1, "\ufffd[2J is no message id"),
        (["list", "--cursor", "xyz"], 1, "xyz is no message id"),
        (["list", "--limit", "0"], 2, "'0' is no whole number from 1 to 500"),
        (["list", "--limit", "501"], 2, "from 1 to 500"),
        (["list", "--status", "lost"], 2, "invalid choice: 'lost'"),
        (["list", "--domain", "a b"], 2, "'a b': this is no domain name"),
        (["retry"], 2, "required: ID"),
        ([], 2, "required: COMMAND"),
    ],
)
def test_wrong_usage(arguments: list[str], code: int, told: str, house: Installation) -> None:
    ran = house.run("queue", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert told in ran.err


def test_without_a_database_nothing_is_made(house: Installation) -> None:
    path = house.folder / "queue.db"
    path.unlink()
    ran = house.run("queue", "list")
    assert ran.code == 1
    assert f"storage.path = {str(path)!r}: there is no database yet; sendry serve makes it" in ran.err
    assert not path.exists()


def test_a_file_that_is_no_database_is_told(house: Installation) -> None:
    (house.folder / "queue.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    ran = house.run("queue", "list")
    assert ran.code == 1
    assert "storage.path" in ran.err
    assert "cannot be used" in ran.err


def test_a_database_that_does_not_answer_is_told_without_its_password(
    house: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:hunter2@127.0.0.1:1/sendry")
    monkeypatch.chdir(house.folder)
    ran = house.run("queue", "list")
    assert ran.code == 1
    assert "storage.url: the database does not answer" in ran.err
    assert "hunter2" not in ran.err


def test_a_faulty_configuration_is_told(house: Installation) -> None:
    house.config.write_text("[queue]\nworkers = 0\n")
    ran = house.run("queue", "list")
    assert ran.code == 1
    assert "queue.workers" in ran.err
    assert "nothing was done" in ran.err
