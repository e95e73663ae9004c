"""Keys: what clients authenticate with; Enter opens one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.text import Text

from tui import show
from tui.screens.key_acts import KeyActs
from tui.screens.listing import ListScreen
from tui.widgets.columns import Column
from tui.widgets.table import Cell, Item


def budget_gauge(key: Item, width: int, tints: tuple[str, str, str]) -> Text:
    """What of its budget a key has spent, as a bar in one of three colours (good, near its end, over)."""
    if key["budget"] is None:
        return Text(show.NONE, style="dim")
    budget = Decimal(key["budget"])
    share = float((Decimal(key["spent"]) + Decimal(key["reserved"])) / budget) if budget else 1.0
    tint = tints[0] if share < 0.8 else tints[1] if share < 1 else tints[2]
    return Text.assemble((show.gauge(share, width), tint), f" {show.money(key['budget'])}")


class KeysScreen(KeyActs, ListScreen):
    """Clients' keys. Their secrets are shown once, when they are made or rotated. Enter opens one."""

    method = "keys.list"
    columns = (
        Column("Key", 12, flex=True, least=9),
        Column("Account", 10, flex=True, least=9),
        Column("State", 9),
        Column("Spent", 10, align="right", whole=True),
        Column("Budget", 14, drop=1, whole=True),
        Column("Used ago", 8),
        Column("Ends in", 7, drop=2),
        Column("Models", 16, drop=3, flex=True),
        Column("Id", 20, drop=4),
    )
    searches = "a part of the name, the id, the account's name, or the secret's last four"
    nothing = "There is no key yet.\n\nPress n to make one."
    every = 5.0

    def row(self, item: Item) -> Sequence[Cell]:
        state = item["state"]
        tints = self.tint("success"), self.tint("warning"), self.tint("error")
        used = show.ago(item["last_used"], self.admin.clock()).removesuffix(" ago") if item["last_used"] else show.NONE
        return (
            item["name"],
            item["account_name"] or Text(item["account"], style="dim"),
            Text(state, style="" if state == "active" else self.tint("error")),
            show.money(item["spent"]),
            budget_gauge(item, 6, tints),
            Text(used, style="dim"),
            Text(f"…{item['last4']}", style="dim"),
            Text(", ".join(item["models"]) or "all", style="dim"),
            Text(item["id"], style="dim"),
        )

    def opened(self, item: Item) -> None:
        from tui.screens.key import KeyScreen

        screen = self.admin.kept(KeyScreen)
        screen.open(item)
        self.app.push_screen(screen)

    def pointed(self, item: Item | None) -> None:
        self.refresh_acts()

    def in_front(self) -> Item | None:
        return self.table.item
