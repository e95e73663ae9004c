"""The keys that work now."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from tui.places import PLACES
from tui.screens.quick import Dialog

_HABITS = (
    ("1 … 8", "the screens, in the order of the line at the top"),
    ("/", "search; esc closes it, enter goes to the list; where there is no list, find a screen or an act"),
    ("j k · ↓ ↑", "down and up; g and G: first and last; ctrl+d and ctrl+u: a page"),
    ("enter · l", "open what is under the cursor"),
    ("q · esc", "back; q on the first screen quits"),
    ("r", "reload"),
    ("ctrl+p", "the command palette: every screen, every act"),
    ("ctrl+t", "dark or light"),
    ("ctrl+q", "quit"),
)


class HelpScreen(Dialog[None]):
    AUTO_FOCUS = "VerticalScroll"
    beside = "app.pop_screen"
    BINDINGS = [
        Binding("escape,q,question_mark", "app.pop_screen", "Close"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._below: Screen[Any] = self
        self._keys: list[tuple[str, str]] = []

    def ask(self, below: Screen[Any]) -> None:
        """For the keys of that screen."""
        self._below = below
        shown = [active.binding for active in below.active_bindings.values() if active.binding.show]
        self._keys = [
            (below.app.get_key_display(binding), binding.description) for binding in shown if binding.description
        ]
        self.renew()

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            yield Static(id="about", markup=False)
            yield Static(id="here")
            yield Static(self._table("Everywhere", list(_HABITS)))

    def show(self) -> None:
        place = next((place for place in PLACES if place.mode == self.app.current_mode), PLACES[0])
        self.query_one(".dialog").border_title = f"{place.title}: {place.words}"
        words = " ".join((type(self._below).__doc__ or "").split())
        about = self.query_one("#about", Static)
        about.display = bool(words)
        about.update(words + "\n")
        self.query_one("#here", Static).update(self._table("Here", self._keys))
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def _table(self, title: str, rows: list[tuple[str, str]]) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=12)
        table.add_column()
        table.add_row(Text(title, style="bold"))
        for key, words in rows:
            table.add_row(Text(key, style="bold"), Text(words))
        table.add_row()
        return table

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
