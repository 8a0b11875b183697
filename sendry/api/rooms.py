"""The way from a request to the rooms below."""

from __future__ import annotations

from typing import cast

from flask import current_app

from sendry.rooms import Rooms


def rooms() -> Rooms:
    """The rooms of the application that serves this request."""
    return cast(Rooms, current_app.extensions["sendry"])
