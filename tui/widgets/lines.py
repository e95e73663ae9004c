"""Many lines, of which only those in sight are coloured and drawn: a configuration has thousands."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from tui.widgets.colouring import coloured


class Lines(ScrollView, can_focus=True):
    """Each is `Content`, or a line of JSON as text. What is too long goes on in the next row."""

    auto_links = False

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._lines: Sequence[Content | str] = ()
        self._rows: list[tuple[int, int, int]] = []
        self._width = 0
        self._coloured: dict[int, Content] = {}

    def show(self, lines: Sequence[Content | str]) -> None:
        """In place of those before, from the top."""
        self._lines = lines
        self._coloured.clear()
        self._width = 0
        self.scroll_to(y=0, animate=False)
        if self.size:
            self._fit()
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self._fit()
        self.refresh()

    def _fit(self) -> None:
        self._wrap(self.size.width)
        size = Size(self._width, len(self._rows))
        self.set_reactive(Lines.virtual_size, size)  # nothing else moves, so nothing is to be laid out
        self._scroll_update(size)

    def _wrap(self, width: int) -> None:
        if width == self._width:
            return
        self._width = width
        rows = self._rows = []
        for number, line in enumerate(self._lines):
            text = line if isinstance(line, str) else line.plain
            if (len(text) <= width and text.isascii()) or cell_len(text) <= width:
                rows.append((number, 0, len(text)))
                continue
            start = 0
            for piece in chop_cells(text, max(width, 1)):
                rows.append((number, start, start + len(piece)))
                start += len(piece)

    def render_line(self, y: int) -> Strip:
        place, width = y + self.scroll_offset.y, self.size.width
        self._wrap(width)  # it may be drawn before it is told its size
        if place >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        number, start, end = self._rows[place]
        content = self._content(number)[start:end]
        strips = Visual.to_strips(self, content, width, 1, self.visual_style, pad=True)
        return strips[0] if strips else Strip.blank(width, self.rich_style)

    def _content(self, number: int) -> Content:
        line = self._lines[number]
        if isinstance(line, Content):
            return line
        if number not in self._coloured:
            self._coloured[number] = coloured(line)
        return self._coloured[number]
