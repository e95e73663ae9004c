"""One figure of the moment: its name, its value, and how it came about."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from tui.widgets.bars import bars


class Figure(Widget):
    """`colour` is a variable of the theme."""

    DEFAULT_CLASSES = "figure"

    def __init__(self, title: str, *, colour: str = "$primary", id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = title
        self._colour = colour
        self._value = "–"
        self._words = ""
        self._values: Sequence[float] = ()

    def show(self, value: str, words: str = "", values: Sequence[float] = (), colour: str | None = None) -> None:
        """`words` stand beside the value; `values` are drawn below it, oldest first."""
        if colour is not None:
            self._colour = colour
        self._value, self._words, self._values = value, words, values
        self.refresh()

    def render(self) -> Content:
        width, height = self.size.width, self.size.height
        head = Content.assemble((self._title, "dim"))
        room = width - len(self._value) - 1
        words = self._words if len(self._words) <= room else ""
        value = Content.assemble((self._value, f"bold {self._colour}"), (f" {words}" if words else "", "dim"))
        chart = [Content.styled(line, self._colour) for line in bars(self._values, width, max(height - 2, 1))]
        return Content("\n").join([head, value, *chart])
