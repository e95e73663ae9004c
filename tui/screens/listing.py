"""A screen that is a list: pages on demand, search, a cursor that stays, words for when there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.suggester import Suggester
from textual.widgets import Input, Static

from tui.screens.base import LOAD, AdminScreen, Refused
from tui.widgets.columns import Column
from tui.widgets.search import SearchLine
from tui.widgets.table import Cell, Item, Kept, RecordTable

PAGE = 100
MORE = "more"
_MOST_RELOADED = 500


class ListScreen(AdminScreen[None]):
    """`method` lists what is shown, `searches` says what can be searched; `nothing` is said where there are none,
    `unfound` where a search has none. `paged`: the method takes `limit` and `after`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # ahead of the list, so that what is typed right after it is searched for, and is no command
        Binding("slash", "search", "Search", key_display="/", priority=True),
        Binding("escape", "end_search", "Close the search", show=False),
    ]
    method: ClassVar[str]
    columns: ClassVar[Sequence[Column]]
    searches: ClassVar[str] = "search"
    nothing: ClassVar[str] = "Nothing here yet."
    unfound: ClassVar[str] = "Nothing matches. Esc clears the search."
    paged: ClassVar[bool] = True
    live: ClassVar[bool] = False
    """New records come at the top, and a cursor there stays at the top."""

    def __init__(self) -> None:
        super().__init__()
        self.looking_for = ""
        self._next: str | None = None
        self._reloading = False
        self._made = ""
        self._all: tuple[Kept, str | None] | None = None
        """What is shown again once nothing is looked for, and where its next page begins."""

    def made(self, id: str) -> None:
        self._made = id

    def row(self, item: Item) -> Sequence[Cell]:
        """A cell for each column."""
        raise NotImplementedError

    def params(self, text: str) -> dict[str, Any]:
        """The parameters of `method` for a search; what it cannot say, a list that is not
        paged narrows in `matches`."""
        return {"search": text} if text else {}

    def matches(self, item: Item, text: str) -> bool:
        """Whether a record of a list that is not paged is among what is looked for."""
        return True

    def opened(self, item: Item) -> None:
        """Enter on a record."""

    def pointed(self, item: Item | None) -> None:
        """The cursor is on another record, or on none."""

    def suggester(self) -> Suggester | None:
        """What completes the search line."""
        return None

    @property
    def table(self) -> RecordTable:
        return self.query_one("#list", RecordTable)

    def compose_body(self) -> ComposeResult:
        yield SearchLine(self.searches, self.suggester())
        yield RecordTable(self.columns, self.row, id="list")
        yield Static(id="nothing", markup=False)

    def seek(self, wanted: str) -> None:
        """Searches for it, where the search line shows what is looked for."""
        line = self.query_one(SearchLine)
        line.display = True
        line.value = wanted
        line.tell()

    def load(self) -> None:
        self._load_again(patient=True)

    def _load_again(self, *, patient: bool) -> None:
        """The first page again, as long as what has been paged through; of a longer list the end stays as it is."""
        params = self.params(self.looking_for)
        if self.paged:
            shown = len(self.table.items) if self.is_mounted else 0
            params["limit"] = min(max(PAGE, shown), _MOST_RELOADED)
            self._reloading = True
        self.ask(LOAD, self.method, patient=patient, **params)

    def search(self, text: str) -> None:
        if text and not self.looking_for and self.table.items:
            self._all = self.table.keep(), self._next
        self.looking_for = text
        if not text and self._all is not None:
            self._show_all(*self._all)
            return
        params = self.params(text)
        if self.paged:
            params["limit"] = PAGE
            self._reloading = False
        self.query_one(SearchLine).busy = True
        self.ask(LOAD, self.method, **params)

    def _show_all(self, kept: Kept, next: str | None) -> None:
        """What was there before the search, at once, and then what is there now."""
        self._all, self._next = None, next
        self.query_one(SearchLine).busy = False
        self.table.show(kept.items, follow=self.live, kept=kept)
        self._tell_nothing()
        self._load_again(patient=False)

    def on_refused(self, message: Refused) -> None:
        if message.job == LOAD:
            self.query_one(SearchLine).busy = False

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "load":
                self.query_one(SearchLine).busy = False
                wanted = self.looking_for
                items = [item for item in result["items"] if not wanted or self.matches(item, wanted)]
                if not (self._reloading and items and result["next"] and (end := self.table.after(items[-1]))):
                    end, self._next = [], result["next"]
                items += end
                self.table.show(items, follow=self.live)
                self._to_made(items)
                self._tell_nothing()
                if not items:
                    self.pointed(None)
            case "more":
                self._next = result["next"]
                self.table.extend(result["items"])

    def _to_made(self, items: Sequence[Item]) -> None:
        """What was made has the cursor, so that what is done next is done to it."""
        if self._made and (rows := [row for row, item in enumerate(items) if item.get("id") == self._made]):
            self._made = ""
            self.table.move_cursor(rows[0])

    def _tell_nothing(self) -> None:
        empty = not self.table.items
        words = self.query_one("#nothing", Static)
        words.display = empty
        self.table.display = not empty
        if empty:
            words.update(self.unfound if self.looking_for else self.nothing)
        elif self.focused is None:
            self.table.focus()

    @on(RecordTable.NearEnd, "#list")
    def _more(self) -> None:
        if self._next is not None and self.paged:
            self.ask(MORE, self.method, patient=True, **self.params(self.looking_for), limit=2 * PAGE, after=self._next)

    @on(RecordTable.Opened, "#list")
    def _open(self, message: RecordTable.Opened) -> None:
        self.opened(message.item)

    @on(RecordTable.Pointed, "#list")
    def _point(self, message: RecordTable.Pointed) -> None:
        self.pointed(message.item)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "search":
            return not isinstance(self.focused, Input) and self.is_current
        if action == "end_search":
            return self.is_mounted and self.query_one(SearchLine).display
        return super().check_action(action, parameters)

    @on(SearchLine.Searched)
    def _searched(self, message: SearchLine.Searched) -> None:
        self.search(message.text)

    @on(SearchLine.Left)
    def _search_left(self) -> None:
        self.table.focus()

    def action_search(self) -> None:
        self.query_one(SearchLine).open()

    def action_end_search(self) -> None:
        """From the list, too, and where nothing was found."""
        self.query_one(SearchLine).action_leave()
