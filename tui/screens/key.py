"""One key: what it may do, its budget and limits, and its last requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from tui import show
from tui.screens.key_acts import KeyActs
from tui.screens.keys import budget_gauge
from tui.screens.limits import LIMITS
from tui.screens.opened import OpenedScreen
from tui.screens.record import show_record
from tui.widgets.columns import Column
from tui.widgets.table import Item, RecordTable

_REQUESTS = "requests"
_SHOWN = 50


class KeyScreen(KeyActs, OpenedScreen):
    """Its last requests, newest first. Enter shows one."""

    every = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._key: Item = {}
        self._look: tuple[str, list[tuple[str, Text]]] | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", classes="panel")
        columns = (
            Column("When", 11),
            Column("Status", 6),
            Column("Model", 20, flex=True, least=12),
            Column("Provider", 12, drop=2),
            Column("Cost", 12, align="right", whole=True),
            Column("Id", 20, drop=1),
        )
        yield RecordTable(columns, self.row, id="requests")
        yield Static("No request with this key is in the log.", id="nothing", markup=False)

    def open(self, key: Item) -> None:
        self._key = key
        self.renew()

    def begin(self) -> None:
        self._look = None
        self.query_one("#summary", Static).border_title = Text(self._key["name"]).markup
        self._table.show([])
        self._tell_nothing(empty=False)
        self._show()

    def end(self) -> None:
        self._key, self._look = {}, None
        self._table.show([])

    def _tell_nothing(self, *, empty: bool) -> None:
        self._table.display = not empty
        self.query_one("#nothing").display = empty

    @property
    def _table(self) -> RecordTable:
        return self.query_one("#requests", RecordTable)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._redraw())

    def _redraw(self) -> None:
        if self.opened:
            self._show()
            self._table.redraw()

    def in_front(self) -> Item | None:
        return self._key or None

    def account(self) -> str:
        return self._key["account_name"] or ""

    def gone(self) -> None:
        self.dismiss()

    def load(self) -> None:
        self.ask("load", "keys.show", patient=True, key=self._key["id"])
        self.ask(_REQUESTS, "requests.list", patient=True, key=self._key["id"], limit=_SHOWN)

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "load":
                self._key = result
            case "requests":
                items = result["items"]
                self._table.show(items, follow=True)
                self._tell_nothing(empty=not items)
                if self.focused is None and items:
                    self._table.focus()
            case _:
                super().answered(job, result)
                return
        self._show()

    @on(RecordTable.Opened, "#requests")
    def _open(self, message: RecordTable.Opened) -> None:
        show_record(self, f"Request {message.item['id']}", message.item)

    def row(self, item: Item) -> tuple[str | Text, ...]:
        status = item["status"]
        failed = status is None or status >= 400
        return (
            show.clock(item["started"], self.admin.clock()),
            Text(str(status or show.NONE), style=self.tint("error") if failed else self.tint("success")),
            item["model"] or show.NONE,
            item["provider"] or show.NONE,
            show.money(item["cost"]),
            Text(item["id"], style="dim"),
        )

    def _show(self) -> None:
        lines = list(self._lines())
        look = (self.app.theme, lines)
        if look == self._look:  # else all that stands below would be laid out for nothing
            return
        self._look = look
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style=self.tint("text-muted"), no_wrap=True)
        grid.add_column(ratio=1)
        for label, value in lines:
            grid.add_row(label, value)
        self.query_one("#summary", Static).update(grid)

    def _lines(self) -> Iterable[tuple[str, Text]]:
        key, now = self._key, self.admin.clock()
        tints = self.tint("success"), self.tint("warning"), self.tint("error")
        state = Text(key["state"], tints[0] if key["state"] == "active" else tints[2])
        if key["expires"]:
            state.append(f" · expires {show.ago(key['expires'], now)}")
        if key["previous_until"]:
            state.append(f" · the secret before it is good until {show.clock(key['previous_until'], now)}")
        yield "State", state
        yield "Account", Text(f"{key['account_name'] or ''} {key['account']}".strip())
        spent = Text(f"{show.exact(key['spent'])} USD")
        if key["budget"] is not None:
            spent.append("  ").append_text(budget_gauge(key, 20, tints))
            spent.append(f" a {key['period']}" if key["period"] else " for good")
            spent.append(f" · {show.exact(key['left'])} left")
            if key["resets"]:
                spent.append(f" · anew {show.ago(key['resets'], now)}")
        yield "Spent", spent
        yield "Models", Text(", ".join(key["models"]) or "all")
        yield "Scopes", Text(", ".join(key["scopes"]) or "everything")
        limits = [f"{label.lower()} {show.count(key[name])}" for name, label in LIMITS if key[name] is not None]
        yield "Limits", Text(" · ".join(limits) or "none")
        used = key["last_used"]
        yield "Last used", Text(show.ago(used, now) if used else "not in the log of requests")
        yield "Secret, id", Text(f"…{key['last4']}  {key['id']}", "dim")
