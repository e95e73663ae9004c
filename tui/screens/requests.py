"""Requests: the live log, newest first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType

from tui import show
from tui.screens.listing import ListScreen
from tui.screens.request import RequestScreen
from tui.widgets.columns import Column
from tui.widgets.table import Cell, Item

_FIELDS: Final = ("model", "key", "account", "provider", "status")
_FAILED: Final = frozenset({"failed", "errors", "error"})


def parse(text: str) -> dict[str, Any]:
    """`model:swift key:ci 429` → the filters of `requests.list`. A word without a name is a status, `failed`, the id of
    a key or account, else a model."""
    filters: dict[str, Any] = {}
    for word in text.split():
        name, colon, value = word.partition(":")
        if colon and name in _FIELDS:
            if not value:
                continue
            given: Any = value
            if name == "status":
                if value in _FAILED:
                    name, given = "failed", True
                elif not value.isdecimal():
                    continue
                else:
                    given = int(value)
            filters[name] = given
        elif word in _FAILED:
            filters["failed"] = True
        elif re.fullmatch(r"[1-5]\d\d", word):
            filters["status"] = int(word)
        elif word.startswith("key_"):
            filters["key"] = word
        elif word.startswith("acc_"):
            filters["account"] = word
        else:
            filters["model"] = word
    return filters


class RequestsScreen(ListScreen):
    """Requests as they end. Enter shows one in full: steps, attempts, usage, what was dropped, and bodies where
    `log.bodies` is on. The search takes `model:`, `key:`, `account:`, `provider:`, `status:` and `failed`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "failed", "Failed only"),
        Binding("p", "pause", "Pause"),
    ]
    method = "requests.list"
    columns = (
        Column("Ended", 11),
        Column("Status", 6, align="right"),
        Column("Model", 16, flex=True, least=12),
        Column("Key", 10, flex=True, drop=3),
        Column("Provider", 10, drop=2),
        Column("Took", 7, align="right"),
        Column("First", 7, align="right", drop=5),
        Column("In", 5, align="right", drop=4),
        Column("Out", 5, align="right", drop=4),
        Column("USD", 9, drop=1, align="right", whole=True),
        Column("What happened", 18, flex=True, drop=6),
    )
    searches = "model:NAME key:NAME account:NAME provider:NAME status:429 failed · or a request's id"
    nothing = "No request yet.\n\nPress 7 to send a prompt, or let a client ask the gateway."
    unfound = "No request like that (names are to be whole). Esc clears the search."
    every = 1.0
    live = True

    def __init__(self) -> None:
        super().__init__()
        self._paused = False

    def params(self, text: str) -> dict[str, Any]:
        return parse(text)

    def row(self, item: Item) -> Sequence[Cell]:
        status, error = item.get("status") or 0, item.get("error") or ""
        tint = "success" if status < 400 and not error else "warning" if status < 500 else "error"
        usage, steps = item.get("usage") or {}, item.get("steps") or {}
        given = sum(usage.get(name) or 0 for name in ("input", "cached_input", "cache_write", "cache_write_1h"))
        took = item.get("ms")
        return (
            show.clock(item.get("ended") or item.get("started"), self.admin.clock()),
            Text(f"{'✔' if not error else '✖'} {status}", style=self.tint(tint)),
            Text(item.get("model") or show.NONE, style="bold"),
            item.get("key_name") or item.get("key") or show.NONE,
            item.get("provider") or show.NONE,
            show.seconds(took / 1000 if took is not None else None),
            show.seconds(steps.get("answered")),
            show.count(given or None),
            show.count(usage.get("output")),
            show.money(item.get("cost")),
            Text(error or _notes(item), style="dim" if not error else ""),
        )

    def load(self) -> None:
        if not self._paused:
            super().load()

    def search(self, text: str) -> None:
        if re.fullmatch(r"req_\w{16,}", text):
            self._show(text)
            return
        super().search(text)

    def opened(self, item: Item) -> None:
        self._show(item["id"], item)

    def _show(self, request: str, known: Item | None = None) -> None:
        screen = self.admin.kept(RequestScreen)
        screen.open(request, known)
        self.app.push_screen(screen)

    def acts(self) -> Iterable[tuple[str, str, Callable[[], Any]]]:
        yield "Requests that failed", "f · of status 400 and more", self.action_failed

    def action_failed(self) -> None:
        """Adds `failed` to the search, or takes it away."""
        words = self.looking_for.split()
        kept = [word for word in words if word not in _FAILED]
        self.seek(" ".join(kept if len(kept) < len(words) else [*words, "failed"]))
        self.table.focus()

    def action_pause(self) -> None:
        self._paused = not self._paused
        self.notify("Paused: p goes on" if self._paused else "Live again", timeout=2)
        self.load()


def _notes(item: Item) -> str:
    """What is worth a second look in a request that went well."""
    notes = []
    if len(item.get("attempts") or ()) > 1:
        notes.append(f"{len(item['attempts'])} attempts")
    if item.get("served") and item["served"] != item.get("model"):
        notes.append(f"served by {item['served']}")
    if item.get("dropped"):
        notes.append(f"dropped {', '.join(item['dropped'])}")
    if item.get("estimated"):
        notes.append("estimated")
    return " · ".join(notes)
