"""Models & routes: the effective configuration, prices, targets and how they fare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static

from tui import show
from tui.screens.explain import ExplainScreen
from tui.screens.listing import ListScreen
from tui.screens.record import show_record
from tui.widgets.columns import Column
from tui.widgets.table import Cell, Item

_SIGNS = {"ok": ("●", "success"), "open": ("✖", "error"), "untried": ("○", "text-muted")}


class ModelsScreen(ListScreen):
    """What clients may ask for. `e` shows what becomes of a request that you paste; `o` lists the routes, `c` the whole
    configuration as it is served."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "explain", "Explain"),
        Binding("o", "routes", "Routes"),
        Binding("c", "configuration", "Configuration"),
        Binding("t", "try_it", "Try it"),
    ]
    method = "models.list"
    columns = (
        Column("Model", 20, flex=True, least=14),
        Column("Health", 8),
        Column("In $/M", 7, align="right", whole=True),
        Column("Out $/M", 7, align="right", whole=True),
        Column("Context", 7, align="right", drop=2),
        Column("Targets", 18, flex=True, drop=1),
    )
    searches = "a part of a model, an alias, an owner or provider/model"
    nothing = "No model is configured.\n\nAdd one under `models:` in gateway.yaml."
    every = 3.0
    _look: tuple[str, Item | None] = ("", None)

    def compose_body(self) -> ComposeResult:
        with Horizontal():
            with VerticalScroll(id="left", can_focus=False):
                yield from super().compose_body()
            with VerticalScroll(id="detail", classes="panel"):
                yield Static(id="about", markup=False)

    def row(self, item: Item) -> Sequence[Cell]:
        health = Text()
        for target in item["targets"][:8]:
            sign, tint = _SIGNS[target["state"]]
            health.append(sign, self.tint(tint))
        price = item["price"]
        return (
            Text(item["id"], style="bold"),
            health,
            show.money(price["input"]),
            show.money(price["output"]),
            show.count(item["context_window"]),
            ", ".join(target["provider"] for target in item["targets"]),
        )

    def answered(self, job: str, result: Any) -> None:
        match job:
            case "configuration":
                show_record(self, "The configuration that is served", result)
            case "model":
                show_record(self, result["id"], result)
            case _:
                super().answered(job, result)
                self.pointed(self.table.item)

    def pointed(self, item: Item | None) -> None:
        panel = self.query_one("#detail")
        panel.set_class(item is None, "-away")
        look = (self.app.theme, item)
        if item is not None and look != self._look:  # else it would be laid out for nothing
            self._look = look
            panel.border_title = Text(item["id"]).markup
            self.query_one("#about", Static).update(self._about(item))

    def _about(self, item: Item) -> Table:
        about = Table.grid(expand=True)
        about.add_row(self._targets(item))
        for title, pairs in (("USD per million tokens", _prices(item["price"])), ("About", _facts(item))):
            about.add_row()
            about.add_row(Text(title, style=f"bold {self.tint('primary')}"))
            table = Table.grid(padding=(0, 2))
            for name, value in pairs:
                table.add_row(Text(name, style="dim"), Text(value))
            about.add_row(table)
        return about

    def _targets(self, item: Item) -> Table:
        targets = Table.grid(padding=(0, 1))
        for target in item["targets"]:
            sign, tint = _SIGNS[target["state"]]
            words = {
                "ok": f"answers in {show.seconds(target['latency'])}" if target["latency"] is not None else "well",
                "open": f"left alone after {target['failures']} failures",
                "untried": "not called yet",
            }[target["state"]]
            name = Text(f"{target['provider']}/{target['model']}", style="bold")
            if target["format"]:
                name.append(f"\n{target['format']}", "dim")
            targets.add_row(Text(sign, style=self.tint(tint)), name, Text(words, style="dim"))
        return targets

    def opened(self, item: Item) -> None:
        show_record(self, item["id"], item)

    def acts(self) -> Iterable[tuple[str, str, Callable[[], Any]]]:
        yield "Explain a request", "e · what becomes of it at each target", self.action_explain

    def action_explain(self) -> None:
        screen = self.admin.kept(ExplainScreen)
        screen.open(self.table.item["id"] if self.table.item is not None else "")
        self.app.push_screen(screen)

    def action_routes(self) -> None:
        self.app.push_screen(RoutesScreen())

    def action_configuration(self) -> None:
        self.ask("configuration", "configuration.show")

    async def action_try_it(self) -> None:
        if self.table.item is not None:
            await self.admin.visit("playground", self.table.item["id"])


class RoutesScreen(ListScreen):
    """Where clients ask, and in which format."""

    method = "routes.list"
    paged = False
    columns = (
        Column("Methods", 8),
        Column("Path", 40, flex=True),
        Column("Format", 24, flex=True),
        Column("Stream", 12, drop=1),
    )
    searches = "a part of the path or the format"
    nothing = "No route is configured.\n\nAdd one under `routes:` in gateway.yaml."

    def params(self, text: str) -> dict[str, Any]:
        return {}

    def matches(self, item: Item, text: str) -> bool:
        return text.casefold() in f"{item['path']} {item['format']}".casefold()

    def row(self, item: Item) -> Sequence[Cell]:
        stream = {None: "as asked", True: "always", False: "never"}[item["stream"]]
        return " ".join(item["methods"]), Text(item["path"], style="bold"), item["format"], stream


def _prices(price: dict[str, Any]) -> list[tuple[str, str]]:
    """The classes whose price is not that of another one."""
    shown = [("input", show.exact(price["input"])), ("output", show.exact(price["output"]))]
    for name, like in (
        ("cached_input", "input"),
        ("cache_write", "input"),
        ("cache_write_1h", "cache_write"),
        ("reasoning", "output"),
        ("audio_input", "input"),
        ("audio_output", "output"),
        ("image", "input"),
    ):
        if price[name] != price[like]:
            shown.append((name.replace("_", " "), show.exact(price[name])))
    shown += [
        (f"a {name.replace('_', ' ')}", show.exact(price[name])) for name in ("request", "web_search") if name in price
    ]
    for tier in price.get("tiers", ()):
        prices = f"in {show.exact(tier['input'])}, out {show.exact(tier['output'])}"
        shown.append((f"above {show.count(tier['above'])} tokens", prices))
    return shown


def _facts(item: Item) -> list[tuple[str, str]]:
    limits = ", ".join(f"{name} {show.count(value)}" for name, value in item["limits"].items())
    facts = (
        ("owned by", item["owned_by"]),
        ("since", show.day(item["created"])),
        ("context", show.count(item["context_window"])),
        ("most output", show.count(item["max_output_tokens"])),
        ("also called", ", ".join(item["aliases"])),
        ("strategy", item["strategy"] if len(item["targets"]) > 1 else ""),
        ("falls back to", ", ".join(item["fallbacks"])),
        ("limits", limits),
    )
    return [(name, value) for name, value in facts if value]
