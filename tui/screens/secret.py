"""A secret that is shown once."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from tui.screens.quick import Dialog


class SecretScreen(Dialog[None]):
    """Neither `q` nor a click beside it closes this: the secret would be gone."""

    AUTO_FOCUS = "#copy"
    BINDINGS = [
        Binding("y,c", "copy", "Copy", key_display="y"),
        Binding("e", "copy_example", "Copy the example"),
        Binding("escape", "close", "Close"),
    ]

    def __init__(self, title: str, secret: str, words: str, example: str = "") -> None:
        """`example` is a line that uses it, and can be pasted."""
        super().__init__()
        self._title = title
        self._secret = secret
        self._words = words
        self._example = example

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = self._title
            yield Static(self._secret, markup=False, classes="secret", id="secret")
            yield Static(self._words, markup=False, classes="words")
            if self._example:
                yield Static(self._example, markup=False, classes="example", id="example")
            with Horizontal(classes="buttons"):
                yield Button("Copy (y)", variant="primary", id="copy", compact=True)
                if self._example:
                    yield Button("Copy the line (e)", id="copy-example", compact=True)
                yield Button("Close (esc)", id="close", compact=True)

    @on(Button.Pressed, "#copy")
    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._secret)
        self.notify("Copied, where your terminal allows it.")

    @on(Button.Pressed, "#copy-example")
    def action_copy_example(self) -> None:
        if self._example:
            self.app.copy_to_clipboard(self._example)
            self.notify("Copied, where your terminal allows it.")

    @on(Button.Pressed, "#close")
    def action_close(self) -> None:
        self._secret = self._example = ""
        self.dismiss()
