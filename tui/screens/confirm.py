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

    def __init__(self) -> None:
        super().__init__()
        self._act = self._what = self._words = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog danger"):
            yield Static(markup=False, classes="question")
            yield Static(markup=False, classes="words")
            with Horizontal(classes="buttons"):
                yield Button("", variant="error", id="yes", compact=True)
                yield Button("Keep (n)", variant="primary", id="no", compact=True)

    def ask(self, act: str, what: str, words: str = "") -> None:
        self._act, self._what, self._words = act, what, words
        self.renew()

    def show(self) -> None:
        self.query_one(".dialog").border_title = self._act
        self.query_one(".question", Static).update(f"{self._act} {self._what}?")
        words = self.query_one(".words", Static)
        words.display = bool(self._words)
        words.update(self._words)
        self.query_one("#yes", Button).label = f"{self._act} (y)"

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.answer(yes)

    def action_other(self) -> None:
        self.focus_next()
