"""One record, all of it: names and values, what has parts as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.highlight import highlight
from textual.widgets import Static

from tui import show
from tui.screens.base import AdminScreen


def record_words(record: Mapping[str, Any]) -> Content:
    """A line for each value; those with parts as JSON below their name."""
    width = max((len(name) for name in record), default=0)
    lines = []
    for name, value in record.items():
        title = Content.styled(name.replace("_", " ").ljust(width + 2), "bold")
        if isinstance(value, dict | list) and value:
            lines += [title, highlight(json.dumps(value, indent=2, ensure_ascii=False), language="json")]
        elif value is None or value in ("", {}, []):
            lines.append(title + Content.styled(show.NONE, "dim"))
        else:
            lines.append(title + Content(str(value).lower() if isinstance(value, bool) else str(value)))
    return Content("\n").join(lines)


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
            yield Static(record_words(self._record))

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(json.dumps(self._record, indent=2, ensure_ascii=False))
        self.notify("Copied as JSON")
