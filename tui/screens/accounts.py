"""Accounts & credits: balance, reserved, available."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from tui import show
from tui.screens.listing import ListScreen
from tui.screens.record import RecordScreen
from tui.widgets.table import Cell, Column, Item


class AccountsScreen(ListScreen):
    """The accounts, and what credit each has."""

    method = "accounts.list"
    columns = (
        Column("Account", 18, flex=True),
        Column("Available", 12, align="right"),
        Column("Balance", 12, align="right", drop=2),
        Column("Reserved", 10, align="right", drop=3),
        Column("State", 9),
        Column("Created", 10, drop=1),
        Column("Id", 20, drop=4),
    )
    searches = "a part of the name or id"
    nothing = "There is no account yet.\n\nMake one: nexeon accounts create --name NAME"
    every = 5.0

    def params(self, text: str) -> dict[str, Any]:
        return {"search": text} if text else {}

    def row(self, item: Item) -> Sequence[Cell]:
        state = (
            Text("disabled", self.tint("error"))
            if item["disabled"]
            else Text("▲ low", self.tint("warning"))
            if item["low"]
            else Text("ok")
        )
        return (
            item["name"],
            show.money(item["available"]),
            show.money(item["balance"]),
            show.money(item["reserved"]),
            state,
            show.day(item["created"]),
            Text(item["id"], style="dim"),
        )

    def opened(self, item: Item) -> None:
        self.app.push_screen(RecordScreen(item["name"], item))
