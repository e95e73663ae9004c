"""Accounts & credits: balance, reserved, available, spent; Enter opens one with its ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from tui import checks, show
from tui.screens.account_acts import AccountActs
from tui.screens.base import LOAD
from tui.screens.form import Form
from tui.screens.listing import MORE, PAGE, ListScreen
from tui.widgets.columns import Column
from tui.widgets.field import Field
from tui.widgets.table import Cell, Item

_SPENT = "spent"


class AccountsScreen(AccountActs, ListScreen):
    """The accounts, what credit each has, and what it spent this month (UTC). Enter opens one with its ledger, K shows
    its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "create", "New"),
        Binding("K", "keys", "Its keys", show=False),
    ]
    of_record = AccountActs.of_record | {"keys"}
    method = "accounts.list"
    columns = (
        Column("Account", 13, flex=True, least=9),
        Column("Available", 10, align="right", whole=True),
        Column("Balance", 10, drop=1, align="right", whole=True),
        Column("Reserved", 8, drop=2, align="right", whole=True),
        Column("Spent/month", 11, align="right", whole=True),
        Column("State", 9),
        Column("Created", 10, drop=3),
        Column("Id", 20, drop=4),
    )
    searches = "a part of the name or id"
    nothing = "There is no account yet.\n\nPress n to make one."
    every = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._spent: dict[str, str] = {}
        self._asked: list[str] = []

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
            Text(show.money(spent)) if (spent := self._spent.get(item["id"])) else Text("…", style="dim"),
            state,
            show.day(item["created"]),
            Text(item["id"], style="dim"),
        )

    def opened(self, item: Item) -> None:
        from tui.screens.account import AccountScreen

        screen = self.admin.kept(AccountScreen)
        screen.open(item)
        self.app.push_screen(screen)

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

        self.fill(Form("New account", fields, act="Make"), filled)

    _grant = ""

    def acts(self) -> Iterable[tuple[str, str, Callable[[], Any]]]:
        yield from super().acts()
        if self.in_front() is not None:
            yield "Its keys", "K · the keys that this account pays for", self.action_keys

    def answered(self, job: str, result: Any) -> None:
        if job == "created":
            made, grant = f"Made account `{result['name']}`", self._grant
            self.made(result["id"])
            self.load()
            if grant:
                done = f"{made} with {show.exact(grant)} USD"
                self.do(done, "credits.add", account=result["id"], usd=grant, reason="first grant")
            else:
                self.notify(made, markup=False)
        elif job == _SPENT:
            costs = dict.fromkeys(self._asked, "0") | {each["account"]: each["cost"] for each in result["items"]}
            if costs.items() - self._spent.items():
                self._spent |= costs
                self.table.redraw()
        else:
            super().answered(job, result)
            if job in (LOAD, MORE):
                self._ask_spent()

    def _ask_spent(self) -> None:
        """Of the accounts in sight, and of those that nothing is known of yet."""
        items, top = self.table.items, self.table.scroll_offset.y
        near = [item["id"] for item in items[top : top + PAGE]]
        new = [id for item in items if (id := item["id"]) not in self._spent][: 2 * PAGE]
        self._asked = list(dict.fromkeys((*near, *new)))
        if self._asked:
            month = f"{datetime.fromtimestamp(self.admin.clock(), UTC):%Y-%m}-01"
            self.ask(_SPENT, "usage.list", by="account", account=self._asked, since=month)
