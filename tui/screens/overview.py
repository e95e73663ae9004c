"""Overview: what happens now, and what needs attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from tui import show
from tui.screens.base import LOAD, AdminScreen
from tui.widgets.columns import Column
from tui.widgets.figure import Figure
from tui.widgets.plot import Plot
from tui.widgets.table import Cell, Item, RecordTable

SPANS: Final = ((120, 60, "2 minutes"), (600, 60, "10 minutes"), (3600, 60, "hour"))
"""Seconds, points, words."""

_CAUSES: Final = {"provider_key": "provider_keys", "account": "accounts", "target": "models", "log": "requests"} | {
    "configuration": "models"
}
_GRAVE: Final = frozenset({"removed", "open", "empty", "dropped", "refused"})


class OverviewScreen(AdminScreen[None]):
    """Live figures from the log of requests. Enter on a problem leads to its cause, on a model or provider to its
    requests; `s` looks further back."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "span", "Span")]
    every = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._span = 0
        self._seen = show.NONE

    def compose_body(self) -> ComposeResult:
        problems = RecordTable(
            (Column("", 1), Column("What", 22, flex=True), Column("Needs attention", 30, flex=True)),
            self._problem_row,
            key=lambda item: f"{item['kind']} {item['id']}",
            id="problems",
        )
        problems.display = False  # until there are some
        yield problems
        yield Static(id="fine", markup=False)
        with Horizontal(id="figures"):
            yield Figure("requests/s", id="requests")
            yield Figure("tokens/s", colour="$secondary", id="tokens")
            yield Figure("USD today", colour="$accent", id="spend")
            yield Figure("errors", colour="$success", id="errors")
            yield Figure("first answer", colour="$secondary", id="first")
        with Horizontal(id="plots"):
            yield Plot("Requests a second", ("requests", "errors"), ("primary", "error"), id="plot-requests")
            yield Plot("Seconds to the first answer", ("p50", "p95"), ("secondary", "accent"), id="plot-first")
        with Horizontal(id="busiest"):
            for name in ("models", "providers"):
                with Vertical(classes="panel") as panel:
                    panel.border_title = name.capitalize()
                    yield RecordTable(
                        (
                            Column(name[:-1].capitalize(), 14, flex=True),
                            Column("Requests", 8, align="right"),
                            Column("", 8, drop=3),
                            Column("Errors", 6, align="right", drop=1),
                            Column("Tokens", 6, align="right", drop=2),
                            Column("USD", 8, drop=4, align="right", whole=True),
                        ),
                        self._busy_row,
                        key=lambda item: str(item.get("model") or item.get("provider")),
                        id=name,
                    )
        yield Static(id="nothing", markup=False)

    def on_mount(self) -> None:
        self.watch(self.app, "whereabouts", lambda: self._tell_lost(), init=False)

    def _tell_lost(self) -> None:
        """What was true may not be so any more, once nobody answers."""
        if self.admin.link.state == "lost" and self.admin.link.reached:
            self.query_one("#problems").display = False
            fine = self.query_one("#fine", Static)
            fine.display = True
            words = f"✖ No gateway answers. What is shown is of {self._seen}; it is looked for."
            fine.update(Text(words, style=self.tint("error")))

    def load(self) -> None:
        span, points, _ = SPANS[self._span]
        self.ask(LOAD, "live.show", patient=True, span=span, points=points)

    def answered(self, job: str, result: Any) -> None:
        if job == LOAD:
            self._seen = f"{show.clock(result['now'], self.admin.clock())} UTC"
            self._show_problems(result["problems"])
            traffic = result["traffic"]
            if traffic is None:
                self._say("No log of requests is kept, so there is nothing to draw.\n\nSet log.enabled to true.")
                return
            self._show_figures(result, traffic)
            self._show_busiest(traffic)
            if traffic["total"]["requests"]:
                self._say("")
            elif result["running"] is None:
                self._say("No gateway runs here.\n\nStart one with: nexeon serve")
            else:
                self._say(
                    f"No request in the last {SPANS[self._span][2]}.\n\n"
                    f"Clients ask {result['url']}; press 7 to send a prompt, s to look further back."
                )

    def _say(self, words: str) -> None:
        nothing = self.query_one("#nothing", Static)
        nothing.display = bool(words)
        nothing.update(words)
        for name in ("#busiest", "#plots"):
            self.query_one(name).set_class(bool(words), "-away")

    def _show_problems(self, problems: list[Item]) -> None:
        table, fine = self.query_one("#problems", RecordTable), self.query_one("#fine", Static)
        table.display, fine.display = bool(problems), not problems
        fine.update(Text("✔ Nothing needs attention", style=self.tint("success")))
        table.show(problems)
        if problems and self.focused is None:
            table.focus()

    def _problem_row(self, item: Item) -> Sequence[Cell]:
        grave = item["state"] in _GRAVE
        sign = Text("✖" if grave else "▲", style=self.tint("error" if grave else "warning"))
        return sign, Text(item["name"], style="bold"), item["words"]

    def _show_figures(self, result: dict[str, Any], traffic: dict[str, Any]) -> None:
        total, requests = traffic["total"], traffic["requests"]
        tokens = [one + other for one, other in zip(traffic["input_tokens"], traffic["output_tokens"], strict=True)]
        span = traffic["span"]
        running = result["running"]
        words = f"{running} running" if running is not None else ""
        self.query_one("#requests", Figure).show(show.count(_recent(requests)), words, requests)
        self.query_one("#tokens", Figure).show(
            show.count(_recent(tokens)), f"{show.count(total['tokens'])} in all", tokens
        )
        self.query_one("#spend", Figure).show(
            show.money(result["spend_today"]), f"{show.money(total['spend'])} here", traffic["spend"]
        )
        share = total["errors"] / total["requests"] if total["requests"] else 0.0
        colour = "$success" if not total["errors"] else "$warning" if share < 0.05 else "$error"
        self.query_one("#errors", Figure).show(
            f"{share:.1%}", f"{total['errors']} of {show.count(total['requests'])}", traffic["errors"], colour
        )
        first = [value or 0.0 for value in traffic["first_p50"]]
        self.query_one("#first", Figure).show(
            show.seconds(total["first_p50"]), f"p95 {show.seconds(total['first_p95'])}", first
        )
        self.query_one("#plot-requests", Plot).draw(span, (requests, traffic["errors"]))
        self.query_one("#plot-first", Plot).draw(span, (traffic["first_p50"], traffic["first_p95"]))

    def _show_busiest(self, traffic: dict[str, Any]) -> None:
        for name in ("models", "providers"):
            ranked = traffic[name]
            most = max((item["requests"] for item in ranked), default=0)
            self.query_one(f"#{name}", RecordTable).show({**item, "share": item["requests"] / most} for item in ranked)

    def _busy_row(self, item: Item) -> Sequence[Cell]:
        errors = item["errors"]
        return (
            item.get("model") or item["provider"],
            show.count(item["requests"]),
            Text(show.gauge(item["share"], 8), style=self.tint("primary")),
            Text(show.count(errors), style=self.tint("error") if errors else "dim"),
            show.count(item["tokens"]),
            show.money(item["spend"]),
        )

    @on(RecordTable.Opened, "#problems")
    async def _to_cause(self, message: RecordTable.Opened) -> None:
        await self.admin.visit(_CAUSES[message.item["kind"]], message.item["id"])

    @on(RecordTable.Opened, "#models")
    async def _to_model(self, message: RecordTable.Opened) -> None:
        await self.admin.visit("requests", f"model:{message.item['model']}")

    @on(RecordTable.Opened, "#providers")
    async def _to_provider(self, message: RecordTable.Opened) -> None:
        await self.admin.visit("requests", f"provider:{message.item['provider']}")

    def action_span(self) -> None:
        """Looks further back, and from the longest span at the shortest again."""
        self._span = (self._span + 1) % len(SPANS)
        self.notify(f"The last {SPANS[self._span][2]}", timeout=2)
        self.load()


def _recent(values: Sequence[float]) -> float:
    """The mean of the last few points, which is steadier to read than the last one."""
    last = values[-3:]
    return sum(last) / len(last) if last else 0.0
