"""A form in a dialog: lines of text, secrets and choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.suggester import Suggester, SuggestFromList
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static

from tui.screens.quick import Dialog

Check = Callable[[str], str]
"""What is wrong with a value, "" for nothing."""


@dataclass(frozen=True, slots=True)
class Field:
    """`kind` "choice" takes one of `choices` ((shown, value) pairs).

    A text may be picked of `options` (ctrl+o), with `many` several of them, which stand with commas between.
    """

    name: str
    label: str
    value: str = ""
    hint: str = ""
    kind: Literal["text", "secret", "choice"] = "text"
    required: bool = False
    choices: Sequence[tuple[str, str]] = ()
    check: Check | None = None
    options: Sequence[str] = ()
    many: bool = False


def _suggester(field: Field) -> Suggester | None:
    return SuggestFromList(field.options, case_sensitive=False) if field.options and not field.many else None


class Labels(Widget):
    """What stands beside the fields, a line for each: one widget, since a form takes longer to open with each."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self._labels = labels

    def render(self) -> Content:
        between = "\n" if self.screen.has_class("-short") else "\n\n"
        return Content(between.join(self._labels))


class Fields(VerticalScroll, inherit_bindings=False):
    """Arrow keys are the form's: they lead from field to field, which scrolls."""


class FormScreen(Dialog[dict[str, str]]):
    """Gives the values by name, without white space around them, or None where it is left."""

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

    def __init__(self, title: str, fields: Sequence[Field], *, act: str = "Save", words: str = "") -> None:
        super().__init__()
        self._title = title
        self._fields: Sequence[Field] = fields
        self._act = act
        self._words = words

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog form") as dialog:
            dialog.border_title = self._title
            if self._words:
                yield Static(self._words, markup=False, classes="words")
            with Fields(classes="fields", can_focus=False), Horizontal():
                yield Labels([field.label + (" *" if field.required else "") for field in self._fields])
                with Vertical():
                    for field in self._fields:
                        yield self._input(field)
            yield Static(id="wrong", markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._act} (ctrl+s)", variant="primary", id="send", compact=True)
                yield Button("Leave (esc)", id="leave", compact=True)

    def offer(self, options: Mapping[str, Sequence[str]]) -> None:
        """What can be picked for some fields, where that is known only now."""
        self._fields = [
            replace(field, options=options[field.name]) if field.name in options else field for field in self._fields
        ]
        for field in self._fields:
            for line in self.query(f"#field-{field.name}").results(Input):
                line.suggester = _suggester(field)

    def _input(self, field: Field) -> Widget:
        name = f"field-{field.name}"
        if field.kind == "choice":
            chosen = field.value or (field.choices[0][1] if field.choices else "")
            return Select(field.choices, value=chosen, allow_blank=False, id=name, compact=True)
        hint = f"{field.hint} (ctrl+o picks)".strip() if field.options else field.hint
        secret = field.kind == "secret"
        return Input(field.value, placeholder=hint, password=secret, suggester=_suggester(field), id=name, compact=True)

    def values(self) -> dict[str, str]:
        found = {field.name: field.value for field in self._fields}
        for field in self._fields:
            for widget in self.query(f"#field-{field.name}"):
                if isinstance(widget, Select):
                    found[field.name] = str(widget.value)
                elif isinstance(widget, Input):
                    found[field.name] = widget.value.strip()
        return found

    def action_next(self) -> None:
        """Enter goes on to the next field, and sends after the last."""
        last = next((field for field in reversed(self._fields) if field.kind in ("text", "secret")), None)
        if last is not None and self.focused is not None and self.focused.id == f"field-{last.name}":
            self.action_send()
        else:
            self.focus_next()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "pick":
                return self._field() is not None
            case "next":  # else it is the button's, or the list's
                return isinstance(self.focused, Input)
            case _:
                return True

    def _field(self) -> Field | None:
        """The one in front, where it can be picked."""
        id = self.focused.id if self.focused is not None else None
        return next((field for field in self._fields if field.options and id == f"field-{field.name}"), None)

    def action_pick(self) -> None:
        from tui.screens.pick import PickScreen

        field = self._field()
        if field is None:
            return
        line = self.query_one(f"#field-{field.name}", Input)
        chosen = [part.strip() for part in line.value.split(",") if part.strip()] if field.many else []

        def picked(found: list[str] | None) -> None:
            if found is not None:
                line.value = ", ".join(found)

        self.app.push_screen(PickScreen(field.label, field.options, chosen, many=field.many), picked)

    @on(Button.Pressed, "#send")
    def action_send(self) -> None:
        values = self.values()
        for field in self._fields:
            wrong = self._wrong(field, values[field.name])
            if wrong:
                self.query_one("#wrong", Static).update(f"{field.label}: {wrong}")
                self.query_one(f"#field-{field.name}").focus()
                return
        self.dismiss(values)

    def _wrong(self, field: Field, value: str) -> str:
        if not value:
            return "it must not be empty" if field.required else ""
        return field.check(value) if field.check is not None else ""

    @on(Button.Pressed, "#leave")
    def action_leave(self) -> None:
        self.dismiss(None)
