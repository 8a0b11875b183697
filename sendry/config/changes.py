"""What differs between two configurations, and which of it a running Sendry takes over.

Pure. Promise: a setting that is not taken over at a reload is named, so that nobody believes it to be in effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from sendry.config.keys import Table, keys_of
from sendry.config.tree import Config

TAKEN_OVER: Final = ("domains", "dkim", "smtp.auth.users")
"""What a reload brings into effect; the names of keys and of tables."""


def changed_keys(old: Config, new: Config) -> tuple[str, ...]:
    """The dotted keys whose values differ; tables with names of the user's, such as `domains`, count as one key."""
    return tuple(_changed(old, new, ""))


def needs_restart(key: str) -> bool:
    """Whether a changed key waits for the next start."""
    return not any(key == taken or key.startswith(f"{taken}.") for taken in TAKEN_OVER)


def taken_over(old: Config, new: Config) -> Config:
    """The old configuration with what a reload takes from the new one."""
    auth = replace(old.smtp.auth, users=new.smtp.auth.users)
    return replace(old, domains=new.domains, dkim=new.dkim, smtp=replace(old.smtp, auth=auth))


def _changed(old: Any, new: Any, prefix: str) -> Iterator[str]:
    for name, key in keys_of(type(old)).items():
        before, after = getattr(old, key.attribute), getattr(new, key.attribute)
        if isinstance(key.shape, Table):
            yield from _changed(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name
