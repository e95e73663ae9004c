"""How the screens look: at two sizes, in both themes. `pytest tests/tui/test_pictures.py --snapshot-update` takes new
pictures; look at them before they are committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakes import NOW, FakeService
from pilots import settle
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tui.app import AdminApp
from tui.themes import DARK, LIGHT

SIZES = {"80x24": (80, 24), "160x48": (160, 48)}
THEMES = {"dark": DARK.name, "light": LIGHT.name}
PICTURES: dict[str, tuple[str, ...]] = {
    "overview": ("r",),
    "models": ("5", "j", "j"),
    "explain": ("5", "e"),
    "requests": ("6", "j", "j", "j"),
    "request": ("6", "enter"),
    "bodies": ("6", "enter", "tab"),
    "playground": ("7",),
    "accounts": ("2", "j", "j"),
    "account": ("2", "enter"),
    "grant": ("2", "plus"),
    "confirm": ("2", "x"),
    "keys": ("3",),
    "key": ("3", "enter"),
    "new-key": ("3", "n"),
    "pick": ("3", "e", "tab", "ctrl+o"),
    "provider-keys": ("4", "j"),
    "new-provider-key": ("4", "n"),
    "first": (":first",),
    "secret": (":first", "up", "up", "enter", "ctrl+s"),
    "audit": ("8",),
    "change": ("8", "j", "enter"),
    "help": ("8", "question_mark"),
}
"""The keys that lead to each picture, and with a colon the actions."""


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures must not depend on the terminal that the tests run in."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TZ", "UTC")
    # nor on when in a blink of the cursor they were taken
    monkeypatch.setattr(Input, "_toggle_cursor", lambda line: None)
    monkeypatch.setattr(TextArea, "_toggle_cursor_blink_visible", lambda area: None)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("picture", PICTURES)
def test_pictures(snap_compare: Callable[..., bool], picture: str, size: str, theme: str) -> None:
    app = AdminApp(FakeService().connect, clock=lambda: NOW, theme=THEMES[theme])

    async def ready(pilot: Pilot[Any]) -> None:
        await settle(pilot)
        for key in PICTURES[picture]:
            if key.startswith(":"):
                await pilot.app.run_action(key[1:])
            else:
                await pilot.press(key)
            await settle(pilot)

    assert snap_compare(app, terminal_size=SIZES[size], run_before=ready)
