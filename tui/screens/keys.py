"""Keys: what clients authenticate with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from tui import show
from tui.screens.listing import ListScreen
from tui.screens.record import RecordScreen
from tui.widgets.table import Cell, Column, Item


class KeysScreen(ListScreen):
    """Clients' keys. Their secrets are shown once, when they are made."""

    method = "keys.list"
    columns = (
        Column("Key", 18, flex=True),
        Column("Ends in", 8, drop=3),
        Column("State", 9),
        Column("Spent", 10, align="right"),
        Column("Budget", 10, align="right", drop=2),
        Column("Account", 16, drop=1),
        Column("Id", 20, drop=4),
    )
    searches = "a part of the name, the id, or the secret's last four"
    nothing = "There is no key yet.\n\nMake one: nexeon keys create --account ACCOUNT --name NAME"
    every = 5.0

    def params(self, text: str) -> dict[str, Any]:
        return {"search": text} if text else {}

    def row(self, item: Item) -> Sequence[Cell]:
        state = item["state"]
        return (
            item["name"],
            Text(f"…{item['last4']}", style="dim"),
            Text(state, style="" if state == "active" else self.tint("error")),
            show.money(item["spent"]),
            show.money(item["budget"]),
            Text(item["account"], style="dim"),
            Text(item["id"], style="dim"),
        )

    def opened(self, item: Item) -> None:
        self.app.push_screen(RecordScreen(item["name"], item))
