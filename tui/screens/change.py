"""One change of the audit: who made it, when, what was asked, and the record before and after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui import show
from tui.screens.base import AdminScreen
from tui.widgets.table import Item

_PLACES: Final = {"accounts": "accounts", "credits": "accounts", "keys": "keys", "provider_keys": "provider_keys"}


def place_of(change: Item) -> tuple[str, str] | None:
    """The screen where the record of a change is, and what finds it there; None where it is nowhere."""
    mode = _PLACES.get(change["method"].partition(".")[0])
    return (mode, change["subject"]) if mode and change["subject"] else None


def differences(change: Item) -> tuple[list[tuple[str, str, Any, Any]], list[tuple[str, Any]]]:
    """What is different, as (sign, name, before, after), and what stayed as it was. The sign is `+` for what came, `-`
    for what went, `~` for what became another value."""
    before: Mapping[str, Any] = change["before"] or {}
    after: Mapping[str, Any] = change["after"] or {}
    changed: list[tuple[str, str, Any, Any]] = []
    same: list[tuple[str, Any]] = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if name in before and name in after and (old == new or name not in change["changed"]):
            same.append((name, new))
        elif not _none(old) or not _none(new):
            changed.append(("~" if before and after else "+" if after else "-", name, old, new))
    return changed, same


class ChangeScreen(AdminScreen[None]):
    """What was changed: `+` came, `-` went, `~` has another value since. Secrets are in no record."""

    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
        Binding("g", "ends(-1)", "Top", show=False),
        Binding("G", "ends(1)", "End", show=False),
        Binding("o", "record", "The record"),
        Binding("y", "copy", "Copy as JSON"),
    ]

    def __init__(self, change: Item) -> None:
        super().__init__()
        self._change = change

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(classes="panel", id="change") as panel:
            panel.border_title = Text(f"{self._change['method']} {self._change['name'] or ''}").markup
            yield Static(id="head", markup=False)
            yield Static(id="asked", markup=False)
            yield Static(id="difference", markup=False)
            yield Static(id="same", markup=False)

    def on_mount(self) -> None:
        self._show()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "record":
            return place_of(self._change) is not None
        return super().check_action(action, parameters)

    async def action_record(self) -> None:
        place = place_of(self._change)
        if place is not None:
            await self.admin.visit(*place)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_ends(self, end: int) -> None:
        panel = self.query_one(VerticalScroll)
        panel.scroll_to(y=0 if end < 0 else panel.max_scroll_y, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(json.dumps(self._change, indent=2, ensure_ascii=False))
        self.notify("Copied as JSON")

    def _show(self) -> None:
        change = self._change
        when = show.moment(change["made"])
        made = f"{when:%Y-%m-%d %H:%M:%S} UTC · {show.ago(change['made'], self.admin.clock())}" if when else show.NONE
        of = " · ".join(part for part in (change["name"], change["subject"]) if part) or show.NONE
        head = (("Who", change["actor"]), ("When", made), ("What", change["method"]), ("Of", of))
        self._fill("#head", "", self._pairs(head))
        asked = [(name, _words(value)) for name, value in change["params"].items()]
        self._fill("#asked", "Asked", self._pairs(asked) if asked else None)
        changed, same = differences(change)
        self._fill("#difference", "", self._difference(changed))
        quiet = self._pairs([(name, _words(value)) for name, value in same], style="dim")
        self._fill("#same", "As before", quiet if same else None)

    def _fill(self, name: str, title: str, table: Table | None) -> None:
        part = self.query_one(name, Static)
        part.display = table is not None
        if table is None:
            return
        if title:
            table.title = Text(title, style="bold")
            table.title_justify = "left"
        part.update(table)

    def _pairs(self, pairs: Iterable[tuple[str, str]], style: str = "") -> Table:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(style=self.tint("text-muted"), no_wrap=True, min_width=14)
        table.add_column(ratio=1)
        for name, value in pairs:
            table.add_row(Text(name.replace("_", " ")), Text(value, style=style))
        return table

    def _difference(self, changed: list[tuple[str, str, Any, Any]]) -> Table:
        tints = {"+": self.tint("success"), "-": self.tint("error"), "~": self.tint("warning")}
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=11)
        both = any(sign == "~" for sign, *_ in changed)
        table.add_column(ratio=1)
        if both:
            table.add_column(ratio=1)
            table.add_row("", "", Text("Before", style="bold"), Text("After", style="bold"))
        elif changed:
            table.add_row("", "", Text("It was" if changed[0][0] == "-" else "It is", style="bold"))
        else:
            table.add_row("", "", Text("The record stayed as it was.", style="dim"))
        for sign, name, old, new in changed:
            cells = [Text(sign, style=f"bold {tints[sign]}"), Text(name.replace("_", " "), style="bold")]
            if both:
                cells += [Text(_words(old), style=tints["-"]), Text(_words(new), style=tints["+"])]
            else:
                cells.append(Text(_words(old if sign == "-" else new), style=tints[sign]))
            table.add_row(*cells)
        return table


def _none(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _words(value: Any) -> str:
    if _none(value):
        return show.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
