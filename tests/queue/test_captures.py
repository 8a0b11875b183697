"""Changes to captured mail: marks and descriptions that stay, deletion that counts right."""

from __future__ import annotations

from sendry.queue import captures
from sendry.queue.captures import Description
from sendry.queue.line import Queue
from sendry.queue.lookup import Lookup
from sendry.queue.states import Route
from sendry.queue.work import NewCapture
from tests import make


def captured(queue: Queue, mailbox: str = "", route: Route = Route.CAPTURE) -> int:
    return make.enqueued(queue, route=route, capture=NewCapture(("boris@example.org",), mailbox=mailbox)).id


def test_reading_counts_each_mail_once(queue: Queue, lookup: Lookup) -> None:
    first, second = captured(queue), captured(queue)
    assert captures.mark_read(queue.store, [first, second, 77]).result() == 2
    assert captures.mark_read(queue.store, [first]).result() == 0
    assert lookup.counts().unread == 0
    assert captures.mark_read(queue.store, [first], is_read=False).result() == 1
    assert (lookup.counts().unread, lookup.counts().captured) == (1, 2)


def test_descriptions_are_kept_and_mended(queue: Queue) -> None:
    number = captured(queue)
    assert captures.describe(queue.store, [Description(number, "Код \0\ud800 123", "123456", 2, 1)]).result() == 1
    assert queue.store.rows("SELECT is_described, preview, code, link_count, attachment_count FROM capture") == [
        (True, "Код ? 123", "123456", 2, 1)
    ]
    assert captures.describe(queue.store, []).result() == 0


def test_deleting_takes_the_mail_with_it(queue: Queue, lookup: Lookup) -> None:
    first, second = captured(queue), captured(queue)
    captures.mark_read(queue.store, [first]).result()
    assert captures.delete(queue.store, [first, 77]).result() == 1
    assert captures.delete(queue.store, [first]).result() == 0
    assert queue.open_content(first) is None
    counts = lookup.counts()
    assert (counts.captured, counts.unread, counts.delivered) == (1, 1, 1)
    assert queue.open_content(second) is not None


def test_deleting_mail_that_was_also_sent_leaves_its_history(queue: Queue, lookup: Lookup) -> None:
    number = captured(queue, route=Route.REDIRECT)
    assert captures.delete(queue.store, [number]).result() == 1
    assert queue.open_content(number) is not None
    assert (lookup.counts().captured, lookup.counts().unread, lookup.counts().pending) == (0, 0, 1)


def test_an_inbox_is_emptied_and_the_others_are_not(queue: Queue, lookup: Lookup) -> None:
    for mailbox in ("", "shop", "shop"):
        captured(queue, mailbox)
    assert captures.clear(queue.store, "shop").result() == 2
    assert queue.store.rows("SELECT mailbox FROM capture") == [("",)]
    assert lookup.counts().captured == 1
    assert captures.clear(queue.store, "nobody's").result() == 0
