"""`sendry dlq`: messages that failed for good; send them again, or let them go. JSON is that of the API."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sendry.cli.failure import Failed
from sendry.cli.opening import configured, joined, opened
from sendry.cli.parser import takes_config, takes_json
from sendry.cli.printing import counted, print_json, timestamp
from sendry.cli.queue import number_of, print_page, report_acts, takes_page

if TYPE_CHECKING:
    from sendry.queue.lookup import Lookup

_AT_ONCE: Final = 500


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    listing = commands.add_parser("list", help="dead letters, newest first")
    takes_page(listing)
    listing.set_defaults(run=_list)

    retry = commands.add_parser("retry", help="send to the failed recipients again")
    retry.set_defaults(run=lambda options: _retry(options, retry))

    delete = commands.add_parser("delete", help="take messages out of it; they stay in the history")
    delete.set_defaults(run=lambda options: _delete(options, delete))

    for command in (retry, delete):
        command.add_argument("id", metavar="ID", nargs="*")
        command.add_argument("--all", action="store_true", help="all that are in it")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    for command in (listing, retry, delete):
        takes_config(command)
        takes_json(command)


def _list(options: Namespace) -> int:
    config = configured(options)
    if options.cursor:
        number_of(options.cursor)
    from sendry.queue.lookup import Lookup
    from sendry.queue.views import MessageFilter

    with opened(config) as store:
        lookup = Lookup(store)
        page = lookup.messages(MessageFilter(is_dead=True), options.cursor, options.limit)
        stats = lookup.dead_stats()
    if options.json:
        from sendry.api import shapes

        print_json(
            {
                "stats": {
                    "count": stats.count,
                    "oldest_at": timestamp(stats.oldest_at),
                    "newest_at": timestamp(stats.newest_at),
                },
                "messages": [shapes.message_row(row) for row in page.items],
                "total": page.total,
                "next_cursor": page.next_cursor or None,
            }
        )
    else:
        print_page(page, "dlq list")
    return 0


def _retry(options: Namespace, parser: ArgumentParser) -> int:
    _check_choice(options, parser)
    config, now = configured(options), datetime.now(UTC)
    if not options.all:
        numbers = {identity: number_of(identity) for identity in options.id}
        with joined(config) as queue:
            done = {identity: queue.retry_dead(number, now).result() for identity, number in numbers.items()}
        return report_acts(
            options,
            {identity: f"{counted(count, 'recipient')} due now" if count else "" for identity, count in done.items()},
            "it is not in the dead-letter queue",
            "retried",
        )
    from sendry.queue.lookup import Lookup

    messages = recipients = 0
    with joined(config) as queue:
        for batch in _batches(Lookup(queue.store)):
            # Handed in together, they share a transaction.
            futures = [queue.retry_dead(number, now) for number in batch]
            counts = [future.result() for future in futures]
            messages += sum(count > 0 for count in counts)
            recipients += sum(counts)
    if options.json:
        print_json({"retried": messages, "recipients": recipients})
    else:
        print(f"{counted(messages, 'message')} with {counted(recipients, 'recipient')} due now")
    return 0


def _batches(lookup: Lookup) -> Iterator[list[int]]:
    last = 0
    while numbers := lookup.dead_numbers(_AT_ONCE, last):
        yield numbers
        last = numbers[-1]


def _delete(options: Namespace, parser: ArgumentParser) -> int:
    _check_choice(options, parser)
    config = configured(options)
    numbers = {identity: number_of(identity) for identity in options.id}
    with joined(config) as queue:
        if options.all:
            from sendry.queue.lookup import Lookup

            count = Lookup(queue.store).counts().dead
            _ask(options, f"Take {counted(count, 'message')} out of the dead-letter queue?")
            gone = queue.forget_dead(None).result()
        else:
            _ask(options, f"Take {counted(len(numbers), 'message')} out of the dead-letter queue?")
            found = {identity: queue.forget_dead([number]).result() for identity, number in numbers.items()}
    if not options.all:
        told = {identity: "deleted" if number else "" for identity, number in found.items()}
        return report_acts(options, told, "it is not in the dead-letter queue", "deleted")
    print_json({"deleted": gone}) if options.json else print(f"{counted(gone, 'message')} deleted")
    return 0


def _check_choice(options: Namespace, parser: ArgumentParser) -> None:
    if options.all == bool(options.id):
        parser.error("name messages by ID, or all of them by --all")


def _ask(options: Namespace, question: str) -> None:
    """Go on only after a yes. Raises Failed."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise Failed("nobody can be asked here; --yes does it without asking")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Failed("nothing was done")
