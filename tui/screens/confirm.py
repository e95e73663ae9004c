"""A question before something is destroyed: it names what, and is asked once."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from tui.screens.quick import Dialog


class ConfirmScreen(Dialog[bool]):
    AUTO_FOCUS = "#no"
    BINDINGS = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,q,escape", "answer(False)", "No"),
        Binding("h,left,l,right", "other", "Other button", show=False),
    ]

    def __init__(self, act: str, what: str, words: str = "") -> None:
        super().__init__()
        self._act = act
        self._what = what
        self._words = words

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog danger") as dialog:
            dialog.border_title = self._act
            yield Static(f"{self._act} {self._what}?", markup=False, classes="question")
            if self._words:
                yield Static(self._words, markup=False, classes="words")
            with Horizontal(classes="buttons"):
                yield Button(f"{self._act} (y)", variant="error", id="yes", compact=True)
                yield Button("Keep (n)", variant="primary", id="no", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def action_other(self) -> None:
        self.focus_next()
