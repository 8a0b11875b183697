"""Reading the line: filters by themselves and together, pages both ways, sums, few questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from sendry.mail.envelope import Origin, OriginKind
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import Route, Status
from sendry.queue.views import Counts, MessageFilter, Page
from sendry.queue.work import NewMessage, NewRecipient
from sendry.store.database import Store
from sendry.store.ids import to_text
from tests import make

HOUR = timedelta(hours=1)


def found(lookup: Lookup, **filters: object) -> list[str]:
    """Subjects of the messages that a filter finds, newest first."""
    page = lookup.messages(MessageFilter(**filters))  # type: ignore[arg-type]  # the names are those of the fields
    assert page.total == len(page.items)
    return [row.subject for row in page.items]


@contextmanager
def questions(store: Store) -> Iterator[list[str]]:
    """The SELECTs that this thread asks while the body runs."""
    asked: list[str] = []
    with store.reading():
        store.database.connection().set_trace_callback(lambda sql: asked.append(sql))
    yield asked
    store.database.connection().set_trace_callback(None)


class TestFilters:
    @pytest.fixture(autouse=True)
    def mail(self, queue: Queue) -> dict[str, NewMessage]:
        """One message for each thing that can be asked for; later ones have greater ids."""
        mail = {
            "plain": make.message(queue),
            "other domain": make.message(queue, domain="shop.example", sender="shop@shop.example"),
            "tagged": make.message(queue, tags=("news", "may")),
            "by api": make.message(queue, origin=Origin(OriginKind.API, name="key 1")),
            "with id": make.message(queue, header_id="unique@client.example"),
            "to vera": make.message(queue, "vera@example.net", "boris@example.org"),
            "100% off_now": make.message(queue),
            "ПРИВЕТ, Вера": make.message(queue, header_from="Анна <anna@example.com>"),
            "redirected": make.message(
                queue,
                recipients=(NewRecipient("test@example.com", "example.com", Route.REDIRECT, "zoe@example.net"),),
            ),
        }
        at = make.NOW - len(mail) * HOUR
        named = {}
        for subject, message in mail.items():
            at += HOUR
            named[subject] = make.message(
                queue, sender=message.sender, domain=message.domain, tags=message.tags, origin=message.origin,
                header_id=message.header_id, recipients=message.recipients, header_from=message.header_from,
                subject=subject, now=at, id=make.id_at(at),
            )  # fmt: skip
        queue.enqueue(list(named.values())).result()
        return named

    def test_nothing_narrows_nothing(self, lookup: Lookup, mail: dict[str, NewMessage]) -> None:
        assert found(lookup) == list(reversed(mail))

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"domain": "shop.example"}, ["other domain"]),
            ({"domain": "SHOP.example"}, ["other domain"]),
            ({"tag": "news"}, ["tagged"]),
            ({"tag": "new"}, []),
            ({"origin": "api"}, ["by api"]),
            ({"header_id": "<unique@client.example>"}, ["with id"]),
            ({"header_id": "unique@client.example"}, ["with id"]),
            ({"address": "vera@example.net"}, ["to vera"]),
            ({"address": "vera@EXAMPLE.net"}, ["to vera"]),
            ({"address": "shop@shop.example"}, ["other domain"]),
            ({"address": "vera"}, []),
            ({"subject": "to V"}, ["to vera"]),
            ({"subject": "vera"}, ["to vera"]),
            ({"text": "vera@"}, ["to vera"]),
            ({"text": "SHOP@"}, ["other domain"]),
            ({"text": "zoe@"}, ["redirected"]),
            ({"text": "unique@client.example"}, ["with id"]),
            ({"text": "nothing has this"}, []),
        ],
    )
    def test_each_finds_its_own(self, lookup: Lookup, filters: dict[str, object], expected: list[str]) -> None:
        assert found(lookup, **filters) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("%", ["100% off_now"]),
            ("f_n", ["100% off_now"]),
            ("1%f", []),
            ("_", ["100% off_now"]),
            ("\\", []),
            ("'", []),
        ],
    )
    def test_signs_that_sql_gives_a_meaning_have_none(self, lookup: Lookup, text: str, expected: list[str]) -> None:
        assert found(lookup, subject=text) == found(lookup, text=text) == expected

    @pytest.mark.parametrize("text", ["привет", "ПРИВЕТ", "вЕРА"])
    def test_letters_of_every_alphabet_are_found_in_both_cases(self, lookup: Lookup, text: str) -> None:
        assert found(lookup, subject=text) == found(lookup, text=text) == ["ПРИВЕТ, Вера"]

    def test_the_author_is_part_of_the_text(self, lookup: Lookup) -> None:
        assert found(lookup, text="анна") == ["ПРИВЕТ, Вера"]

    @pytest.mark.parametrize("text", ["\0", "\ud800", "x" * 100_000, "%" * 3000, "\\"])
    def test_hostile_text_finds_nothing_and_breaks_nothing(self, lookup: Lookup, text: str) -> None:
        for name in ("address", "subject", "text", "tag", "domain", "origin", "header_id"):
            lookup.messages(MessageFilter(**{name: text}))  # type: ignore[arg-type]  # all of these are texts

    def test_times_are_those_of_acceptance(self, lookup: Lookup, mail: dict[str, NewMessage]) -> None:
        since, until = mail["tagged"].now, mail["to vera"].now
        assert found(lookup, since=since, until=until) == ["with id", "by api", "tagged"]
        assert found(lookup, since=make.NOW) == ["redirected"]
        assert found(lookup, until=mail["plain"].now) == []

    def test_several_narrow_together(self, lookup: Lookup, mail: dict[str, NewMessage]) -> None:
        assert found(lookup, domain="example.com", text="boris@", since=mail["to vera"].now) == [
            "ПРИВЕТ, Вера", "100% off_now", "to vera",
        ]  # fmt: skip
        assert found(lookup, domain="shop.example", tag="news") == []


class TestStatusFilters:
    @pytest.fixture(autouse=True)
    def mail(self, queue: Queue) -> None:
        for subject in ("delivered", "failed", "deferred", "unknown", "again", "sending", "pending", "cancelled"):
            made = make.enqueued(queue, subject=subject)
            if subject == "cancelled":
                queue.cancel(made.id, make.NOW).result()
            elif subject == "again":  # being sent for the second time
                make.settled(queue, queue.claim(make.NOW, 1), "deferred", next_attempt_at=make.NOW)
                queue.claim(make.NOW, 1)
            elif subject != "pending":
                work = queue.claim(make.NOW, 1)
                if subject != "sending":
                    make.settled(queue, work, subject)

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            ("delivered", ["delivered"]),
            ("failed", ["failed"]),
            ("deferred", ["unknown", "deferred"]),
            ("sending", ["sending", "again"]),
            ("pending", ["pending"]),
            ("cancelled", ["cancelled"]),
            ("suppressed", []),
        ],
    )
    def test_show_what_they_name(self, lookup: Lookup, status: str, expected: list[str]) -> None:
        rows = lookup.messages(MessageFilter(status=Status(status))).items
        assert [row.subject for row in rows] == expected
        assert {row.status for row in rows} <= {Status(status)}

    def test_waiting_is_all_that_has_not_ended(self, lookup: Lookup) -> None:
        assert found(lookup, is_waiting=True) == ["pending", "sending", "again", "unknown", "deferred"]

    def test_dead_is_what_is_in_the_dead_letter_queue(self, lookup: Lookup) -> None:
        assert found(lookup, is_dead=True) == ["failed"]


class TestPages:
    @pytest.fixture(autouse=True)
    def mail(self, queue: Queue) -> None:
        queue.enqueue([make.message(queue, subject=f"{number}") for number in range(7)]).result()

    def subjects(self, page: Page) -> str:
        return "".join(row.subject for row in page.items)

    def test_lead_to_the_end_and_back(self, lookup: Lookup) -> None:
        first = lookup.messages(MessageFilter(), limit=3)
        second = lookup.messages(MessageFilter(), first.next_cursor, limit=3)
        third = lookup.messages(MessageFilter(), second.next_cursor, limit=3)
        assert [self.subjects(page) for page in (first, second, third)] == ["654", "321", "0"]
        assert (first.previous_cursor, third.next_cursor) == ("", "")
        back = lookup.messages(MessageFilter(), third.previous_cursor, limit=3, newer=True)
        assert self.subjects(back) == "321"
        assert self.subjects(lookup.messages(MessageFilter(), back.next_cursor, limit=3)) == "0"
        front = lookup.messages(MessageFilter(), back.previous_cursor, limit=3, newer=True)
        assert (self.subjects(front), front.previous_cursor) == ("654", "")

    def test_of_exactly_the_size_of_the_list_are_the_last(self, lookup: Lookup) -> None:
        page = lookup.messages(MessageFilter(), limit=7)
        assert (len(page.items), page.next_cursor, page.total) == (7, "", 7)

    def test_keep_their_place_when_new_mail_comes(self, lookup: Lookup, queue: Queue) -> None:
        first = lookup.messages(MessageFilter(), limit=3)
        make.enqueued(queue, subject="new")
        assert self.subjects(lookup.messages(MessageFilter(), first.next_cursor, limit=3)) == "321"
        newer = lookup.messages(MessageFilter(), first.items[0].id, limit=3, newer=True)
        assert self.subjects(newer) == "new"

    def test_past_the_end_are_empty(self, lookup: Lookup) -> None:
        page = lookup.messages(MessageFilter(), to_text(0))
        assert (page.items, page.next_cursor, page.previous_cursor) == ((), "", "")

    def test_say_how_many_there_are_up_to_a_bound(self, lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
        assert lookup.messages(MessageFilter(text="6")).total == 1
        monkeypatch.setattr("sendry.queue.lookup.EXACT_UP_TO", 6)
        assert lookup.messages(MessageFilter(), limit=2).total is None
        assert lookup.messages(MessageFilter(domain="example.com"), limit=2).total is None
        assert lookup.messages(MessageFilter(text="6")).total == 1

    @pytest.mark.parametrize("cursor", ["nonsense", "\0", "é" * 13])
    def test_that_nobody_gave_out_are_the_first(self, lookup: Lookup, cursor: str) -> None:
        assert self.subjects(lookup.messages(MessageFilter(), cursor, limit=3)) == "654"


class TestRowsOfAPage:
    def test_sum_up_their_recipients(self, queue: Queue, lookup: Lookup) -> None:
        make.enqueued(queue, "a@example.org", "b@example.org", "c@example.org")
        first, second = sorted(queue.claim(make.NOW, 2), key=lambda work: work.recipient_id)
        make.settled(queue, [first])
        make.settled(queue, [second], "deferred", tried=(make.tried(451, "later, please"),))
        (row,) = lookup.messages(MessageFilter()).items
        assert (row.first_recipient, row.recipient_count, row.attempts, row.last_code, row.last_response) == (
            "a@example.org", 3, 1, 451, "later, please",
        )  # fmt: skip
        assert (row.status, row.next_attempt_at) == ("pending", make.NOW)

    def test_cost_the_same_number_of_questions_however_many_they_are(self, sqlite_store: Store) -> None:
        queue, lookup = make.queue(sqlite_store), Lookup(sqlite_store)
        queue.enqueue([make.message(queue, *(f"{n}@example.org" for n in range(5))) for _ in range(60)]).result()
        with questions(sqlite_store) as few:
            lookup.messages(MessageFilter(), limit=2)
        with questions(sqlite_store) as many:
            page = lookup.messages(MessageFilter(), limit=60)
        assert len(page.items) == 60
        assert len(many) == len(few) == 3

    def test_one_message_costs_the_same_however_much_happened_to_it(self, sqlite_store: Store) -> None:
        queue, lookup = make.queue(sqlite_store), Lookup(sqlite_store)
        quiet = make.enqueued(queue)
        busy = make.enqueued(queue, *(f"{n}@example.org" for n in range(50)))
        make.settled(queue, queue.claim(make.NOW, 60), "deferred")
        with questions(sqlite_store) as of_quiet:
            lookup.message(to_text(quiet.id))
        with questions(sqlite_store) as of_busy:
            view = lookup.message(to_text(busy.id))
        assert view is not None
        assert (len(view.recipients), len(view.attempts)) == (50, 50)
        assert len(of_busy) == len(of_quiet) == 7


class TestSums:
    def test_of_an_empty_line_are_nought(self, lookup: Lookup) -> None:
        assert lookup.counts() == Counts()
        assert (lookup.totals(), lookup.oldest_waiting(), lookup.destinations()) == ({}, None, [])

    def test_read_counters_and_nothing_else(self, sqlite_store: Store) -> None:
        with questions(sqlite_store) as asked:
            Lookup(sqlite_store).counts()
            Lookup(sqlite_store).totals()
        assert asked
        assert all(" FROM counter" in sql for sql in asked)

    def test_tell_what_waits_and_what_there_is(self, queue: Queue, lookup: Lookup) -> None:
        make.enqueued(queue, *(f"{number}@example.org" for number in range(5)))
        make.settled(queue, queue.claim(make.NOW, 1))
        make.settled(queue, queue.claim(make.NOW, 1), "deferred")
        queue.claim(make.NOW, 1)
        counts = lookup.counts()
        assert (counts.waiting, counts.total) == (4, 5)

    def test_the_oldest_that_waits_is_by_acceptance(self, queue: Queue, lookup: Lookup) -> None:
        make.enqueued(queue, now=make.NOW, due=make.LATER)
        make.enqueued(queue, now=make.NOW - HOUR)
        make.enqueued(queue, now=make.NOW - 2 * HOUR)
        queue.claim(make.NOW - 2 * HOUR, 1)
        assert lookup.oldest_waiting() == make.NOW - HOUR

    def test_by_hour_are_of_all_domains_or_of_one(self, queue: Queue, lookup: Lookup) -> None:
        hour = make.NOW.replace(minute=0)
        for at, domain in ((make.NOW, "example.com"), (make.NOW, "shop.example"), (make.NOW + HOUR, "shop.example")):
            make.enqueued(queue, domain=domain, now=at)
        assert lookup.tallies(make.NOW, make.NOW + 3 * HOUR) == [(hour, "accepted", 2), (hour + HOUR, "accepted", 1)]
        assert lookup.tallies(hour, hour + HOUR, "shop.example") == [(hour, "accepted", 1)]
        assert lookup.tallies(hour - HOUR, hour) == []

    def test_by_destination_count_what_waits(self, queue: Queue, lookup: Lookup) -> None:
        make.enqueued(queue, "a@one.example", "b@one.example", "c@two.example")
        make.enqueued(queue, "d@one.example", now=make.NOW - HOUR)
        make.enqueued(queue, "e@three.example", route=Route.CAPTURE)
        rows = lookup.destinations()
        assert [(row.destination, row.waiting) for row in rows] == [("one.example", 3), ("two.example", 1)]
        assert (rows[0].oldest_at, rows[0].next_attempt_at) == (make.NOW - HOUR, make.NOW - HOUR)
        assert len(lookup.destinations(limit=1)) == 1


@pytest.mark.parametrize("name", ["", "x", "0" * 13, "zzzzzzzzzzzzz", "\0"])
def test_a_message_that_is_not_there_is_none(lookup: Lookup, name: str) -> None:
    assert lookup.message(name) is None
