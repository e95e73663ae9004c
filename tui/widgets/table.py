"""A table of records: columns that fit the width, a cursor that stays on its record, vim keys, pages on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.widgets import DataTable

Item = dict[str, Any]
Cell = str | Text
_PADDING: Final = 2
_NEAR: Final = 20
"""So many rows before the end the next page is asked for."""


@dataclass(frozen=True, slots=True)
class Column:
    """`width` is the least one; `flex` columns share what is left over. `drop`: the highest goes first where there is
    too little room, 0 never goes."""

    title: str
    width: int
    flex: bool = False
    drop: int = 0
    align: Literal["left", "right"] = "left"


def fit(columns: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """(index, width) of the columns that are shown."""
    shown = list(range(len(columns)))
    while True:
        used = sum(columns[index].width + _PADDING for index in shown)
        droppable = [index for index in shown if columns[index].drop]
        if used <= width or not droppable:
            break
        shown.remove(max(droppable, key=lambda index: columns[index].drop))
    flexible = [index for index in shown if columns[index].flex]
    spare = max(width - used, 0)
    share, rest = divmod(spare, len(flexible)) if flexible else (0, 0)
    return [
        (index, columns[index].width + (share + (index == flexible[-1]) * rest if index in flexible else 0))
        for index in shown
    ]


class RecordTable(DataTable[Text]):
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
        """The cursor is close to the last row."""

    BINDINGS = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
        Binding("g,home", "scroll_top", "First", show=False),
        Binding("G,end", "scroll_bottom", "Last", show=False),
        Binding("ctrl+d", "page_down", "Page down", show=False),
        Binding("ctrl+u", "page_up", "Page up", show=False),
        Binding("l", "select_cursor", "Open", show=False),
    ]

    def __init__(
        self,
        columns: Sequence[Column],
        row: Callable[[Item], Sequence[Cell]],
        *,
        key: Callable[[Item], str] = lambda item: str(item["id"]),
        id: str | None = None,
    ) -> None:
        super().__init__(cursor_type="row", cursor_foreground_priority="renderable", id=id, cell_padding=1)
        self.specs = tuple(columns)
        self.items: list[Item] = []
        self._row = row
        self._key = key
        self._shown: list[tuple[int, int]] = []
        self._pointed = ""

    @property
    def item(self) -> Item | None:
        """The record under the cursor."""
        return self.items[self.cursor_row] if 0 <= self.cursor_row < len(self.items) else None

    def show(self, items: Iterable[Item], *, follow: bool = False) -> None:
        """The records in place of those before; the cursor stays on its record, or with `follow` at the top where it
        stood there."""
        before, line = self.item, self.scroll_offset.y
        new = list(items)
        if new == self.items and self._shown:
            return
        self.items = new
        if not self._shown:
            return
        place = 0
        if before is not None and not (follow and self.cursor_row == 0):
            wanted = self._key(before)
            old = self.cursor_row
            place = next((at for at, each in enumerate(new) if self._key(each) == wanted), min(old, len(new) - 1))
            line += place - old if self.scroll_offset.y or follow else 0
        self.clear()
        self._add(new)
        if new:
            self.move_cursor(row=max(place, 0), scroll=False)
            self.scroll_to(y=max(line, 0), animate=False)

    def extend(self, items: Iterable[Item]) -> None:
        """More records at the end."""
        new = list(items)
        self.items += new
        if self._shown:
            self._add(new)

    def redraw(self) -> None:
        """Makes every row anew, after what `row` depends on has changed."""
        items, self.items = self.items, []
        self.show(items)

    def _add(self, items: Iterable[Item]) -> None:
        for item in items:
            cells = self._row(item)
            self.add_row(*(self._cell(cells[index], index, width) for index, width in self._shown))

    def _cell(self, cell: Cell, index: int, width: int) -> Text:
        text = cell.copy() if isinstance(cell, Text) else Text(cell)
        text.no_wrap, text.overflow = True, "ellipsis"
        if self.specs[index].align == "right":
            text.align("right", width)
        return text

    def on_resize(self, event: events.Resize) -> None:
        shown = fit(self.specs, self.container_size.width - self.styles.gutter.width - self.scrollbar_size_vertical)
        if shown == self._shown:
            return
        self._shown = shown
        place, line = self.cursor_row, self.scroll_offset.y
        self.clear(columns=True)
        for index, width in shown:
            title = Text(self.specs[index].title)
            if self.specs[index].align == "right":
                title.align("right", width)
            self.add_column(title, width=width)
        self._add(self.items)
        if self.items:
            self.move_cursor(row=min(place, len(self.items) - 1), scroll=False)
            self.scroll_to(y=line, animate=False)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        item = self.item
        if item is None:
            return
        if (key := self._key(item)) != self._pointed:
            self._pointed = key
            self.post_message(self.Pointed(self, item))
        if event.cursor_row >= len(self.items) - _NEAR:
            self.post_message(self.NearEnd(self, item))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if self.item is not None:
            self.post_message(self.Opened(self, self.item))
