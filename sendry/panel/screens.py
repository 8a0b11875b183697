"""Every screen of the panel: importing this module gives the blueprint all its addresses."""

from __future__ import annotations

from sendry.panel import bulk, dashboard, inbox, jump, message, messages, preferences, signin
from sendry.panel.pages import panel

__all__ = ["bulk", "dashboard", "inbox", "jump", "message", "messages", "panel", "preferences", "signin"]
