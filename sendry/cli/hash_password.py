"""`sendry hash-password`: from a password to what stands in smtp.auth.users."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

# AUTH carries no more (see sendry.access.logins); a longer one would be hashed here and never let in.
_LONGEST = 1024


def add_arguments(parser: ArgumentParser) -> None:
    parser.epilog = "Asks for the password, or reads one line from standard input where that is no terminal."
    parser.set_defaults(run=_hash_password)


def _hash_password(_options: Namespace) -> int:
    try:
        password = read_password()
    except ValueError as error:
        print(f"sendry: {error}", file=sys.stderr)
        return 1
    from sendry.access.logins import hash_password

    print(hash_password(password))
    return 0


def read_password() -> str:
    """A password, typed twice at a terminal or as one line of standard input. Raises ValueError."""
    if sys.stdin.isatty():
        from getpass import getpass

        password = getpass("Password: ")
        if password and getpass("Again: ") != password:
            raise ValueError("the two are not the same; nothing was done")
    else:
        try:
            password = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise ValueError("the password is no UTF-8 text") from None
    if not password:
        raise ValueError("the password is empty")
    if len(password.encode(errors="surrogateescape")) > _LONGEST:
        raise ValueError(f"the password is longer than {_LONGEST} octets")
    return password
