"""A table of records: columns that fit the width, a cursor that stays on its record, vim keys, pages on demand.

Cells are made when their row comes into sight, so that a list costs what is seen of it, however long it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.filters import CONTROL
from tui.widgets.columns import PADDING, Column, fit
from tui.widgets.moves import MOVES

Item = dict[str, Any]
Cell = str | Text
_NEAR: Final = 2
"""So many screenfuls before the end the next page is asked for."""

_MOST_KEPT: Final = 2000
"""Lines that are kept as they were drawn."""

_NOWHERE: Final = -1


@dataclass(frozen=True, slots=True)
class Kept:
    """Records, the columns they were shown in, and the lines that were drawn of them."""

    items: list[Item]
    shown: list[tuple[int, int]]
    lines: dict[tuple[int, Style], Strip]


class RecordTable(ScrollView, can_focus=True):
    """`row` makes a record's cells, one for each of `columns`; `key` names it."""

    class _OfRecord(Message):
        def __init__(self, table: RecordTable, item: Item) -> None:
            super().__init__()
            self.table = table
            self.item = item

        @property
        def control(self) -> RecordTable:
            return self.table

    class Opened(_OfRecord):
        """Enter, or a click on the row under the cursor."""

    class Pointed(_OfRecord):
        """The cursor came to another record."""

    class NearEnd(_OfRecord):
        """The cursor, or what is in sight, is close to the last row."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "record-table--header",
        "record-table--cursor",
        "record-table--hover",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("enter,l", "open", "Open", show=False),
    ]

    def __init__(
        self,
        columns: Sequence[Column],
        row: Callable[[Item], Sequence[Cell]],
        *,
        key: Callable[[Item], str] = lambda item: str(item["id"]),
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.specs = tuple(columns)
        self.items: list[Item] = []
        self.cursor_row = 0
        self._row = row
        self._key = key
        self._shown: list[tuple[int, int]] = []
        self._whole = [index for index, column in enumerate(self.specs) if column.whole]
        self._needs: dict[int, int] = {}
        self._outgrown = False
        self._pointed = ""
        self._hovered = _NOWHERE
        self._lines: dict[tuple[int, Style], Strip] = {}
        self._theme = ""

    @property
    def item(self) -> Item | None:
        """The record under the cursor."""
        return self.items[self.cursor_row] if 0 <= self.cursor_row < len(self.items) else None

    # Records

    def show(self, items: Iterable[Item], *, follow: bool = False, kept: Kept | None = None) -> None:
        """The records in place of those before; the cursor stays on its record, or with `follow` at the top where it
        stood there. `kept`: how they were drawn."""
        before, old, line = self.item, self.cursor_row, self.scroll_offset.y
        new = list(items)
        if new == self.items:
            return
        place = 0
        if before is not None and new and not (follow and old == 0):
            wanted = self._key(before)
            place = next((at for at, each in enumerate(new) if self._key(each) == wanted), min(old, len(new) - 1))
            line += place - old if line or follow else 0
        in_sight = self._in_sight(old)
        self.items = new
        self.cursor_row = place
        self._hovered = _NOWHERE
        self._measure()
        self.scroll_to(y=max(line, 0), animate=False)
        if in_sight:
            self._to_cursor()
        self.redraw()
        if kept is not None and kept.shown == self._shown:
            self._lines.update(kept.lines)
        self._tell()

    def keep(self) -> Kept:
        """What is shown, to be shown again."""
        return Kept(self.items[:], self._shown, self._lines.copy())

    def extend(self, items: Iterable[Item]) -> None:
        """More records at the end."""
        first = len(self.items)
        self.items += items
        self._measure()
        if self._in_sight(first):
            self.refresh()

    def after(self, item: Item) -> list[Item]:
        """The records behind a record; none where it is not here."""
        wanted = self._key(item)
        place = next((at for at, each in enumerate(self.items) if self._key(each) == wanted), len(self.items))
        return self.items[place + 1 :]

    def redraw(self) -> None:
        """Makes every row anew, after what `row` depends on has changed."""
        self._lines.clear()
        self.refresh()

    def _measure(self) -> None:
        size = Size(self.container_size.width, len(self.items) + 1)
        if self.styles.is_auto_height:
            self.virtual_size = size
        else:  # nothing else on the screen moves, so nothing is to be laid out
            self.set_reactive(RecordTable.virtual_size, size)
        self._scroll_update(size)

    def _tell(self, *, moved: bool = False) -> None:
        item = self.item
        if item is None:
            self._pointed = ""
            return
        if (key := self._key(item)) != self._pointed:
            self._pointed = key
            self.post_message(self.Pointed(self, item))
        if moved and max(self.cursor_row, self.scroll_offset.y) >= len(self.items) - _NEAR * self._rows:
            self.post_message(self.NearEnd(self, item))

    # The cursor

    @property
    def _rows(self) -> int:
        """How many rows are in sight."""
        return max(self.scrollable_content_region.height - 1, 1)

    def _in_sight(self, row: int) -> bool:
        return 0 <= row - self.scroll_offset.y < self._rows

    def move_cursor(self, row: int) -> None:
        """To a row, or as near to it as there are rows."""
        row = min(max(row, 0), len(self.items) - 1)
        if row < 0:
            return
        was, hovered = self.cursor_row, self._hovered
        self.cursor_row, self._hovered = row, _NOWHERE
        self._to_cursor()
        for each in {was, row, hovered} - {_NOWHERE}:
            self.refresh_line(each + 1)
        self._tell(moved=True)

    def _to_cursor(self) -> None:
        top = self.scroll_offset.y
        if self.cursor_row < top:
            self.scroll_to(y=self.cursor_row, animate=False)
        elif self.cursor_row >= top + self._rows:
            self.scroll_to(y=self.cursor_row - self._rows + 1, animate=False)

    def action_move(self, rows: int) -> None:
        self.move_cursor(self.cursor_row + rows)

    def action_page(self, pages: int) -> None:
        step = pages * self._rows
        self.scroll_to(y=self.scroll_offset.y + step, animate=False)
        self.move_cursor(self.cursor_row + step)

    def action_first(self) -> None:
        self.move_cursor(0)

    def action_last(self) -> None:
        self.move_cursor(len(self.items) - 1)

    def action_open(self) -> None:
        if (item := self.item) is not None:
            self.post_message(self.Opened(self, item))

    # The mouse

    def _row_at(self, event: events.MouseEvent) -> int:
        place = event.get_content_offset(self)
        row = place.y - 1 + self.scroll_offset.y if place is not None and place.y > 0 else _NOWHERE
        return row if row < len(self.items) else _NOWHERE

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._hover(self._row_at(event))

    def on_leave(self) -> None:
        self._hover(_NOWHERE)

    def _hover(self, row: int) -> None:
        if row != self._hovered:
            for each in {row, self._hovered} - {_NOWHERE}:
                self.refresh_line(each + 1)
            self._hovered = row

    def on_click(self, event: events.Click) -> None:
        if (row := self._row_at(event)) == _NOWHERE:
            return
        event.stop()
        if row == self.cursor_row:
            self.action_open()
        else:
            self.move_cursor(row)

    # What is drawn

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._tell(moved=True)

    def on_resize(self, event: events.Resize) -> None:
        in_sight = self._in_sight(self.cursor_row)
        self._fit()
        self._measure()
        if in_sight:
            self._to_cursor()

    def _fit(self) -> None:
        self._outgrown = False
        room = self.container_size.width - self.styles.gutter.width - self.scrollbar_size_vertical
        shown = fit(self.specs, room, self._needs)
        if shown != self._shown:
            self._shown = shown
            self.redraw()

    def _grow(self, cells: Sequence[Cell]) -> None:
        """Remembers how wide the cells are that are to be shown whole, and makes room once this is drawn."""
        for index in self._whole:
            if (need := len(cells[index])) > self._needs.get(index, self.specs[index].width):
                self._needs[index] = need
                if not self._outgrown:
                    self._outgrown = True
                    self.call_later(self._fit)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.app.theme != self._theme:  # the focus changes nothing but the styles of rows, by which they are kept
            self._theme = self.app.theme
            self._lines.clear()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Without what Textual does to each line for the borders and the padding that there may be."""
        if self.styles.gutter:
            return super().render_lines(crop)
        plain, (width, height) = self.rich_style, self.size
        strips = [self._drawn(y, plain) if y < height else Strip.blank(width, plain) for y in crop.line_range]
        background = self.background_colors[1]
        for each in self.get_line_filters():
            strips = [strip.apply_filter(each, background) for strip in strips]
        return [strip.crop(crop.x, crop.right) for strip in strips]

    def render_line(self, y: int) -> Strip:
        return self._drawn(y, self.rich_style)

    def _drawn(self, y: int, plain: Style) -> Strip:
        """A line, where `plain` is the table's own style."""
        row = y - 1 + self.scroll_offset.y if y else _NOWHERE
        if row >= len(self.items):
            return Strip.blank(self.size.width, plain)
        name = "header" if not y else "cursor" if row == self.cursor_row else "hover" if row == self._hovered else ""
        style = self.get_component_rich_style(f"record-table--{name}") if name else plain
        if (line := self._lines.get((row, style))) is None:
            if len(self._lines) >= _MOST_KEPT:
                self._lines.clear()
            cells = self._row(self.items[row]) if y else [column.title for column in self.specs]
            if y and self._whole:
                self._grow(cells)
            line = self._lines[row, style] = self._line(cells, style)
        return line.adjust_cell_length(self.size.width, style)

    def _line(self, cells: Sequence[Cell], style: Style) -> Strip:
        segments: list[Segment] = []
        like = ""  # what is still to be drawn in the style of the whole line
        total = 0
        for index, width in self._shown:
            pieces = list(self._pieces(cells[index], width))
            spare = width - sum([cell_len(text) for text, _ in pieces])
            left = spare if self.specs[index].align == "right" else 0
            like += " " * (PADDING // 2 + left)
            for text, own in pieces:
                if own:
                    if like:
                        segments.append(Segment(like, style))
                    segments.append(Segment(text, style + own))
                    like = ""
                else:
                    like += text
            like += " " * (spare - left + PADDING // 2)
            total += width + PADDING
        return Strip([*segments, Segment(like, style)], total)

    def _pieces(self, cell: Cell, width: int) -> Iterator[tuple[str, Style | None]]:
        """The texts of a cell in their styles, at most `width` wide."""
        if isinstance(cell, Text) and cell.spans:
            text = cell.copy()
            text.plain = _plain(text.plain)
            text.truncate(width, overflow="ellipsis")
            for segment in text.render(self.app.console, end=""):
                yield segment.text, segment.style
            return
        text_, own = (cell.plain, cell.style) if isinstance(cell, Text) else (cell, "")
        text_ = _plain(text_)
        if cell_len(text_) > width:
            text_ = set_cell_size(text_, width - 1) + "…"
        yield text_, (Style.parse(own) if isinstance(own, str) else own) if own else None


def _plain(text: str) -> str:
    """One line, as wide as what is drawn of it."""
    return CONTROL.sub(" ", text) if CONTROL.search(text) else text
