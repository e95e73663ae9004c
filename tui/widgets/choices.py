"""A list of lines to choose of, of which only those in sight are drawn: there may be hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from tui.widgets.moves import MOVES


class Choices(ScrollView, can_focus=True):
    """Each line is one choice; the cursor is on one of them."""

    class Chosen(Message):
        """Enter or space on a line, or a click; `at` is its place."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"choices--cursor"}
    DEFAULT_CSS = """
    Choices {
        overflow-x: hidden;
        & > .choices--cursor {
            color: $block-cursor-blurred-foreground;
            background: $block-cursor-blurred-background;
            text-style: $block-cursor-blurred-text-style;
        }
        &:focus > .choices--cursor {
            color: $block-cursor-foreground;
            background: $block-cursor-background;
            text-style: $block-cursor-text-style;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("enter,space", "choose", "Choose", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cursor = 0
        self._lines: list[Content] = []
        self._room = 0

    def begin(self, lines: Sequence[Content]) -> None:
        """Other choices. What is narrowed of them later leaves the rest of the room empty, and moves nothing."""
        if len(lines) != self._room:
            self._room = len(lines)
            self.refresh(layout=True)
        self.show(lines)

    def show(self, lines: Sequence[Content]) -> None:
        """These of them, with the cursor on the first one."""
        self._lines = list(lines)
        self.cursor = 0
        self._measure()
        self.scroll_home(animate=False)
        self.refresh()

    def replace(self, at: int, line: Content) -> None:
        """One line looks different."""
        self._lines[at] = line
        self.refresh_line(at)

    def move(self, to: int) -> None:
        """The cursor to a line, or as near to it as there are lines."""
        if not self._lines:
            return
        self.refresh_line(self.cursor)
        self.cursor = min(max(to, 0), len(self._lines) - 1)
        self.refresh_line(self.cursor)
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)

    def refresh_line(self, y: int) -> None:
        self.refresh(Region(0, y - self.scroll_offset.y, self.size.width, 1))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._room

    def on_resize(self) -> None:
        self._measure()

    def _measure(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._lines))

    def render_line(self, y: int) -> Strip:
        at, width = y + self.scroll_offset.y, self.size.width
        if at >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        style = self.visual_style
        if at == self.cursor:
            style += self.get_visual_style("choices--cursor")
        line = self._lines[at].truncate(width, ellipsis=True)
        strips = Visual.to_strips(self, line, width, 1, style, pad=True)
        return strips[0] if strips else Strip.blank(width, style.rich_style)

    def action_move(self, lines: int) -> None:
        self.move(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        self.move(self.cursor + pages * max(self.scrollable_content_region.height, 1))

    def action_first(self) -> None:
        self.move(0)

    def action_last(self) -> None:
        self.move(len(self._lines) - 1)

    def action_choose(self) -> None:
        if self._lines:
            self.post_message(self.Chosen(self.cursor))

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        at = place.y + self.scroll_offset.y if place is not None else -1
        if 0 <= at < len(self._lines):
            event.stop()
            self.move(at)
            self.action_choose()
