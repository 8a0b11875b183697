"""Sendry: an MTA, an HTTP API and a web panel in one program."""

__version__ = "0.1.0"
