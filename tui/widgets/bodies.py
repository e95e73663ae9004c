"""Two bodies side by side, or one below the other where there is little room."""

from __future__ import annotations

import json

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.highlight import highlight
from textual.widgets import Static

_LONGEST = 20_000
"""Characters of a body that are drawn; the rest is a copy away."""


def pretty(body: str | None) -> Content:
    """JSON indented and coloured; anything else (a stream's events) as it is."""
    if body is None or body == "":
        return Content.styled("nothing was kept", "dim")
    text, kind = body, "json"
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        kind = ""
    more = len(text) - _LONGEST
    if more > 0:
        text = f"{text[:_LONGEST]}\n… {more} characters more: y copies all of it"
    return highlight(text, language=kind) if kind else Content(text)


class BodyPane(VerticalScroll):
    DEFAULT_CLASSES = "panel"
    BINDINGS = [
        Binding("j", "scroll_down", "Down", show=False),
        Binding("k", "scroll_up", "Up", show=False),
        Binding("y", "copy", "Copy"),
    ]

    def __init__(self, title: str, body: str | None) -> None:
        super().__init__()
        self.border_title = title
        self._body = body

    def compose(self) -> ComposeResult:
        yield Static(pretty(self._body))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._body or "")
        self.notify("Copied")


class SideBySide(Container):
    """`panes` are (title, body) pairs."""

    DEFAULT_CLASSES = "side-by-side"

    def __init__(self, *panes: tuple[str, str | None]) -> None:
        super().__init__(*(BodyPane(title, body) for title, body in panes))
