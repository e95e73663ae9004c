"""A screen about one thing that was opened in a list: made once, and asked anew for each."""

from __future__ import annotations

import time
from typing import Final

from textual.events import ScreenSuspend

from tui.screens.base import PAUSE, AdminScreen
from tui.widgets.nav import Nav

_SOON: Final = 0.015
"""Seconds for which the first picture waits for the first answers: those of a gateway that is near are in it."""


class OpenedScreen(AdminScreen[None]):
    """The app keeps one of each kind (`AdminApp.kept`), since making one takes longer than all else.

    `open`, which each kind has, takes what is opened, and calls `renew`. `begin` puts what is known of it into the
    widgets, in place of all that stood there of the one before; `load` asks for the rest. `end` lets go of it.
    """

    opened = False
    """Whether it is about anything: it may have been left, or made ahead."""
    _first_until = 0.0

    def begin(self) -> None:
        """Shows what is known of what was opened, and nothing else."""
        raise NotImplementedError

    def end(self) -> None:
        """It was left: lets go of what nobody is to see any more."""

    def renew(self) -> None:
        self.forget()
        self.opened = True
        if self.is_mounted:
            self.start()

    def start(self) -> None:
        if not self.opened:  # it is made ahead
            self.set_timer(PAUSE, self._lay_out)
            return
        self._fresh = True
        self.query_one(Nav).current = self.admin.current_mode
        self.query_one("#problem").display = False
        self.begin()
        super().start()
        self._first_until = time.monotonic() + _SOON
        self.set_timer(_SOON, self.check_idle)

    def _lay_out(self) -> None:
        if not self.opened:
            self._refresh_layout(self.app.size)

    def waits(self) -> bool:
        return time.monotonic() < self._first_until and any(job.is_running for job in self._jobs.values())

    def on_screen_suspend(self, event: ScreenSuspend) -> None:
        if self.opened and not self.admin.is_open(self):  # else something is over it
            self.opened = False
            self.forget()
            self.set_focus(None)  # whoever opens it next finds the focus where it is at first
            self.end()
