"""The keys of the moment, in one line: what the screen can do, then search, help and back, which are always there."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Input, TextArea

_FIRST: Final = frozenset({"create", "add"})
"""Actions that a screen without records has, too."""

_LAST: Final = ("search", "find", "help", "back")
"""Actions that stand at the end, and stay where there is too little room for all."""

_EVERYTHING: Final = "ctrl+p"
"""The key that offers what there is no room for, too."""

_TYPED: Final = frozenset({"find", "help", "back"})
"""Those whose keys are text while something is written."""

Shown = tuple[str, str, str]
"""Key as it is pressed, as it is shown, and what it does."""


class KeyLine(Widget):
    """One widget, and not one for each key: that makes a screen open in half the time."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[list[Shown], list[Shown]] = ([], [])

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self._changed(self.screen)

    def _changed(self, screen: Screen[object]) -> None:
        if not screen.is_active:
            return
        acts: list[Shown] = []
        last: dict[str, Shown] = {}
        writing = isinstance(screen.focused, Input | TextArea)
        for active in screen.active_bindings.values():
            binding = active.binding
            if not binding.show or not active.enabled or not binding.description:
                continue
            shown = (binding.key, self.app.get_key_display(binding), binding.description)
            if binding.action in _FIRST:
                acts.insert(0, shown)
            elif binding.action not in _LAST:
                acts.append(shown)
            elif not writing or binding.action not in _TYPED:
                last[binding.action] = shown
        keys = acts, [last[action] for action in _LAST if action in last]
        if keys != self._keys:
            self._keys = keys
            self.refresh()

    def render(self) -> Content:
        """All of them with room between, else closer, else as many as there is room for."""
        acts, last = ([self._key(*each) for each in keys] for keys in self._keys)
        more = [Content.styled("…", "dim").stylize(Style.from_meta({"key": _EVERYTHING}))]
        lines = [Content("  ").join([*acts, *last])]
        lines += (
            Content(" ").join([*acts[:count], *(more if count < len(acts) else []), *last])
            for count in range(len(acts), -1, -1)
        )
        return next((line for line in lines if line.cell_length <= self.size.width), lines[-1])

    def _key(self, key: str, display: str, words: str) -> Content:
        styled = Content.assemble((display, "bold $footer-key-foreground"), " ", words)
        return styled.stylize(Style.from_meta({"key": key}))

    def on_click(self, event: events.Click) -> None:
        if key := event.style.meta.get("key"):
            self.app.simulate_key(key)
