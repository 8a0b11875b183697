"""`sendry user`: the people who sign in to the panel. What they may do by role stands in `sendry.access.users`."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sendry.cli.failure import Failed
from sendry.cli.hash_password import read_password
from sendry.cli.opening import configured, opened
from sendry.cli.parser import takes_config, takes_json
from sendry.cli.printing import print_json, print_table, timestamp

if TYPE_CHECKING:
    from sendry.access.users import Person, Users

_ROLES: Final = ("admin", "editor", "viewer")


def add_arguments(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    create = commands.add_parser("create", help="add somebody; asks for the password")
    create.add_argument("email", metavar="EMAIL", help="address to sign in with")
    create.add_argument("--name", default="", help="name as the panel shows it")
    create.add_argument("--role", choices=_ROLES, help="default: admin for the first user, then viewer")
    create.set_defaults(run=_create)

    delete = commands.add_parser("delete", help="remove somebody and end all sessions of theirs")
    delete.add_argument("email", metavar="EMAIL")
    delete.set_defaults(run=_delete)

    listing = commands.add_parser("list", help="who may sign in")
    listing.set_defaults(run=_list)

    reset = commands.add_parser("reset-password", help="set a new password and end all sessions")
    reset.add_argument("email", metavar="EMAIL")
    reset.set_defaults(run=_reset_password)

    for command in (create, reset):
        command.add_argument("--generate", action="store_true", help="make a password and print it")
        command.epilog = "Asks for the password, or reads one line from standard input where that is no terminal."
    for command in (create, delete, listing, reset):
        takes_config(command)
        takes_json(command)


@contextmanager
def _users(options: Namespace) -> Iterator[Users]:
    config = configured(options)
    from sendry.access.users import UserFault, Users

    with opened(config, makes=True) as store:
        try:
            # The web secret is for the link of the first admin only, which is no business of these commands.
            yield Users(store, "")
        except UserFault as fault:
            raise Failed(str(fault)) from None


def _create(options: Namespace) -> int:
    from sendry.access.users import Role, checked_email, checked_password

    with _users(options) as users:
        checked_email(options.email)
        password = checked_password(_password(options))
        role = Role(options.role) if options.role else Role.VIEWER if users.has_any() else Role.ADMIN
        person = users.create(options.email, options.name, password, role, datetime.now(UTC))
    made = {"password": password} if options.generate else {}
    if options.json:
        print_json({**_shape(person), **made})
    else:
        print(f"{person.email} may sign in now, as {person.role}")
        _tell_password(made)
    return 0


def _list(options: Namespace) -> int:
    with _users(options) as users:
        people = users.all()
    if options.json:
        print_json({"users": [_shape(person) for person in people]})
    elif not people:
        print("nobody; sendry user create EMAIL adds somebody")
    else:
        rows = [(p.email, p.name, p.role, p.created_at, p.last_seen_at or "never") for p in people]
        print_table(("EMAIL", "NAME", "ROLE", "CREATED", "LAST SEEN"), rows)
    return 0


def _delete(options: Namespace) -> int:
    with _users(options) as users:
        if not users.delete(options.email):
            raise _unknown(options.email)
    print_json({"deleted": options.email}) if options.json else print(f"{options.email} is removed")
    return 0


def _reset_password(options: Namespace) -> int:
    with _users(options) as users:
        if users.find(options.email) is None:
            raise _unknown(options.email)
        password = _password(options)
        if not users.set_password(options.email, password):
            raise _unknown(options.email)
    made = {"password": password} if options.generate else {}
    if options.json:
        print_json({"email": options.email, **made})
    else:
        print(f"{options.email} has a new password, and is signed out everywhere")
        _tell_password(made)
    return 0


def _password(options: Namespace) -> str:
    if options.generate:
        return secrets.token_urlsafe(15)
    try:
        return read_password()
    except ValueError as error:
        raise Failed(str(error)) from None


def _tell_password(made: dict[str, str]) -> None:
    if made:
        print(f"password  {made['password']}   (kept as a hash: note it down)")


def _unknown(email: str) -> Failed:
    return Failed(f"there is no user {email}; sendry user list shows all")


def _shape(person: Person) -> dict[str, object]:
    return {
        "email": person.email,
        "name": person.name,
        "role": person.role.value,
        "created_at": timestamp(person.created_at),
        "last_seen_at": timestamp(person.last_seen_at),
    }
