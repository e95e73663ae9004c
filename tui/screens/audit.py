"""Audit: who changed what, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from tui import show
from tui.screens.change import ChangeScreen, place_of
from tui.screens.listing import ListScreen
from tui.widgets.columns import Column
from tui.widgets.table import Cell, Item


class AuditScreen(ListScreen):
    """Every change an operator made, newest first. Enter shows who made it, and the record before and after; o goes to
    the record as it is now."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "record", "The record")]
    method = "audit.list"
    columns = (
        Column("When", 11),
        Column("Who", 12, flex=True),
        Column("What", 21),
        Column("Of", 12, flex=True),
        Column("Changed", 11, flex=True, drop=1),
        Column("Id", 20, drop=2),
    )
    searches = "a part of who, of what (keys.rotate) or of an id; or the name of an account or key"
    nothing = (
        "Nothing has been changed yet.\n\nWhatever is created, granted or disabled, here or with `nexeon`, is listed."
    )
    unfound = "No such change. Esc clears the search."
    every = 5.0
    live = True

    def row(self, item: Item) -> Sequence[Cell]:
        return (
            show.clock(item["made"], self.admin.clock()),
            item["actor"],
            Text(item["method"], style="bold"),
            item["name"] or item["subject"] or show.NONE,
            ", ".join(item["changed"]),
            Text(item["subject"], style="dim"),
        )

    def opened(self, item: Item) -> None:
        self.app.push_screen(ChangeScreen(item))

    def pointed(self, item: Item | None) -> None:
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "record":
            item = self.table.item if self.is_mounted else None
            return item is not None and place_of(item) is not None
        return super().check_action(action, parameters)

    async def action_record(self) -> None:
        item: Any = self.table.item
        place = place_of(item)
        if place is not None:
            await self.admin.visit(*place)
