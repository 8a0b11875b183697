"""Secrets that are made at the first start and kept: the key of an opened sandbox, the one that signs cookies."""

from __future__ import annotations

import dataclasses
import os
import secrets
from contextlib import suppress

from sendry.config.tree import Config
from sendry.store import nodes
from sendry.store.database import Store


def with_api_key(config: Config, store: Store) -> tuple[Config, str]:
    """In the sandbox profile opened to others a key is made once, kept, and shown when it is new."""
    if not config.is_open or config.api.api_key or config.api.allow_anonymous:
        return config, ""
    made = f"sk_{secrets.token_urlsafe(32)}"
    kept = nodes.remembered(store, "api.api_key", made)
    api = dataclasses.replace(config.api, api_key=kept)
    return dataclasses.replace(config, api=api), kept if kept == made else ""


def web_secret(config: Config, store: Store) -> str:
    """What signs cookies, form tokens and the first-admin link: from the settings, or made once and kept."""
    if config.web.secret_key:
        return config.web.secret_key
    if config.storage.url:
        # Platforms give every process a fresh disk; what all of them must share is in the database.
        return nodes.remembered(store, "web.secret_key", secrets.token_urlsafe(32))
    path = config.data_dir / "web-secret"
    if not path.exists():
        # Whole or not at all: another process that starts now must never read half a secret.
        draft = path.with_name(f"web-secret.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(32))
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
