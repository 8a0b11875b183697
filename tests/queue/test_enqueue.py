"""New messages: every row of them, content once, on disk before the answer."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest

from sendry.mail.envelope import Content
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import Route
from sendry.queue.work import NewCapture, NewRecipient
from sendry.store.database import Store, open_store
from sendry.store.ids import to_text
from sendry.store.spool import CHUNK
from sendry.store.writer import StoreUnavailable
from tests import make

MS = int(make.NOW.timestamp() * 1000)
HOUR = MS - MS % 3_600_000


def number_of(store: Store, table: str) -> int:
    count: int = store.rows(f"SELECT COUNT(*) FROM {table}")[0][0]
    return count


def counters(store: Store) -> dict[str, int]:
    return {name: value for name, value in store.rows("SELECT name, value FROM counter") if value}


class TestRows:
    def test_a_message_its_recipients_and_its_history_are_written_together(self, queue: Queue) -> None:
        message = make.message(
            queue, "boris@example.org", "vera@example.net", priority=1, eight_bit=True, ret="HDRS", envid="e-1"
        )
        commits = queue.store.writer.commits
        assert queue.enqueue_one(message).result() == to_text(message.id)
        assert queue.store.writer.commits == commits + 1
        view = Lookup(queue.store).message(to_text(message.id))
        assert view is not None
        row = view.message
        assert (row.status, row.sender, row.subject, row.domain, row.mode) == (
            "pending", "anna@example.com", "Hello", "example.com", "production",
        )  # fmt: skip
        assert (row.origin, row.origin_name, row.client_ip) == ("smtp", "app", "192.0.2.10")
        assert (row.created_at, row.recipient_count, row.priority) == (make.NOW, 2, 1)
        assert [(r.address, r.destination, r.status, r.attempts, r.next_attempt_at) for r in view.recipients] == [
            ("boris@example.org", "example.org", "pending", 0, make.NOW),
            ("vera@example.net", "example.net", "pending", 0, make.NOW),
        ]
        assert [(event.kind, event.recipient_number, event.at) for event in view.events] == [
            ("accepted", None, make.NOW)
        ]
        work = queue.claim(make.NOW, 1)[0]
        assert (work.eight_bit, work.ret, work.envid, work.smtputf8) == (True, "HDRS", "e-1", False)

    def test_the_parameters_of_a_recipient_are_kept(self, queue: Queue) -> None:
        recipient = NewRecipient(
            "boris@example.org", "example.org", Route.REDIRECT, "vera@example.net", "SUCCESS,DELAY", "rfc822;b@x.org"
        )
        queue.enqueue_one(make.message(queue, recipients=(recipient,))).result()
        (work,) = queue.claim(make.NOW, 1)
        assert (work.route, work.original, work.notify, work.orcpt) == (
            Route.REDIRECT, "vera@example.net", "SUCCESS,DELAY", "rfc822;b@x.org",
        )  # fmt: skip

    def test_counters_and_tallies_follow(self, queue: Queue) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org")
        make.enqueued(queue, "c@example.org")
        assert counters(queue.store) == {"queue.pending": 3, "total.accepted": 3}
        assert queue.store.rows("SELECT hour, domain, kind, value FROM tally WHERE value <> 0") == [
            (HOUR, "example.com", "accepted", 3)
        ]

    def test_mail_for_later_waits_until_then(self, queue: Queue) -> None:
        make.enqueued(queue, due=make.NOW + timedelta(days=1))
        assert queue.claim(make.NOW, 10) == []
        assert queue.next_due() == make.NOW + timedelta(days=1)
        assert len(queue.claim(make.NOW + timedelta(days=1), 10)) == 1

    def test_metadata_and_tags_come_back(self, queue: Queue) -> None:
        message = make.enqueued(queue, tags=("news", "май", "news"), metadata={"order": "№ 17", "x": "\0"})
        view = Lookup(queue.store).message(to_text(message.id))
        assert view is not None
        assert view.message.tags == ("news", "май")
        assert view.message.metadata == {"order": "№ 17", "x": "\0"}
        assert queue.store.rows("SELECT tag, message_id FROM message_tag ORDER BY tag") == [
            ("news", message.id), ("май", message.id),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("one\0two", "onetwo"),
            ("half \ud83d of a pair", "half ? of a pair"),
            ("Привет, 📬", "Привет, 📬"),
            ("long " * 100, ("long " * 100)[:255]),
        ],
    )
    def test_text_that_a_database_does_not_take_is_mended(self, queue: Queue, given: str, kept: str) -> None:
        message = make.enqueued(queue, subject=given, header_from=given, header_id=given, tags=(given[:90],))
        view = Lookup(queue.store).message(to_text(message.id))
        assert view is not None
        assert view.message.subject == view.message.header_id == kept
        assert view.message.header_from.startswith(kept)
        assert view.message.tags == (kept[:90],)


class TestCapture:
    def test_is_delivered_at_once_and_shown_in_the_inbox(self, queue: Queue) -> None:
        message = make.enqueued(
            queue, "boris@example.org", "vera@example.org", route=Route.CAPTURE,
            capture=NewCapture(("boris@example.org", "vera@example.org"), mailbox="shop"),
        )  # fmt: skip
        view = Lookup(queue.store).message(to_text(message.id))
        assert view is not None
        assert view.is_captured
        assert [view.message.status, *(r.status for r in view.recipients)] == ["delivered"] * 3
        assert [event.kind for event in view.events] == ["accepted", "captured", "captured"]
        assert queue.claim(make.LATER, 10) == []
        assert queue.store.rows("SELECT message_id, mailbox, recipients, original_to, created_at FROM capture") == [
            (message.id, "shop", json.dumps(["boris@example.org", "vera@example.org"]), "", MS)
        ]
        assert counters(queue.store) == {
            "queue.delivered": 2, "total.accepted": 2, "total.captured": 2, "capture.total": 1, "capture.unread": 1,
        }  # fmt: skip

    def test_of_redirected_mail_stands_beside_its_delivery(self, queue: Queue) -> None:
        make.enqueued(
            queue, "test@example.com", route=Route.REDIRECT,
            capture=NewCapture(("test@example.com",), original_to=("boris@example.org",)),
        )  # fmt: skip
        assert queue.store.rows("SELECT original_to FROM capture") == [(json.dumps(["boris@example.org"]),)]
        assert [work.address for work in queue.claim(make.NOW, 10)] == ["test@example.com"]


class TestContent:
    def test_is_kept_once_however_many_recipients_there_are(self, queue: Queue) -> None:
        message = make.enqueued(queue, *(f"r{number}@example.org" for number in range(100)))
        assert number_of(queue.store, "recipient") == 100
        assert queue.store.rows("SELECT message_id, part FROM content") == [(message.id, 0)]

    def test_comes_back_as_it_was(self, queue: Queue) -> None:
        octets = bytes(range(256)) * 40
        message = make.enqueued(queue, content=Content(b"Subject: x\r\n\r\n", octets))
        stored = queue.open_content(message.id)
        assert stored is not None
        assert (stored.size, stored.read()) == (len(octets) + 14, b"Subject: x\r\n\r\n" + octets)

    def test_of_a_message_that_is_gone_is_none(self, queue: Queue) -> None:
        assert queue.open_content(12345) is None

    def test_that_is_large_is_read_piece_by_piece(self, queue: Queue) -> None:
        body = os.urandom(2 * CHUNK + 77)
        message = make.enqueued(queue, content=make.spooled(queue.store, body))
        stored = queue.open_content(message.id)
        assert stored is not None
        pieces = list(stored.chunks())
        assert b"".join(pieces) == message.content.head + body
        assert stored.size == len(message.content.head) + len(body)
        assert max(map(len, pieces)) <= CHUNK

    def test_that_is_large_stays_in_its_file_on_sqlite(self, sqlite_store: Store) -> None:
        queue = make.queue(sqlite_store)
        message = make.enqueued(queue, content=make.spooled(sqlite_store, b"x" * CHUNK))
        assert sqlite_store.rows("SELECT spool, spool_offset FROM message") == [
            (message.content.spool, message.content.spool_offset)
        ]
        assert sqlite_store.rows("SELECT part, octets FROM content") == [(0, message.content.head)]
        assert [path.name for path in sqlite_store.spool.folder.iterdir()] == [message.content.spool]

    @pytest.mark.postgres
    @pytest.mark.parametrize("location", ["postgres"], indirect=True)
    def test_that_is_large_moves_into_the_database_where_other_machines_read_it(self, store: Store) -> None:
        queue = make.queue(store)
        small = make.message(queue)
        large = make.message(queue, content=make.spooled(store, b"x" * (CHUNK + 1)))
        queue.enqueue([small, large]).result()
        assert store.rows("SELECT spool, spool_offset FROM message") == [("", 0)] * 2
        parts = "SELECT part, LENGTH(octets) FROM content WHERE message_id = ? ORDER BY part"
        assert store.rows(parts, (large.id,)) == [
            (0, len(large.content.head)), (1, CHUNK), (2, 1),
        ]  # fmt: skip
        assert list(store.spool.folder.iterdir()) == []

    @pytest.mark.postgres
    @pytest.mark.parametrize("location", ["postgres"], indirect=True)
    def test_that_did_not_get_into_the_database_stays_in_its_file(self, store: Store) -> None:
        queue = make.queue(store)
        message = make.message(queue, content=make.spooled(store, b"x" * 1000))
        with pytest.raises(Exception, match="duplicate key"):
            queue.enqueue([make.message(queue, id=message.id), message]).result()
        assert number_of(store, "message") == 0
        assert [path.name for path in store.spool.folder.iterdir()] == [message.content.spool]


class TestTheAnswer:
    def test_gives_the_ids_in_the_order_of_the_messages(self, queue: Queue) -> None:
        messages = [make.message(queue) for _ in range(5)]
        assert queue.enqueue(messages).result() == [to_text(message.id) for message in messages]

    def test_comes_when_another_connection_sees_the_mail(
        self, queue: Queue, location: Path | str, tmp_path: Path
    ) -> None:
        other, seen = open_store(location, tmp_path / "spool"), list[int]()
        done: Future[str] = queue.enqueue_one(make.message(queue))
        done.add_done_callback(lambda _: seen.append(number_of(other, "message")))
        done.result()
        queue.store.writer.close()
        assert seen == [1]
        other.close()

    def test_reaches_a_coroutine(self, queue: Queue) -> None:
        messages = [make.message(queue) for _ in range(20)]

        async def hand_in() -> list[str]:
            return list(await asyncio.gather(*map(queue.enqueue_one_soon, messages)))

        assert asyncio.run(hand_in()) == [to_text(message.id) for message in messages]

    def test_of_one_bad_message_does_not_touch_those_of_others(self, queue: Queue) -> None:
        good = [make.message(queue) for _ in range(3)]
        bad = make.message(queue, id=good[0].id)
        answers = [queue.enqueue_one(message) for message in (good[0], bad, good[1], good[2])]
        assert [answer.exception() is None for answer in answers] == [True, False, True, True]
        assert number_of(queue.store, "message") == number_of(queue.store, "recipient") == 3
        assert counters(queue.store) == {"queue.pending": 3, "total.accepted": 3}

    def test_of_many_is_all_or_nothing(self, queue: Queue) -> None:
        messages = [make.message(queue) for _ in range(3)]
        with pytest.raises(Exception, match=r"(?i)unique"):
            queue.enqueue([*messages, make.message(queue, id=messages[1].id)]).result()
        assert number_of(queue.store, "message") == number_of(queue.store, "content") == 0
        assert counters(queue.store) == {}

    def test_is_a_refusal_once_the_store_is_closed(self, queue: Queue) -> None:
        queue.store.close()
        assert isinstance(queue.enqueue_one(make.message(queue)).exception(), StoreUnavailable)


class TestWaking:
    def test_happens_once_after_a_commit_that_brought_work(self, queue: Queue) -> None:
        woken: list[int] = []
        queue.on_work.append(lambda: woken.append(number_of(queue.store, "recipient")))
        queue.enqueue([make.message(queue) for _ in range(3)]).result()
        assert woken == [3]

    def test_does_not_happen_for_mail_that_is_only_captured(self, queue: Queue) -> None:
        woken: list[str] = []
        queue.on_work.append(lambda: woken.append("woken"))
        make.enqueued(queue, route=Route.CAPTURE)
        assert woken == []
