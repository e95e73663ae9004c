"""Provider keys: the operator's keys, and how a running gateway finds each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from tui import show
from tui.screens.listing import ListScreen
from tui.screens.record import RecordScreen
from tui.widgets.table import Cell, Column, Item

_TINTS = {"active": "success", "cooling": "warning", "removed": "error", "disabled": "text-muted"}


class ProviderKeysScreen(ListScreen):
    """The keys at providers: which work, which rest, and why."""

    method = "provider_keys.list"
    paged = False
    columns = (
        Column("Provider", 14),
        Column("Label", 14, flex=True),
        Column("Ends in", 8, drop=2),
        Column("State", 10),
        Column("Why", 16, flex=True),
        Column("Weight", 6, align="right", drop=1),
        Column("Running", 7, align="right", drop=3),
    )
    searches = "a provider's name"
    nothing = "There is no provider key yet.\n\nAdd one: nexeon provider-keys add PROVIDER"
    every = 2.0

    def params(self, text: str) -> dict[str, Any]:
        return {"provider": text} if text else {}

    def row(self, item: Item) -> Sequence[Cell]:
        live = item["live"] or {}
        return (
            item["provider"],
            item["label"] or item["id"],
            Text(f"…{item['last4']}" if item["last4"] else show.NONE, style="dim"),
            Text(item["state"], style=self.tint(_TINTS.get(item["state"], ""))),
            item["reason"],
            str(item["weight"]),
            show.count(live.get("running")),
        )

    def opened(self, item: Item) -> None:
        self.app.push_screen(RecordScreen(f"{item['provider']} {item['label'] or item['id']}", item))
