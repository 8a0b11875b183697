"""The one exception by which a command says that it could not be done."""

from __future__ import annotations


class Failed(Exception):
    """What was asked for could not be done; the text says why and what to do. Ends with exit code 1."""
