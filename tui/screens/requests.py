"""Under way."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.screens.base import AdminScreen


class RequestsScreen(AdminScreen[None]):
    def compose_body(self) -> ComposeResult:
        yield Static("…")
