"""The search line: hidden until `/`, tells of what is typed once the typing pauses."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from textual import on
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.suggester import Suggester
from textual.timer import Timer
from textual.widgets import Input

_BUSY: Final = " ◌ searching "

PAUSE: Final = 0.12
"""Seconds without a key until what was typed is looked for."""


class SearchLine(Input):
    class Searched(Message):
        """`text` is to be looked for; "" for everything."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The search line gives the focus back."""

    BINDINGS = [
        Binding("escape", "leave", "Close the search"),
        Binding("down,enter", "done", "To the list", show=False),
    ]

    busy: reactive[bool] = reactive(False)
    """What was typed is being looked for."""

    def __init__(self, hint: str, suggester: Suggester | None = None) -> None:
        super().__init__(placeholder=hint, compact=True, suggester=suggester)
        self.display = False
        self._told = ""
        self._pause: Timer | None = None

    def open(self) -> None:
        self.display = True
        # at once: `focus` waits, and what is typed meanwhile would be commands of the list
        self.screen.set_focus(self)

    def render_line(self, y: int) -> Strip:
        line = super().render_line(y)
        room = self.size.width - len(_BUSY)
        if not self.busy or y or room < len(self.value):
            return line
        return Strip.join([line.crop(0, room), Strip([Segment(_BUSY, self.rich_style)])])

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE, self.tell)

    def tell(self) -> None:
        """What stands there is to be looked for now."""
        text = self.value.strip()
        if text != self._told:
            self._told = text
            self.post_message(self.Searched(text))

    def action_leave(self) -> None:
        self.value = ""
        self.tell()
        self.display = False
        self.post_message(self.Left())

    def action_done(self) -> None:
        self.tell()
        if not self.value.strip():
            self.display = False
        self.post_message(self.Left())
