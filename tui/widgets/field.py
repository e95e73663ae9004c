"""Lines of a form: what stands beside them, and what is typed, hidden or chosen in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich.segment import Segment
from textual import events
from textual.content import Content
from textual.strip import Strip
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input

Check = Callable[[str], str]
"""What is wrong with a value, "" for nothing."""

_NOTHING: Final = r"(?!)"
"""What may be pasted into a choice."""

_PICKS: Final = " ▾"

_HINT: Final = "← → changes it, ctrl+o picks"


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

    @property
    def shown(self) -> Sequence[str]:
        """What can be picked, in words."""
        return [words for words, _ in self.choices] if self.kind == "choice" else self.options


class Labels(Widget):
    """What stands beside the fields, a line for each: one widget, since a form takes longer to open with each."""

    _labels: Sequence[str] = ()

    def show(self, labels: Sequence[str]) -> None:
        if labels != self._labels:
            self._labels = labels
            self.refresh(layout=True)

    def render(self) -> Content:
        between = "\n" if self.screen.has_class("-short") else "\n\n"
        return Content(between.join(self._labels))


class FieldLine(Input):
    """Any field's line: which it is, `ask` says. A choice is shown by its words; ← → and space go on to the next."""

    def __init__(self) -> None:
        super().__init__(compact=True)
        self.field = Field("", "")
        self.display = False

    def ask(self, field: Field | None) -> None:
        """Asks for another field; for none it is away."""
        self.display = field is not None
        self.field = field = field or Field("", "")
        choice = field.kind == "choice"
        with self.prevent(Input.Changed):
            self.suggester = None
            self.password = field.kind == "secret"
            self.placeholder = f"{field.hint} (ctrl+o picks)".strip() if field.options else field.hint
            self.restrict = _NOTHING if choice else None
            self.select_on_focus = not choice
            self.answer = field.value
            self.cursor_position = 0 if choice else len(self.value)
        self.offer(field)

    def forget(self) -> None:
        """What was typed, which may be a secret."""
        with self.prevent(Input.Changed):
            self.value = ""

    def offer(self, field: Field) -> None:
        """The same field, with other options."""
        self.field = field
        self.suggester = (
            SuggestFromList(field.options, case_sensitive=False) if field.options and not field.many else None
        )

    @property
    def _choice(self) -> bool:
        return self.field.kind == "choice"

    @property
    def answer(self) -> str:
        """The field's value, without white space around it."""
        if not self._choice:
            return self.value.strip()
        return next((value for words, value in self.field.choices if words == self.value), "")

    @answer.setter
    def answer(self, value: str) -> None:
        if self._choice:
            words = [words for words, each in self.field.choices if each == value] or self.field.shown
            value = words[0] if words else ""
        self.value = value

    # A choice

    def _other(self, steps: int) -> None:
        words = self.field.shown
        if words:
            self.value = words[(words.index(self.value) + steps) % len(words)]

    def action_cursor_left(self, select: bool = False) -> None:
        if self._choice:
            self._other(-1)
        else:
            super().action_cursor_left(select)

    def action_cursor_right(self, select: bool = False) -> None:
        if self._choice:
            self._other(1)
        else:
            super().action_cursor_right(select)

    def on_key(self, event: events.Key) -> None:
        if self._choice and event.is_printable:
            event.stop()
            event.prevent_default()  # nothing is typed here
            if event.key == "space":
                self._other(1)

    async def on_click(self, event: events.Click) -> None:
        if self._choice or (self._marked and event.x >= self.size.width - len(_PICKS)):
            event.stop()
            await self.screen.run_action("pick")

    @property
    def _marked(self) -> bool:
        """There is a mark at its end, where there is room for it, for a click that picks."""
        return bool(self.field.options) and len(self.value) < self.size.width - len(_PICKS) - 1

    def render_line(self, y: int) -> Strip:
        if not self._choice or y:
            line = super().render_line(y)
            if y or not self._marked:
                return line
            mark = Segment(_PICKS, self.rich_style)
            return Strip.join([line.crop(0, self.size.width - len(_PICKS)), Strip([mark])])
        style, width = self.rich_style, self.size.width
        chosen = style + self.get_component_rich_style("input--cursor") if self.has_focus else style
        segments = [Segment(self.value, chosen), Segment(_PICKS, style)]
        if self.has_focus:
            segments.append(Segment(f"  {_HINT}", style + self.get_component_rich_style("input--placeholder")))
        return Strip(segments).adjust_cell_length(width, style)
