"""What the command palette finds: every screen, and what the screen in front can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tui.places import PLACES

if TYPE_CHECKING:
    from tui.app import AdminApp

_NONE: Final = 9
"""The rank of what is not found."""


class Command(NamedTuple):
    """`act` may be a coroutine function."""

    title: str
    words: str
    act: Callable[[], Any]


def commands(app: AdminApp) -> Iterator[Command]:
    """Those of the screen in front come first."""
    from tui.screens.base import AdminScreen

    screen = app.screen
    if isinstance(screen, AdminScreen):
        for active in screen.active_bindings.values():
            binding = active.binding
            if active.node is screen and binding.show and active.enabled and binding.description:
                act = partial(screen.run_action, binding.action)
                yield Command(binding.description, f"{app.get_key_display(binding)} · here", act)
        yield from (Command(*each) for each in screen.acts())
    for place in PLACES:
        yield Command(f"Go to {place.title}", f"{place.key} · {place.words}", partial(app.action_go, place.mode))
    yield Command("First steps", "an account, a key, a provider key, a test call", app.action_first)
    yield Command("Dark or light", "ctrl+t · the other theme", app.action_theme)
    yield Command("Help", "? · the keys that work here", app.action_help)
    yield Command("Reload", "r · what is shown, again", partial(screen.run_action, "reload"))
    yield Command("Quit", "ctrl+q · leave the admin terminal", app.action_quit)


def matching(every: Iterable[Command], text: str) -> list[Command]:
    """Those that have every word of `text`, or its letters in their order; those that have them in the title first."""
    wanted = text.casefold()
    ranked = [(_rank(command, wanted), command) for command in every]
    return [command for rank, command in sorted(ranked, key=lambda each: each[0]) if rank < _NONE]


def _rank(command: Command, wanted: str) -> int:
    title = command.title.casefold()
    parts, words = wanted.split(), f"{title} {command.words.casefold()}"
    starts = tuple(word[0] for word in title.split())
    if title.startswith(wanted):
        return 0
    if all(any(word.startswith(part) for word in title.split()) for part in parts):
        return 1
    if all(part in title for part in parts):
        return 2
    if "".join(starts).startswith("".join(parts)):
        return 3
    if all(part in words for part in parts):
        return 4
    letters = iter(title)
    return 5 if all(letter in letters for letter in "".join(parts)) else _NONE
