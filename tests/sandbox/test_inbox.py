"""The sandbox inbox on both databases: lists, search, marks, deletion, and what is found in a mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sendry.mail import headers
from sendry.mail.envelope import Content, Origin, OriginKind
from sendry.queue.inflight import InFlight
from sendry.queue.line import Queue
from sendry.queue.states import Route
from sendry.queue.work import NewCapture, NewMessage, NewRecipient
from sendry.sandbox import inbox as room
from sendry.sandbox.inbox import CapturedRow, Inbox
from sendry.store.database import Store
from sendry.store.ids import IdSource, to_text

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Sandbox:
    """An inbox with a queue that fills it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.queue = Queue(store, IdSource(1), 1, InFlight(folder / "in-flight"))
        self.inbox = Inbox(store, self.queue)

    def take(
        self,
        subject: str = "Hello",
        body: str = "Hello, Bob",
        *,
        sender: str = "a@example.com",
        to: tuple[str, ...] = ("b@example.net",),
        original_to: tuple[str, ...] = (),
        mailbox: str = "",
        kind: str = "text/plain",
        now: datetime = NOW,
        domain: str = "example.com",
    ) -> str:
        raw = (
            f"From: {sender}\r\nSubject: {subject}\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n{body}\r\n".encode()
        )
        number = self.queue.ids.next()
        route = Route.REDIRECT if original_to else Route.CAPTURE
        message = NewMessage(
            id=number, sender=sender, header_from=sender, subject=subject, header_id="", domain=domain,
            mode="redirect" if original_to else "sandbox", origin=Origin(OriginKind.SMTP),
            content=Content(*headers.split(raw)), due=now, now=now,
            recipients=tuple(
                NewRecipient(address, address.partition("@")[2], route, ", ".join(original_to)) for address in to
            ),
            capture=NewCapture(to, original_to, mailbox),
        )  # fmt: skip
        self.queue.enqueue([message]).result()
        return to_text(number)

    def finish_writing(self) -> None:
        self.store.writer.call(lambda tx: None).result()

    def found(self, query: str) -> list[str]:
        return [row.id for row in self.inbox.list(query).items]


@pytest.fixture
def sandbox(store: Store, tmp_path: Path) -> Sandbox:
    return Sandbox(store, tmp_path)


class TestTheList:
    def test_is_newest_first_in_pages(self, sandbox: Sandbox) -> None:
        ids = [sandbox.take() for _ in range(5)]
        first = sandbox.inbox.list(limit=2)
        second = sandbox.inbox.list(limit=2, cursor=first.next_cursor)
        third = sandbox.inbox.list(limit=2, cursor=second.next_cursor)
        assert [row.id for page in (first, second, third) for row in page.items] == ids[::-1]
        assert (first.total, third.next_cursor) == (5, "")

    def test_shows_envelope_and_message(self, sandbox: Sandbox) -> None:
        identity = sandbox.take(
            "Привет", "Текст", to=("b@example.net", "c@example.net"), original_to=("d@e.example",)
        )
        (row,) = sandbox.inbox.list().items
        assert isinstance(row, CapturedRow)
        assert (row.id, row.subject, row.sender) == (identity, "Привет", "a@example.com")
        assert (row.recipients, row.original_to) == (("b@example.net", "c@example.net"), ("d@e.example",))
        assert (row.preview, row.is_read, row.mode, row.created_at) == ("Текст", False, "redirect", NOW)
        assert row.size > 60

    def test_shows_one_mailbox_only(self, sandbox: Sandbox) -> None:
        sandbox.take(mailbox="ci")
        kept = sandbox.take()
        assert [row.id for row in sandbox.inbox.list().items] == [kept]
        assert len(sandbox.inbox.list(mailbox="ci").items) == 1

    def test_counts_up_to_a_limit(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "EXACT_UP_TO", 2)
        sandbox.take()
        sandbox.take()
        assert sandbox.inbox.list().total == 2
        sandbox.take()
        assert sandbox.inbox.list().total is None

    def test_tells_what_came_after_a_mail(self, sandbox: Sandbox) -> None:
        first, second, third = sandbox.take(), sandbox.take("Second"), sandbox.take()
        assert [row.id for row in sandbox.inbox.newer_than(first)] == [third, second]
        assert [row.id for row in sandbox.inbox.newer_than("", limit=1)] == [third]
        assert [row.id for row in sandbox.inbox.newer_than("", query="second")] == [second]
        assert sandbox.inbox.newer_than(third) == ()


class TestDescriptions:
    def test_are_made_when_a_mail_is_first_listed_and_kept(self, sandbox: Sandbox) -> None:
        sandbox.take(body="Your code is 482913, see https://example.com/a or https://example.com/b")
        (row,) = sandbox.inbox.list().items
        sandbox.finish_writing()
        assert (row.code, row.link_count, row.attachment_count) == ("482913", 2, 0)
        sandbox.store.writer.call(lambda tx: tx.change("UPDATE content SET octets = ?", (b"gone",))).result()
        (again,) = sandbox.inbox.list().items
        assert (again.code, again.link_count, again.preview) == (row.code, row.link_count, row.preview)

    def test_stay_within_a_budget_and_come_the_next_time(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(room, "DESCRIBED_AT_ONCE", 2)
        for _ in range(3):
            sandbox.take()
        assert [bool(row.preview) for row in sandbox.inbox.list().items] == [True, True, False]
        sandbox.finish_writing()
        assert [bool(row.preview) for row in sandbox.inbox.list().items] == [True, True, True]

    def test_of_large_mail_stay_within_a_budget_too(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "OCTETS_AT_ONCE", 1)
        sandbox.take()
        sandbox.take()
        assert [bool(row.preview) for row in sandbox.inbox.list().items] == [True, False]

    def test_of_what_no_parser_likes_are_made_all_the_same(self, sandbox: Sandbox) -> None:
        sandbox.take(kind='multipart/mixed; boundary="', body="--\r\n\x00\x1b")
        (row,) = sandbox.inbox.list().items
        assert row.link_count == 0


class TestSearch:
    @pytest.mark.parametrize(
        "query",
        ["счёт", "СЧЁТ", "оплат", "Anna", "ANNA@", "ivan", "ivan счёт", "100%", "b_c", "example.net"],
    )
    def test_finds_in_subject_sender_and_recipients(self, sandbox: Sandbox, query: str) -> None:
        wanted = sandbox.take("Счёт на оплату 100% b_c", sender="anna@example.com", to=("ivan@example.net",))
        sandbox.take("Hello", to=("x@example.org",))
        assert sandbox.found(query) == [wanted]

    @pytest.mark.parametrize("query", ["nothing", "счёт petr", "1__%", "b%c", "оплата2", "' OR 1=1 --", "\\"])
    def test_finds_nothing_else(self, sandbox: Sandbox, query: str) -> None:
        sandbox.take("Счёт на оплату 100 b_c", to=("ivan@example.net",))
        assert sandbox.found(query) == []

    def test_finds_who_was_meant_by_a_redirected_mail(self, sandbox: Sandbox) -> None:
        wanted = sandbox.take(to=("qa@example.com",), original_to=("boss@example.net",))
        assert sandbox.found("boss@") == [wanted]

    def test_of_blanks_finds_all(self, sandbox: Sandbox) -> None:
        wanted = sandbox.take()
        assert sandbox.found("  ") == [wanted]

    def test_of_very_many_words_is_cut(self, sandbox: Sandbox) -> None:
        wanted = sandbox.take("word")
        assert sandbox.found("word " * 5000) == [wanted]


class TestOneMail:
    def test_is_found_by_its_id_only(self, sandbox: Sandbox) -> None:
        identity = sandbox.take("One")
        mail = sandbox.inbox.get(identity)
        assert mail is not None
        assert (mail.row.subject, mail.contents.mail.text) == ("One", "Hello, Bob\n")
        assert sandbox.inbox.get("0000000000000") is None
        assert sandbox.inbox.get("nonsense") is None

    def test_comes_as_it_was_taken_in(self, sandbox: Sandbox) -> None:
        stored = sandbox.inbox.raw(sandbox.take("One"))
        assert stored is not None
        assert stored.read().endswith(b"\r\n\r\nHello, Bob\r\n")

    def test_gives_its_parts(self, sandbox: Sandbox) -> None:
        body = (
            "--b\r\nContent-Type: text/plain\r\n\r\nText\r\n"
            "--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            "aGk=\r\n--b--"
        )
        identity = sandbox.take(kind="multipart/mixed; boundary=b", body=body)
        file, part = sandbox.inbox.attachment(identity, 0), sandbox.inbox.part(identity, 2)
        assert file is not None
        assert part is not None
        assert (file.part.filename, file.octets) == ("a.pdf", b"hi") == (part.part.filename, part.octets)
        assert sandbox.inbox.attachment(identity, 1) is None
        assert sandbox.inbox.part(identity, 3) is None
        assert sandbox.inbox.part(identity, -1) is None


class TestMarksAndCounts:
    def test_reading_changes_the_mark_and_the_count_once(self, sandbox: Sandbox) -> None:
        first, second = sandbox.take(), sandbox.take()
        assert sandbox.inbox.counts() == (2, 2)
        assert sandbox.inbox.mark_read([first, first, "nonsense"]) == 1
        assert sandbox.inbox.mark_read([first]) == 0
        assert sandbox.inbox.counts() == (2, 1)
        assert sandbox.inbox.mark_read([first, second], is_read=False) == 1
        assert sandbox.inbox.counts() == (2, 2)

    def test_of_an_empty_inbox_are_nought(self, sandbox: Sandbox) -> None:
        assert sandbox.inbox.counts() == (0, 0)
        stats = sandbox.inbox.stats()
        assert (stats.total, stats.total_size, stats.oldest_at, stats.by_mode) == (0, 0, None, {})

    def test_stats_sum_up_domains_modes_and_sizes(self, sandbox: Sandbox) -> None:
        sandbox.take(now=NOW - timedelta(hours=1))
        sandbox.take(domain="other.example")
        sandbox.take(to=("qa@example.com",), original_to=("x@example.net",))
        stats = sandbox.inbox.stats()
        assert stats.by_domain == {"example.com": 2, "other.example": 1}
        assert stats.by_mode == {"sandbox": 2, "redirect": 1}
        assert (stats.oldest_at, stats.newest_at) == (NOW - timedelta(hours=1), NOW)
        assert stats.total_size == sum(row.size for row in sandbox.inbox.list().items)


class TestDeleting:
    def test_takes_what_is_named(self, sandbox: Sandbox) -> None:
        first, second = sandbox.take(), sandbox.take()
        assert sandbox.inbox.delete([first, "nonsense"]) == 1
        assert sandbox.inbox.delete([first]) == 0
        assert [row.id for row in sandbox.inbox.list().items] == [second]
        assert sandbox.inbox.counts() == (1, 1)

    def test_takes_all_in_pieces(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room, "_DELETED_AT_ONCE", 2)
        for _ in range(5):
            sandbox.take()
        other = sandbox.take(mailbox="ci")
        assert sandbox.inbox.delete_all() == 5
        assert sandbox.inbox.list().items == ()
        assert [row.id for row in sandbox.inbox.list(mailbox="ci").items] == [other]
        assert sandbox.inbox.delete_all() == 0

    def test_takes_what_a_search_finds(self, sandbox: Sandbox) -> None:
        sandbox.take("old")
        kept = sandbox.take("new")
        assert sandbox.inbox.delete_all("old") == 1
        assert [row.id for row in sandbox.inbox.list().items] == [kept]

    def test_forgets_what_was_only_captured_and_keeps_what_is_also_sent(self, sandbox: Sandbox) -> None:
        only, sent = sandbox.take(), sandbox.take(to=("qa@example.com",), original_to=("x@example.net",))
        sandbox.inbox.delete_all()
        left = [to_text(number) for (number,) in sandbox.store.rows("SELECT id FROM message")]
        assert left == [sent]
        assert only not in left
