"""One request in full."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui import show
from tui.screens.base import LOAD
from tui.screens.opened import OpenedScreen
from tui.widgets.bodies import BodyPane, SideBySide
from tui.widgets.tabs import TabLine

_BAR = 32
_BODIES: Final = {"Requests": ("request", "upstream_request"), "Answers": ("response", "upstream_response")}
"""What a tab shows: as the client and the provider saw it."""
_STORY: Final = "What happened"


class RequestScreen(OpenedScreen):
    """Where its time went, which providers were tried, what it used and cost, and what was lost on the way."""

    AUTO_FOCUS = "#facts"
    BINDINGS = [
        Binding("y", "copy", "Copy as JSON"),
        Binding("tab", "next_tab", "Next tab", show=False),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._request = ""
        self._record: Mapping[str, Any] = {}
        self._told: Mapping[str, Any] = {}
        """What of it the story is of."""

    def compose_body(self) -> ComposeResult:
        yield Static(id="headline", markup=False)
        yield TabLine(id="tabs")
        with VerticalScroll(id="facts"):
            yield Static(id="story")
        yield SideBySide(id="bodies")

    def open(self, request: str, known: Mapping[str, Any] | None = None) -> None:
        """`known` is what the list tells of it, which is all but the bodies."""
        self._request = request
        self._record = known or {}
        self.renew()

    def begin(self) -> None:
        record, self._record, self._told = self._record, {}, {}
        self.query_one("#headline", Static).update("")
        self.query_one("#story", Static).update("")
        self.query_one("#facts").scroll_home(animate=False)
        self._tabs.show([_STORY])
        self._look_at(0)
        if record:
            self._show(record)

    def end(self) -> None:
        self._record, self._told = {}, {}
        self.query_one("#story", Static).update("")
        self.query_one(SideBySide).forget()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._redraw())

    def _redraw(self) -> None:
        if self.opened and self._record:
            self._told = {}
            self._show(self._record)

    def load(self) -> None:
        self.ask(LOAD, "requests.show", request=self._request)

    def answered(self, job: str, result: Any) -> None:
        self._show(result)

    @property
    def _tabs(self) -> TabLine:
        return self.query_one(TabLine)

    def _show(self, record: Mapping[str, Any]) -> None:
        bodies = {name for names in _BODIES.values() for name in names}
        told = {name: value for name, value in record.items() if name not in bodies}
        if told != self._told:  # else it would be laid out for nothing
            self.query_one("#headline", Static).update(self._headline(record))
            self.query_one("#story", Static).update(self._story(record))
        if record != self._record:
            self._record, self._told = record, told
            kept = any(record.get(name) for name in bodies)
            self._tabs.show([_STORY, *_BODIES] if kept else [_STORY], self._tabs.active if kept else 0)
            self._look_at(self._tabs.active)

    @on(TabLine.Chosen)
    def _chosen(self, message: TabLine.Chosen) -> None:
        self._look_at(message.at)

    def _look_at(self, tab: int) -> None:
        """Only what is looked at is made."""
        facts, bodies = self.query_one("#facts"), self.query_one(SideBySide)
        facts.display, bodies.display = not tab, bool(tab)
        if self.focused is not self._tabs:  # the keys that scroll are for what is looked at
            (bodies.query(BodyPane).first() if tab else facts).focus()
        if not tab:
            return
        client, upstream = [*_BODIES.values()][tab - 1]
        record, provider = self._record, self._record.get("provider") or "provider"
        bodies.show(
            (f"The client's ({record['format']})", record.get(client)),
            (f"The provider's ({provider})", record.get(upstream)),
        )

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
        self._tabs.action_step(1)

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
