"""One request in full."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static, TabbedContent, TabPane

from tui import show
from tui.screens.base import LOAD, AdminScreen
from tui.widgets.bodies import SideBySide

_BAR = 32
_BODIES = ("request", "response", "upstream_request", "upstream_response")


class RequestScreen(AdminScreen[None]):
    """Where its time went, which providers were tried, what it used and cost, and what was lost on the way."""

    AUTO_FOCUS = "#facts"
    BINDINGS = [
        Binding("y", "copy", "Copy as JSON"),
        Binding("tab", "next_tab", "Next tab", show=False),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, request: str) -> None:
        super().__init__()
        self._request = request
        self._record: dict[str, Any] = {}

    def compose_body(self) -> ComposeResult:
        yield Static(id="headline", markup=False)
        with TabbedContent(id="tabs"), TabPane("What happened", id="tab-facts"), VerticalScroll(id="facts"):
            yield Static(id="story")

    def load(self) -> None:
        self.ask(LOAD, "requests.show", request=self._request)

    def answered(self, job: str, result: Any) -> None:
        first = not self._record
        self._record = result
        self.query_one("#headline", Static).update(self._headline(result))
        self.query_one("#story", Static).update(self._story(result))
        if first and any(result.get(name) for name in _BODIES):
            self._add_bodies(result)

    def _add_bodies(self, record: Mapping[str, Any]) -> None:
        tabs = self.query_one(TabbedContent)
        provider = record.get("provider") or "provider"
        for title, client, upstream in (
            ("Requests", "request", "upstream_request"),
            ("Answers", "response", "upstream_response"),
        ):
            panes = SideBySide(
                (f"The client's ({record['format']})", record.get(client)),
                (f"The provider's ({provider})", record.get(upstream)),
            )
            tabs.add_pane(TabPane(title, panes))

    def _headline(self, record: Mapping[str, Any]) -> Text:
        status, error = record.get("status") or 0, record.get("error")
        tint = self.tint("error" if error else "success")
        line = Text.assemble((f"{'✖' if error else '✔'} {status} ", f"bold {tint}"), (record["id"], "bold"))
        line.append(f"  {record.get('format')}{' stream' if record.get('stream') else ''}", "dim")
        if error:
            line.append(f"\n{error}", tint)
        return line

    def _story(self, record: Mapping[str, Any]) -> Table:
        story = Table.grid(expand=True)
        story.add_column()
        for title, part in (
            ("Who and what", self._who(record)),
            ("Where the time went", self._steps(record)),
            ("Attempts", self._attempts(record)),
            ("Usage and cost", self._usage(record)),
            ("Dropped", self._dropped(record)),
        ):
            story.add_row(Text(title, style=f"bold {self.tint('primary')}"))
            story.add_row(part)
            story.add_row()
        return story

    def _who(self, record: Mapping[str, Any]) -> Table:
        served = record.get("served")
        model = f"{record.get('model')} → {served}" if served and served != record.get("model") else record.get("model")
        return _pairs(
            (
                ("Model", model),
                ("Provider", record.get("provider")),
                ("Account", _named(record, "account")),
                ("Key", _named(record, "key")),
                ("Started", record.get("started")),
                ("Took", show.seconds((record.get("ms") or 0) / 1000)),
            )
        )

    def _steps(self, record: Mapping[str, Any]) -> Table | Text:
        """A bar from each step's predecessor to it, on one scale."""
        steps = sorted((record.get("steps") or {}).items(), key=lambda item: item[1])
        if not steps:
            return Text("no step was noted", style="dim")
        whole = max(steps[-1][1], 0.0001)
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=10, style="bold")
        table.add_column(justify="right")
        table.add_column(no_wrap=True)
        before = 0.0
        for name, moment in steps:
            start, end = round(before / whole * _BAR), round(moment / whole * _BAR)
            bar = Text(" " * start + "█" * max(end - start, 1), style=self.tint("secondary"))
            table.add_row(Text(name), Text(f"+{show.seconds(moment - before)}"), bar)
            before = moment
        return table

    def _attempts(self, record: Mapping[str, Any]) -> Table | Text:
        attempts = record.get("attempts") or []
        if not attempts:
            return Text("no provider was asked", style="dim")
        table = Table.grid(padding=(0, 2))
        for number, tried in enumerate(attempts, 1):
            good = tried["outcome"] == "ok"
            table.add_row(
                Text(f"{number}", style="dim"),
                Text("✔" if good else "✖", style=self.tint("success" if good else "error")),
                Text(f"{tried['provider']}/{tried['model']}", style="bold"),
                Text(tried["outcome"]),
                Text(str(tried["status"] or "no status")),
                Text(show.seconds(tried["seconds"])),
                Text(tried["key"], style="dim"),
            )
        return table

    def _usage(self, record: Mapping[str, Any]) -> Table | Text:
        usage = {name: value for name, value in (record.get("usage") or {}).items() if value}
        pairs = [
            (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value) for name, value in usage.items()
        ]
        cost = record.get("cost")
        words = " (estimated)" if record.get("estimated") else ""
        pairs.append(("cost", f"{show.exact(cost)} USD{words}" if cost is not None else "nothing was charged"))
        return _pairs(pairs)

    def _dropped(self, record: Mapping[str, Any]) -> Text:
        dropped = record.get("dropped") or []
        if not dropped:
            return Text("nothing", style="dim")
        return Text("\n".join(f"▲ {name}" for name in dropped), style=self.tint("warning"))

    def action_next_tab(self) -> None:
        tabs = self.query_one(TabbedContent)
        panes = [pane.id or "" for pane in tabs.query(TabPane)]
        tabs.active = panes[(panes.index(tabs.active) + 1) % len(panes)]

    def action_scroll(self, lines: int) -> None:
        self.query_one("#facts").scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(json.dumps(self._record, indent=2, ensure_ascii=False))
        self.notify("Copied as JSON")


def _named(record: Mapping[str, Any], name: str) -> str:
    known, id = record.get(f"{name}_name"), record.get(name) or ""
    return f"{known}  {id}" if known else id


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=10, style="bold", no_wrap=True)
    table.add_column()
    for name, value in pairs:
        table.add_row(Text(name), Text(str(value)) if value not in (None, "") else Text(show.NONE, style="dim"))
    return table
