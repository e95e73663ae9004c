"""The line at the bottom: the keys of the moment, and where the app works."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from tui import show
from tui.widgets.keyline import KeyLine

_WIDE = 140
"""Columns from which on there is room for the place, too."""

_HOST = 24
"""Columns for the host of a gateway far away, where there is no room for more."""

_USER = re.compile(r"//[^@/]*@")
"""Who asks, and a password, perhaps."""

_SIGNS = {"connecting": ("◌", "dim"), "refused": ("✖", "$error"), "up": ("●", "$success"), "lost": ("✖", "$error")}


class StatusBar(Horizontal):
    _shown = ("", "")

    def compose(self) -> ComposeResult:
        yield KeyLine()
        yield Static(id="where")

    def on_mount(self) -> None:
        self.watch(self.app, "whereabouts", self._show)

    def on_resize(self) -> None:
        self._show(self.app.whereabouts)  # type: ignore[attr-defined]

    def _show(self, whereabouts: tuple[str, str, str]) -> None:
        state, where, place = whereabouts
        place = _USER.sub("//", place)
        sign, style = _SIGNS[state]
        lost = f"{where or 'service'} lost, trying again"
        words = {"connecting": "connecting", "refused": "not connected", "lost": lost}.get(state, where)
        room = max(self.app.size.width // 3 - len(words) - 4, 0) if self.app.size.width >= _WIDE else 0
        if state == "up" and room > 6:
            words += " " + show.tail(place, room)
        elif state == "up" and place.startswith(("http://", "https://")):  # far away: not to be taken for the one here
            words = show.tail(urlsplit(place).netloc, _HOST)
        if (state, words) != self._shown:
            self._shown = state, words
            shown = Content.assemble((f"{sign} ", style), (words, style if style == "$error" else "dim"))
            self.query_one("#where", Static).update(shown)
