"""The command palette: every screen, and what the screen in front can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui.places import PLACES

Command = tuple[str, str, Callable[[], Any]]


class AdminCommands(Provider):
    def _commands(self) -> Iterator[Command]:
        from tui.app import AdminApp
        from tui.screens.base import AdminScreen

        app, screen = self.app, self.screen
        assert isinstance(app, AdminApp)
        if isinstance(screen, AdminScreen):
            for active in screen.active_bindings.values():
                binding = active.binding
                if active.node is screen and binding.show and active.enabled and binding.description:
                    act = partial(screen.run_action, binding.action)
                    yield binding.description, f"{app.get_key_display(binding)} · here", act
            yield from screen.acts()
        for place in PLACES:
            yield f"Go to {place.title}", f"{place.key} · {place.words}", partial(app.action_go, place.mode)
        yield "First steps", "an account, a key, a provider key, a test call", app.action_first
        yield "Dark or light", "ctrl+t · the other theme", app.action_theme
        yield "Help", "? · the keys that work here", app.action_help
        yield "Reload", "r · what is shown, again", partial(screen.run_action, "reload")
        yield "Quit", "ctrl+q · leave the admin terminal", app.action_quit

    async def discover(self) -> Hits:
        for title, words, act in self._commands():
            yield DiscoveryHit(title, act, help=words)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, words, act in self._commands():
            if (score := matcher.match(f"{title} {words}")) > 0:
                yield Hit(score, matcher.highlight(title), act, help=words)
