"""Two bodies side by side, or one below the other where there is little room."""

from __future__ import annotations

import json
from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.widgets.colouring import coloured

_LONGEST = 20_000
"""Characters of a body that are drawn; the rest is a copy away."""


def pretty(body: str | None) -> Content:
    """JSON indented and coloured; anything else (a stream's events) as it is."""
    if body is None or body == "":
        return Content.styled("nothing was kept", "dim")
    text = body
    paint: Callable[[str], Content] = coloured
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        paint = Content
    more = len(text) - _LONGEST
    shown = paint(text[:_LONGEST])
    return shown + Content(f"\n… {more} characters more: y copies all of it") if more > 0 else shown


class BodyPane(VerticalScroll):
    DEFAULT_CLASSES = "panel"
    BINDINGS = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("y", "copy", "Copy"),
    ]

    _body: str | None = None

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, title: str, body: str | None) -> None:
        self.border_title = Text(title).markup
        self._body = body
        self.query_one(Static).update(pretty(body))
        self.scroll_home(animate=False)

    def forget(self) -> None:
        self._body = None
        self.query_one(Static).update("")

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._body or "")
        self.notify("Copied")


class SideBySide(Container):
    DEFAULT_CLASSES = "side-by-side"

    def compose(self) -> ComposeResult:
        yield BodyPane()
        yield BodyPane()

    def show(self, *panes: tuple[str, str | None]) -> None:
        """Each is a title and a body."""
        for pane, (title, body) in zip(self.query(BodyPane), panes, strict=True):
            pane.show(title, body)

    def forget(self) -> None:
        for pane in self.query(BodyPane):
            pane.forget()
