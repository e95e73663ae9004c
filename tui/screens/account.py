"""One account: its figures, and its ledger with the running balance."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, Literal

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from nexeon.errors import NexeonError
from tui import checks, show
from tui.export import export_ledger
from tui.screens.account_acts import AccountActs
from tui.screens.base import LOAD
from tui.screens.form import Form
from tui.screens.limits import LIMITS
from tui.screens.opened import OpenedScreen
from tui.screens.record import show_record
from tui.widgets.columns import Column
from tui.widgets.field import Field
from tui.widgets.table import Cell, Item, RecordTable

_PAGE = 100
_AROUND = 6
"""Columns around the figures."""
_LONGEST = 60
"""Characters of an account's name in that of a file: four bytes each, a file system takes 255."""

_LEDGER, _MORE, _SPENT = "ledger", "more", "spent"


class Exporting(Message):
    """How far an export has come."""

    def __init__(self, words: str, state: Literal["running", "over", "failed"] = "running") -> None:
        super().__init__()
        self.words = words
        self.state = state


class Ready(Message):
    """A file is whole and can be delivered; its folder goes with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class AccountScreen(AccountActs, OpenedScreen):
    """Newest entries first; each shows what the balance was after it. `s` saves the ledger as CSV."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "save", "Save CSV"),
        Binding("escape", "stop_or_back", "Back", show=False),
    ]
    every = 5.0
    columns = (
        Column("When", 11),
        Column("Kind", 10),
        Column("Amount", 14, align="right", whole=True),
        Column("Balance", 14, align="right", whole=True),
        Column("What for", 18, flex=True, least=8),
        Column("Key", 20, drop=2),
        Column("Request", 20, drop=1),
    )

    def __init__(self) -> None:
        super().__init__()
        self._account_shown: Item = {}
        self._spent: list[Item] | None = None
        self._figures: Text | None = None
        self._next: str | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="summary", classes="panel")
        yield RecordTable(self.columns, self.row, id="ledger")
        yield Static("The ledger is empty.\n\nPress + to grant credit.", id="nothing", markup=False)

    @property
    def table(self) -> RecordTable:
        return self.query_one("#ledger", RecordTable)

    def open(self, account: Item) -> None:
        self._account_shown = account
        self.renew()

    def begin(self) -> None:
        self._spent = self._figures = self._next = None
        summary = self.query_one("#summary", Static)
        summary.border_title, summary.border_subtitle = Text(self._account_shown["name"]).markup, ""
        self.table.show([])
        self._tell_nothing(empty=False)
        self._show_figures()

    def end(self) -> None:
        self._account_shown, self._spent = {}, None
        self.table.show([])

    def _tell_nothing(self, *, empty: bool) -> None:
        self.table.display = not empty
        self.query_one("#nothing").display = empty

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._redraw())

    def _redraw(self) -> None:
        if self.opened:
            self._show_figures()
            self.table.redraw()

    def in_front(self) -> Item | None:
        return self._account_shown or None

    def gone(self) -> None:
        self.dismiss()

    def load(self) -> None:
        self.ask(LOAD, "accounts.show", patient=True, account=self._account_shown["id"])
        shown = len(self.table.items) if self.is_mounted else 0
        limit = min(max(_PAGE, shown), 5 * _PAGE)
        self.ask(_LEDGER, "credits.ledger", patient=True, account=self._account_shown["id"], limit=limit)
        month = f"{self._today():%Y-%m}-01"
        self.ask(_SPENT, "usage.list", patient=True, by="day", account=self._account_shown["id"], since=month)

    def _today(self) -> date:
        return datetime.fromtimestamp(self.admin.clock(), UTC).date()

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "load":
                self._account_shown = result
                self._show_figures()
            case "spent":
                self._spent = result["items"]
                self._show_figures()
            case "ledger":
                self._next = result["next"]
                self.table.show(result["items"], follow=True)
                self._tell_nothing(empty=not result["items"])
                if self.focused is None and result["items"]:
                    self.table.focus()
            case "more":
                self._next = result["next"]
                self.table.extend(result["items"])
            case _:
                super().answered(job, result)

    @on(RecordTable.NearEnd, "#ledger")
    def _more(self) -> None:
        if self._next is not None:
            params = {"account": self._account_shown["id"], "limit": 2 * _PAGE, "after": self._next}
            self.ask(_MORE, "credits.ledger", patient=True, **params)

    @on(RecordTable.Opened, "#ledger")
    def _open(self, message: RecordTable.Opened) -> None:
        show_record(self, f"{message.item['kind']} {message.item['id']}", message.item)

    def _show_figures(self) -> None:
        account = self._account_shown
        low = self.tint("error") if account["low"] or Decimal(account["available"]) <= 0 else self.tint("success")
        cells = [
            ("Available", Text(show.exact(account["available"]), f"bold {low}")),
            ("Balance", Text(show.exact(account["balance"]))),
            ("Reserved", Text(show.exact(account["reserved"]))),
            *((label, Text(value)) for label, value in self._spendings()),
            ("State", Text("disabled", self.tint("error")) if account["disabled"] else Text("ok")),
            *((label, Text(value)) for label, value in _further(account)),
        ]
        shown, used = Text(), 0
        for cell in cells:
            figure = self._figure(*cell)
            if used and used + 3 + len(figure) > self.app.size.width - _AROUND:
                shown.append("\n")
                used = 0
            elif used:
                shown.append("   ")
                used += 3
            shown.append_text(figure)
            used += len(figure)
        if shown != self._figures:  # else all that stands below would be laid out for nothing
            self._figures = shown
            self.query_one("#summary", Static).update(shown)

    def _spendings(self) -> Iterable[tuple[str, str]]:
        if self._spent is not None:
            today = self._today().isoformat()
            costs = {each["day"]: Decimal(each["cost"]) for each in self._spent}
            yield "Spent today", show.money(str(costs.get(today, 0)))
            yield "this month", show.money(str(sum(costs.values(), Decimal(0))))

    def on_resize(self) -> None:
        if self.opened:
            self._show_figures()

    def _figure(self, label: str, value: Text) -> Text:
        return Text.assemble((f"{label} ", self.tint("text-muted")), value)

    def row(self, item: Item) -> Sequence[Cell]:
        amount = Decimal(item["amount"])
        sign = "+" if amount > 0 else ""
        style = self.tint("success") if amount > 0 else ""
        return (
            show.clock(item["created"], self.admin.clock()),
            Text(item["kind"] + ("~" if item["estimated"] else "")),
            Text(sign + show.exact(item["amount"]), style),
            show.exact(item["balance"]),
            item["reason"] or " ".join(part for part in (item["model"], item["provider"]) if part),
            Text(item["key"] or show.NONE, style="dim"),
            Text(item["request"] or show.NONE, style="dim"),
        )

    # The export

    def action_save(self) -> None:
        name = self._account_shown["name"]
        safe = "".join(char if char.isalnum() or char in "-_." else "_" for char in name)[:_LONGEST]
        if self.app.is_web:
            self.run_worker(self._deliver(f"{safe}-ledger.csv"), group="export", exclusive=True)
            return
        fields = (Field("path", "File", f"{safe}-ledger.csv", required=True, check=checks.new_file),)
        words = "The whole ledger, oldest entry last. A file of that name is replaced once the new one is whole."
        self.fill(Form("Save the ledger as CSV", fields, act="Save", words=words), self._save)

    def _save(self, values: Mapping[str, str]) -> None:
        self.run_worker(self._export(Path(values["path"]).expanduser()), group="export", exclusive=True)

    async def _export(self, path: Path) -> None:
        def progress(entries: int) -> None:
            self.post_message(Exporting(f"{_entries(entries)} saved …"))

        try:
            entries = await export_ledger(self.admin.link, self._account_shown["id"], path, progress)
        except NexeonError as error:
            self.post_message(Exporting(f"The ledger was not saved: {error}", "failed"))
        except OSError as error:  # which names a file of ours, too
            self.post_message(Exporting(f"The ledger was not saved in {path}: {error.strerror}", "failed"))
        except asyncio.CancelledError:
            self.post_message(Exporting("Saving was stopped; no file was left.", "over"))
            raise
        else:
            where = path.name if self.app.is_web else path
            self.post_message(Exporting(f"{_entries(entries)} saved in {where}", "over"))

    async def _deliver(self, name: str) -> None:
        """To the browser, which saves it where it saves things."""
        folder = Path(await asyncio.to_thread(mkdtemp, prefix="nexeon-"))
        try:
            await self._export(folder / name)
            if (folder / name).exists():
                self.post_message(Ready(folder / name))
        except asyncio.CancelledError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @on(Ready)
    def _ready(self, message: Ready) -> None:
        message.stop()
        # What was opened stays readable after its name is gone.
        self.app.deliver_text(message.path, save_filename=message.path.name, mime_type="text/csv")
        shutil.rmtree(message.path.parent, ignore_errors=True)

    @on(Exporting)
    def _exporting(self, message: Exporting) -> None:
        message.stop()
        over = message.state != "running"
        self.query_one("#summary", Static).border_subtitle = "" if over else f"{message.words} esc stops"
        if over:
            severity: Literal["error", "information"] = "error" if message.state == "failed" else "information"
            self.notify(message.words, severity=severity, markup=False)

    def action_stop_or_back(self) -> None:
        """Ends an export under way, else leaves the screen."""
        if not self.workers.cancel_group(self, "export"):
            self.admin.action_back_only()


def _further(account: Item) -> Iterable[tuple[str, str]]:
    if account["soft_limit"] is not None:
        yield "Warns below", show.exact(account["soft_limit"])
    if Decimal(account["overdraft"]):
        yield "Overdraft", show.exact(account["overdraft"])
    for name, label in LIMITS:
        if account[name] is not None:
            yield label, show.count(account[name])
    yield "Id", account["id"]


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"
