"""Picks of a list: narrowed as one types, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from tui import show
from tui.screens.quick import Dialog, QuickScreen
from tui.widgets.choices import Choices
from tui.widgets.field import FieldLine

_HINTS = "space marks · [@click=screen.take]ctrl+s takes[/] · [@click=screen.leave]esc leaves[/]"
_WORDS = 56
"""Columns for the names of what is marked."""


class Narrow(Input):
    """Leaves the space to the screen where that marks with it."""

    marking = False

    def on_key(self, event: events.Key) -> None:
        if self.marking and event.key == "space":
            event.prevent_default()


class PickScreen(Dialog[list[str] | None]):
    """Gives what is picked, in the order of `options`, then what was chosen before and is not among them; None where it
    is left. With `many`, space marks and ctrl+s takes all that is marked; else enter takes one."""

    AUTO_FOCUS = "#narrow"
    beside = "leave"
    BINDINGS = [
        Binding("escape", "leave", "Leave"),
        Binding("down", "to_list", "To the list", show=False),
        Binding("ctrl+s", "take", "Take"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._title = ""
        self._every: tuple[str, ...] = ()
        self._chosen: dict[str, None] = {}
        self._many = True
        self.found: list[str] = []
        """What is shown of the options."""

    def ask(self, title: str, options: Sequence[str], chosen: Sequence[str] = (), *, many: bool = True) -> None:
        self._title = title
        self._every = tuple(options)
        self._chosen = dict.fromkeys(chosen)
        self._many = many
        self.renew()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog pick"):
            yield Narrow(placeholder="type to narrow", id="narrow", compact=True)
            yield Choices(id="options")
            yield Static(id="picked", markup=False)

    def show(self) -> None:
        dialog = self.query_one(".dialog")
        dialog.border_title = self._title
        dialog.border_subtitle = _HINTS if self._many else "enter takes"
        with self.prevent(Input.Changed):
            narrow = self.query_one("#narrow", Narrow)
            narrow.value, narrow.marking = "", self._many
        self.found = list(self._every)
        self._choices.begin(self._lines())
        self._tell()

    @property
    def _choices(self) -> Choices:
        return self.query_one("#options", Choices)

    @on(Input.Changed, "#narrow")
    def _narrowed(self, event: Input.Changed) -> None:
        text = event.value.strip().casefold()
        self.found = [each for each in self._every if text in each.casefold()]
        self._choices.show(self._lines())

    def _lines(self) -> list[Content]:
        return [self._line(each) for each in self.found]

    def _line(self, option: str) -> Content:
        return Content(f"{'✓' if option in self._chosen else ' '} {option}" if self._many else option)

    def _tell(self) -> None:
        words = (
            f"{len(self._chosen)} marked: {show.clip(', '.join(self._chosen), _WORDS)}"
            if self._chosen
            else "none marked"
        )
        self.query_one("#picked", Static).update(words if self._many else "")

    @on(Input.Submitted, "#narrow")
    def _submitted(self) -> None:
        if self._many:
            self.action_to_list()
        else:
            self.action_take()

    @on(Choices.Chosen)
    def _picked(self, event: Choices.Chosen) -> None:
        if self._many:
            self._mark(event.at)
        else:
            self.answer([self.found[event.at]])

    def _mark(self, at: int) -> None:
        option = self.found[at]
        if option in self._chosen:
            del self._chosen[option]
        else:
            self._chosen[option] = None
        self._choices.replace(at, self._line(option))
        self._tell()

    def on_key(self, event: events.Key) -> None:
        """Space marks where one types, too: what is picked with others has no space in it."""
        if self._many and event.key == "space" and self.found and not self._choices.has_focus:
            self._mark(self._choices.cursor)

    def action_to_list(self) -> None:
        if self._choices.has_focus:
            self._choices.action_move(1)
        else:
            self._choices.focus()

    def action_take(self) -> None:
        if self._many:
            known = [each for each in self._every if each in self._chosen]
            self.answer([*known, *(each for each in self._chosen if each not in known)])
        elif self.found:
            self.answer([self.found[self._choices.cursor]])

    def action_leave(self) -> None:
        self.answer(None)


def pick_for(line: FieldLine, screen: QuickScreen[Any]) -> None:
    """Lets somebody on that screen pick what is to stand in a line."""
    field = line.field
    chosen = [part.strip() for part in line.value.split(",") if part.strip()] if field.many else []

    def picked(found: list[str] | None) -> None:
        if found is not None:
            line.value = ", ".join(found)

    pick = screen.admin.kept(PickScreen)
    pick.ask(field.label, field.shown, chosen, many=field.many)
    screen.app.push_screen(pick, picked)
