"""The command palette: any screen, any act, found by some letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from tui.commands import Command, matching
from tui.screens.quick import Dialog
from tui.widgets.choices import Choices

_QUIET: Final = "$foreground 65%"


class PaletteScreen(Dialog[Callable[[], Any] | None]):
    """Gives what is to be done, or None where it is left."""

    AUTO_FOCUS = "#wanted"
    beside = "leave"
    BINDINGS = [
        Binding("escape", "leave", "Leave"),
        Binding("down", "move(1)", "Down", show=False),
        Binding("up", "move(-1)", "Up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._every: list[Command] = []
        self._found: list[Command] = []

    def ask(self, every: Iterable[Command]) -> None:
        self._every = list(every)
        self.renew()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog pick palette") as dialog:
            dialog.border_title = "Commands"
            yield Input(placeholder="Search for commands…", id="wanted", compact=True)
            yield Choices()

    def show(self) -> None:
        with self.prevent(Input.Changed):
            self.query_one(Input).value = ""
        self._found = self._every
        self._choices.begin(self._lines())

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._found = matching(self._every, event.value.strip())
        self._choices.show(self._lines() or [Content.styled("Nothing matches.", _QUIET)])

    def _lines(self) -> list[Content]:
        room = max((len(command.title) for command in self._every), default=0) + 2
        return [
            Content.assemble((command.title.ljust(room), "bold"), (command.words, _QUIET)) for command in self._found
        ]

    @property
    def _choices(self) -> Choices:
        return self.query_one(Choices)

    def action_move(self, lines: int) -> None:
        self._choices.action_move(lines)

    def action_page(self, pages: int) -> None:
        self._choices.action_page(pages)

    @on(Input.Submitted)
    @on(Choices.Chosen)
    def _chosen(self) -> None:
        if self._found:
            self.answer(self._found[self._choices.cursor].act)

    def action_leave(self) -> None:
        self.answer(None)
