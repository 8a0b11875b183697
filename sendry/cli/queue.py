"""`sendry queue`: what waits, why, and acts on it, beside a running server. JSON is that of the API."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sendry.cli.failure import Failed
from sendry.cli.opening import configured, joined, opened
from sendry.cli.parser import checked, takes_config, takes_json
from sendry.cli.printing import counted, plain, print_fields, print_json, print_table, timestamp
from sendry.config.values import parse_domain

if TYPE_CHECKING:
    from sendry.queue.views import AttemptRow, MessageRow, MessageView, Page

STATUSES: Final = ("pending", "sending", "delivered", "deferred", "failed", "cancelled", "suppressed")
_MOST: Final = 500
_DESTINATIONS: Final = 10


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    listing = commands.add_parser("list", help="messages, newest first: those that wait, or any by --status")
    listing.add_argument("--status", choices=STATUSES, help="only messages in this state; default: what waits")
    domain = checked(parse_domain)
    listing.add_argument("--domain", metavar="NAME", type=domain, help="only mail of this domain of ours")
    takes_page(listing)
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", help="one message with its recipients and its history")
    show.add_argument("id", metavar="ID")
    show.set_defaults(run=_show)

    stats = commands.add_parser("stats", help="how much is in which state, and what waits for whom")
    stats.set_defaults(run=_stats)

    retry = commands.add_parser("retry", help="try deferred and failed recipients again at once")
    retry.add_argument("id", metavar="ID", nargs="+")
    retry.set_defaults(run=_retry)

    delete = commands.add_parser("delete", help="delete messages with their history, unless they are being sent")
    delete.add_argument("id", metavar="ID", nargs="+")
    delete.set_defaults(run=_delete)

    for command in (listing, show, stats, retry, delete):
        takes_config(command)
        takes_json(command)


def takes_page(parser: ArgumentParser) -> None:
    """Let a list take its size and where it begins."""
    parser.add_argument("--limit", type=_limit, default=50, metavar="N", help=f"1 to {_MOST}, default: 50")
    parser.add_argument("--cursor", default="", metavar="ID", help="go on behind this message")


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST):
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to {_MOST}")
    return int(text)


def number_of(identity: str) -> int:
    """The number behind a message id. Raises Failed for what is none."""
    from sendry.store.ids import from_text

    number = from_text(identity)
    if number is None:
        raise Failed(f"{plain(identity)} is no message id; they look like 0am2ph9kc0000")
    return number


def print_page(page: Page, command: str) -> None:
    """A page of messages, and how to get the next one."""
    rows = [_cells(row) for row in page.items]
    if not rows:
        print("no messages")
        return
    print_table(("ID", "STATUS", "ACCEPTED", "FROM", "TO", "TRIES", "NEXT TRY", "LAST REPLY"), rows)
    if page.next_cursor:
        print(f"more by: sendry {command} --cursor {page.next_cursor}")


def _cells(row: MessageRow) -> tuple[object, ...]:
    others = row.recipient_count - 1
    to = f"{row.first_recipient} +{others}" if others > 0 else row.first_recipient
    why = f"{row.last_code} {row.last_response}" if row.last_code else row.last_response
    return row.id, row.status, row.created_at, row.sender or "<>", to, row.attempts, row.next_attempt_at, why


def _list(options: Namespace) -> int:
    config = configured(options)
    if options.cursor:
        number_of(options.cursor)
    from sendry.queue.lookup import Lookup
    from sendry.queue.states import Status
    from sendry.queue.views import MessageFilter

    status = Status(options.status) if options.status else None
    wanted = MessageFilter(status=status, domain=options.domain or "", is_waiting=status is None)
    with opened(config) as store:
        lookup = Lookup(store)
        page = lookup.messages(wanted, options.cursor, options.limit)
        counts = lookup.counts()
    if options.json:
        from sendry.api import shapes

        messages = [shapes.message_row(row) for row in page.items]
        stats = shapes.queue_stats(counts)
        print_json(
            {"stats": stats, "messages": messages, "total": page.total, "next_cursor": page.next_cursor or None}
        )
    else:
        print_page(page, "queue list")
    return 0


def _show(options: Namespace) -> int:
    config = configured(options)
    number_of(options.id)
    from sendry.queue.lookup import Lookup

    with opened(config) as store:
        view = Lookup(store).message(options.id)
    if view is None:
        raise _unknown(options.id)
    if options.json:
        from sendry.api import shapes

        addresses = {recipient.number: recipient.address for recipient in view.recipients}
        events = [shapes.event(row, addresses.get(row.recipient_number or 0)) for row in view.events]
        print_json({**shapes.message(view), "events": events})
    else:
        _print_message(view)
    return 0


def _print_message(view: MessageView) -> None:
    row = view.message
    print_fields(
        {
            "id": row.id,
            "status": f"{row.status}, in the dead-letter queue" if view.is_dead else row.status,
            "accepted": row.created_at,
            "from": row.sender or "<> (a report)",
            "header from": row.header_from,
            "subject": row.subject,
            "message-id": row.header_id,
            "size": counted(row.size, "octet"),
            "domain": f"{row.domain} ({row.mode})",
            "handed in": " ".join(part for part in (row.origin, row.origin_name, row.client_ip) if part),
            "tags": ", ".join(row.tags),
        }
    )
    print("\nRecipients")
    print_table(
        ("ADDRESS", "STATUS", "TRIES", "NEXT TRY", "LAST REPLY"),
        [
            (
                f"{r.address} (for {r.original})" if r.original else r.address,
                f"{r.status}, possible duplicate" if r.is_possible_duplicate else r.status,
                r.attempts,
                r.next_attempt_at,
                " ".join(part for part in (str(r.last_code or ""), r.last_enhanced, r.last_response) if part),
            )
            for r in view.recipients
        ],
    )
    addresses = {recipient.number: recipient.address for recipient in view.recipients}
    print("\nHistory")
    print_table(
        ("TIME", "EVENT", "RECIPIENT", "DETAIL"),
        [
            (event.at, event.kind, addresses.get(event.recipient_number or 0, ""), _told(event.attempt))
            for event in view.events
        ],
    )


def _told(attempt: AttemptRow | None) -> str:
    if attempt is None:
        return ""
    where = f"{attempt.host} [{attempt.ip}]" if attempt.ip and attempt.ip != attempt.host else attempt.host
    how = f"{attempt.tls} {attempt.tls_verified}".strip() or "in clear"
    reply = " ".join(part for part in (str(attempt.code or ""), attempt.enhanced, attempt.response) if part)
    return f"{where}, {how}: {reply}" if where else reply


def _stats(options: Namespace) -> int:
    config = configured(options)
    from sendry.queue.lookup import Lookup

    with opened(config) as store:
        lookup = Lookup(store)
        counts, oldest = lookup.counts(), lookup.oldest_waiting()
        destinations = lookup.destinations(_DESTINATIONS)
    if options.json:
        from sendry.api import shapes

        print_json(
            {
                **shapes.queue_stats(counts),
                "cancelled": counts.cancelled,
                "suppressed": counts.suppressed,
                "dead": counts.dead,
                "captured": counts.captured,
                "oldest_waiting_at": timestamp(oldest),
                "destinations": [
                    {
                        "destination": row.destination,
                        "waiting": row.waiting,
                        "next_attempt_at": timestamp(row.next_attempt_at),
                        "oldest_at": timestamp(row.oldest_at),
                    }
                    for row in destinations
                ],
            }
        )
        return 0
    print_fields(
        {
            "pending": counts.pending,
            "sending": counts.sending,
            "deferred": counts.deferred,
            "delivered": counts.delivered,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
            "dead letters": counts.dead,
            "captured": counts.captured,
            "oldest waiting since": oldest,
        }
    )
    if destinations:
        print("\nWaiting, by destination")
        rows = [(row.destination, row.waiting, row.next_attempt_at, row.oldest_at) for row in destinations]
        print_table(("DESTINATION", "RECIPIENTS", "NEXT TRY", "OLDEST"), rows)
    return 0


def _retry(options: Namespace) -> int:
    config, now = configured(options), datetime.now(UTC)
    numbers = {identity: number_of(identity) for identity in options.id}
    with joined(config) as queue:
        done = {identity: queue.retry(number, now).result() for identity, number in numbers.items()}
    return report_acts(
        options,
        {identity: f"{counted(count, 'recipient')} due now" if count else "" for identity, count in done.items()},
        "nothing to retry: it is unknown, or neither deferred nor failed",
        "retried",
    )


def _delete(options: Namespace) -> int:
    config = configured(options)
    numbers = {identity: number_of(identity) for identity in options.id}
    from sendry.queue.control import Deleted

    reasons = {
        Deleted.UNKNOWN: "there is no such message",
        Deleted.IN_FLIGHT: "it is being sent right now; try again when the attempt is over",
    }
    with joined(config) as queue:
        ended = {identity: queue.delete(number).result() for identity, number in numbers.items()}
    left = {identity: reasons[how] for identity, how in ended.items() if how in reasons}
    return report_acts(
        options,
        {identity: "" if identity in left else "deleted" for identity in ended},
        lambda identity: left[identity],
        "deleted",
    )


def report_acts(options: Namespace, told: dict[str, str], why_not: str | Callable[[str], str], name: str) -> int:
    """Say of each id what was done, or ("") why it was not; the exit code is 1 when anything was not."""
    reasons = {
        identity: why_not if isinstance(why_not, str) else why_not(identity)
        for identity, text in told.items()
        if not text
    }
    if options.json:
        acted = [identity for identity, text in told.items() if text]
        print_json({name: acted, "errors": [{"id": i, "error": reason} for i, reason in reasons.items()]})
    else:
        for identity, text in told.items():
            if text:
                print(f"{identity}  {text}")
    if reasons:
        raise Failed("\n".join(f"{identity}: {reason}" for identity, reason in reasons.items()))
    return 0


def _unknown(identity: str) -> Failed:
    return Failed(f"{identity}: there is no such message")
