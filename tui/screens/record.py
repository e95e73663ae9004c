"""One record, all of it: names and values, what has parts as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui import show
from tui.screens.base import AdminScreen


def record_table(record: Mapping[str, Any], *, dark: bool) -> Table:
    """Two columns: a name, and its value."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(ratio=1)
    for name, value in record.items():
        table.add_row(Text(name.replace("_", " ")), _value(value, dark))
    return table


def _value(value: Any, dark: bool) -> Text | Syntax:
    if isinstance(value, dict | list) and value:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        theme = "ansi_dark" if dark else "ansi_light"
        return Syntax(text, "json", theme=theme, background_color="default", word_wrap=True)
    if value is None or value in ("", {}, []):
        return Text(show.NONE, style="dim")
    return Text(str(value).lower() if isinstance(value, bool) else str(value))


class RecordScreen(AdminScreen[None]):
    """Pushed over a list; `q` goes back."""

    AUTO_FOCUS = "VerticalScroll"
    BINDINGS = [
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
        Binding("y", "copy", "Copy as JSON"),
    ]

    def __init__(self, title: str, record: Mapping[str, Any]) -> None:
        super().__init__()
        self._heading = title
        self._record = record

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(classes="panel") as panel:
            panel.border_title = Text(self._heading).markup
            yield Static(record_table(self._record, dark=self.app.current_theme.dark))

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(json.dumps(self._record, indent=2, ensure_ascii=False))
        self.notify("Copied as JSON")
