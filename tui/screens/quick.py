"""Screens that open quickly: their styles are worked out once, where Textual does so four times."""

from __future__ import annotations

from typing import TypeVar

from textual.events import ScreenResume
from textual.screen import ModalScreen, Screen

R = TypeVar("R")


class QuickScreen(Screen[R]):
    def __init__(self, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name, id, classes)
        app = self.app
        # Mounting gives a new screen its styles. Textual takes them for stale, and would parse every style sheet again.
        self._css_update_count = app._css_update_count
        # Else they come with the first layout, and the styles once more.
        for size, breakpoints in (
            (app.size.width, app.HORIZONTAL_BREAKPOINTS),
            (app.size.height, app.VERTICAL_BREAKPOINTS),
        ):
            self.add_class(*[name for least, name in sorted(breakpoints or ()) if size >= least][-1:])

    def on_screen_resume(self, event: ScreenResume) -> None:
        event.refresh_styles = False  # they change with the theme only, which refreshes those of all screens


class Dialog(ModalScreen[R], QuickScreen[R]):
    """Over the screen that asks. (The styles are those of the first base.)"""
