"""One record, all of it: names and values, what has parts as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content

from tui import show
from tui.screens.base import AdminScreen
from tui.screens.opened import OpenedScreen
from tui.widgets.lines import Lines


def record_lines(record: Mapping[str, Any]) -> Iterator[Content | str]:
    """A line for each value; those with parts as JSON below their name."""
    width = max((len(name) for name in record), default=0)
    for name, value in record.items():
        title = Content.styled(name.replace("_", " ").ljust(width + 2), "bold")
        if isinstance(value, dict | list) and value:
            yield title
            yield from show.indented(value).split("\n")
        elif value is None or value in ("", {}, []):
            yield title + Content.styled(show.NONE, "dim")
        else:
            first, *more = (str(value).lower() if isinstance(value, bool) else str(value)).split("\n")
            yield title + Content(first)
            yield from map(Content, more)


class RecordScreen(OpenedScreen):
    """Pushed over a list; `q` goes back."""

    AUTO_FOCUS = "Lines"
    BINDINGS = [
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
        Binding("g", "ends(-1)", "Top", show=False),
        Binding("G", "ends(1)", "End", show=False),
        Binding("y", "copy", "Copy as JSON"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._heading = ""
        self._record: Mapping[str, Any] = {}

    def compose_body(self) -> ComposeResult:
        yield Lines(classes="panel")

    def open(self, title: str, record: Mapping[str, Any]) -> None:
        self._heading, self._record = title, record
        self.renew()

    def begin(self) -> None:
        lines = self.query_one(Lines)
        lines.border_title = Text(self._heading).markup
        lines.show([*record_lines(self._record)])

    def end(self) -> None:
        self._record = {}
        self.query_one(Lines).show([])

    def action_scroll(self, lines: int) -> None:
        self.query_one(Lines).scroll_relative(y=lines, animate=False)

    def action_ends(self, end: int) -> None:
        lines = self.query_one(Lines)
        lines.scroll_to(y=0 if end < 0 else lines.max_scroll_y, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(show.indented(self._record))
        self.notify("Copied as JSON")


def show_record(over: AdminScreen[Any], title: str, record: Mapping[str, Any]) -> None:
    screen = over.admin.kept(RecordScreen)
    screen.open(title, record)
    over.app.push_screen(screen)
