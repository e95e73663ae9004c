"""A form in a dialog: lines of text, secrets and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Input, Static

from tui.screens.pick import pick_for
from tui.screens.quick import Dialog
from tui.widgets.field import Field, FieldLine, Labels

_LINES: Final = 12
"""As many as most forms have."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked: `words` stand above the fields, `act` on the button, and below them what was `wrong` with what was
    sent before."""

    title: str
    fields: Sequence[Field]
    act: str = "Save"
    words: str = ""
    wrong: str = ""

    def filled(self, values: Mapping[str, str]) -> Form:
        """The same with those values in its fields."""
        return replace(self, fields=[replace(field, value=values[field.name]) for field in self.fields], wrong="")


class Fields(VerticalScroll, inherit_bindings=False):
    """Arrow keys are the form's: they lead from field to field, which scrolls."""


class FormScreen(Dialog[dict[str, str] | None]):
    """Gives the values by name, without white space around them, or None where it is left."""

    AUTO_FOCUS = "FieldLine"
    BINDINGS = [
        Binding("escape", "leave", "Leave"),
        Binding("ctrl+s", "send", "Send"),
        Binding("ctrl+o", "pick", "Pick"),
        # ahead of the field in front, so that what is typed right after them goes to the next one
        Binding("tab", "app.focus_next", "Next field", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Field before", show=False, priority=True),
        Binding("enter", "next", "Next field", show=False, priority=True),
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Field before", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._form = Form("", ())

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog form"):
            yield Static(markup=False, classes="words")
            with Fields(classes="fields", can_focus=False), Horizontal():
                yield Labels()
                with Vertical(id="lines"):
                    for _ in range(_LINES):
                        yield FieldLine()
            yield Static(id="wrong", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("", variant="primary", id="send", compact=True)
                yield Button("Leave (esc)", id="leave", compact=True)

    def ask(self, form: Form) -> None:
        self._form = form
        self.renew()

    def show(self) -> None:
        form = self._form
        self.query_one(".dialog").border_title = form.title
        words = self.query_one(".words", Static)
        words.display = bool(form.words)
        words.update(form.words)
        self.query_one(Labels).show([field.label + (" *" if field.required else "") for field in form.fields])
        lines = list(self.query(FieldLine))
        if missing := len(form.fields) - len(lines):
            more = [FieldLine() for _ in range(missing)]
            self.query_one("#lines").mount_all(more)
            lines += more
        for number, line in enumerate(lines):
            line.ask(form.fields[number] if number < len(form.fields) else None)
        self.query_one(Fields).scroll_home(animate=False)
        self.query_one("#wrong", Static).update(form.wrong)
        self.query_one("#send", Button).label = f"{form.act} (ctrl+s)"

    def offer(self, options: Mapping[str, Sequence[str]]) -> None:
        """What can be picked for some fields, where that is known only now."""
        for line in self._lines():
            if line.field.name in options:
                line.offer(replace(line.field, options=options[line.field.name]))

    def _lines(self) -> list[FieldLine]:
        return [line for line in self.query(FieldLine) if line.field.name]

    def line(self, name: str) -> FieldLine:
        """The line of a field. Raises KeyError where the form has none of that name."""
        found = {line.field.name: line for line in self._lines()}
        return found[name]

    def values(self) -> dict[str, str]:
        return {line.field.name: line.answer for line in self._lines()}

    def action_next(self) -> None:
        """Enter goes on to the next field, and sends after the last one, and after the last that is typed."""
        lines = self._lines()
        typed = [line for line in lines if line.field.kind != "choice"]
        if self.focused is not None and self.focused in (*lines[-1:], *typed[-1:]):
            self.action_send()
        else:
            self.focus_next()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "pick":
                return isinstance(self.focused, FieldLine) and bool(self.focused.field.shown)
            case "next":  # else it is the button's
                return isinstance(self.focused, Input)
            case _:
                return True

    def action_pick(self) -> None:
        if isinstance(self.focused, FieldLine) and self.focused.field.shown:
            pick_for(self.focused, self)

    @on(Button.Pressed, "#send")
    def action_send(self) -> None:
        for line in self._lines():
            if wrong := self._wrong(line.field, line.answer):
                self.query_one("#wrong", Static).update(f"{line.field.label}: {wrong}")
                line.focus()
                return
        self._close(self.values())

    def _wrong(self, field: Field, value: str) -> str:
        if not value:
            return "it must not be empty" if field.required else ""
        return field.check(value) if field.check is not None else ""

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        self._close(None)

    def _close(self, values: dict[str, str] | None) -> None:
        for line in self._lines():
            line.forget()
        self.answer(values)
