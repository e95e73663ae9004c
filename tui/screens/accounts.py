"""Accounts & credits: balance, reserved, available; Enter opens one with its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from tui import checks, show
from tui.screens.account_acts import AccountActs
from tui.screens.form import Field, FormScreen
from tui.screens.listing import ListScreen
from tui.widgets.columns import Column
from tui.widgets.table import Cell, Item


class AccountsScreen(AccountActs, ListScreen):
    """The accounts, and what credit each has. Enter opens one with its ledger, K shows its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "create", "New"),
        Binding("K", "keys", "Its keys", show=False),
    ]
    of_record = AccountActs.of_record | {"keys"}
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
    nothing = "There is no account yet.\n\nPress n to make one."
    every = 5.0

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
        from tui.screens.account import AccountScreen

        self.app.push_screen(AccountScreen(item))

    def pointed(self, item: Item | None) -> None:
        self.refresh_acts()

    def in_front(self) -> Item | None:
        return self.table.item

    async def action_keys(self) -> None:
        await self.admin.visit("keys", self.record()["name"])

    def action_create(self) -> None:
        fields = (
            Field("name", "Name", required=True),
            Field("usd", "First grant (USD)", hint="none", check=checks.usd),
            Field("soft_limit", "Warn below (USD)", hint="no warning", check=checks.usd_or_zero),
        )

        def filled(values: dict[str, str]) -> None:
            self._grant = values["usd"]
            params: dict[str, Any] = {"soft_limit": values["soft_limit"]} if values["soft_limit"] else {}
            self.ask("created", "accounts.create", name=values["name"], **params)

        self.fill(FormScreen("New account", fields, act="Make"), filled)

    _grant = ""

    def answered(self, job: str, result: Any) -> None:
        if job == "created":
            made, grant = f"Made account `{result['name']}`", self._grant
            if grant:
                done = f"{made} with {show.exact(grant)} USD"
                self.do(done, "credits.add", account=result["id"], usd=grant, reason="first grant")
            else:
                self.notify(made, markup=False)
                self.load()
        else:
            super().answered(job, result)
