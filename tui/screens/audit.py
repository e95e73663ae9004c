"""Audit: who changed what, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from tui import show
from tui.screens.listing import ListScreen
from tui.screens.record import RecordScreen
from tui.widgets.table import Cell, Column, Item


class AuditScreen(ListScreen):
    """Every change an operator made, newest first. Enter shows it before and after."""

    method = "audit.list"
    columns = (
        Column("When", 11),
        Column("Who", 16, flex=True),
        Column("What", 22),
        Column("Of", 18, flex=True, drop=1),
        Column("Changed", 16, flex=True, drop=2),
    )
    searches = "the id of a record, such as acc_… or key_…"
    nothing = (
        "Nothing has been changed yet.\n\nWhatever is created, granted or disabled, here or with `nexeon`, is listed."
    )
    unfound = "No change of that record. Esc clears the search."
    every = 5.0
    live = True

    def params(self, text: str) -> dict[str, Any]:
        return {"subject": text} if text else {}

    def row(self, item: Item) -> Sequence[Cell]:
        return (
            show.clock(item["made"], self.admin.clock()),
            item["actor"],
            Text(item["method"], style="bold"),
            Text(item["subject"], style="dim"),
            ", ".join(item["changed"]),
        )

    def opened(self, item: Item) -> None:
        self.app.push_screen(RecordScreen(f"{item['method']} {item['subject']}", item))
