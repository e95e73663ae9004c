"""What holds on every screen, in every dialog, in the smallest terminal: nothing is out of reach or out of sight, the
keys that are the same everywhere, no colour where none is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, press
from test_pictures import PICTURES
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import OptionList

from tui.screens.base import AdminScreen
from tui.widgets.keyline import KeyLine
from tui.widgets.search import SearchLine
from tui.widgets.table import RecordTable

MORE: dict[str, tuple[str, ...]] = {
    "palette": ("ctrl+p",),
    "new-account": ("2", "n"),
    "refund": ("2", "f"),
    "adjust": ("2", "a"),
    "edit-account": ("2", "e"),
    "save": ("2", "enter", "s"),
    "ledger-entry": ("2", "enter", "enter"),
    "edit-key": ("3", "e"),
    "rotate": ("3", "t"),
    "edit-provider-key": ("4", "e"),
    "routes": ("5", "o"),
    "configuration": ("5", "c"),
    "search": ("6", "slash"),
    "playing-key": ("7", "y"),
}
WAYS = PICTURES | MORE


def within_reach(widget: Widget) -> bool:
    """Whether it is in sight whole, or somebody can scroll to it."""
    region = widget.region
    for parent in widget.ancestors:
        if isinstance(parent, Widget) and parent.is_scrollable and parent.allow_vertical_scroll:
            return parent.region.overlaps(parent.screen.region)
    return not region or region in widget.screen.region


def lines(pilot: Pilot[None]) -> Iterator[Strip]:
    for screen in pilot.app.screen_stack:
        for widget in screen.query("*"):
            if widget.display and widget.size:
                yield from widget.render_lines(widget.size.region)


@pytest.mark.parametrize("way", WAYS)
async def test_in_the_smallest_terminal_without_colour(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_app(size=(80, 24)) as pilot:
        await press(pilot, *WAYS[way])
        screen = pilot.app.screen
        there = [widget for widget in screen.query("*") if widget.can_focus and widget.display and widget.size]
        assert there or not screen.is_modal
        for widget in there:
            assert within_reach(widget), f"{widget} at {widget.region}"
        dialog = screen.query(".dialog")
        if dialog:
            assert dialog.first().region in screen.region
            for button in screen.query("Button"):
                assert button.region in screen.region
        elif isinstance(screen, AdminScreen) and way != "search":
            shown = str(screen.query_one(KeyLine).render())
            assert "? Help" in shown
            assert "q Back" in shown
        colours = {
            (segment.text, segment.style)
            for strip in lines(pilot)
            for segment in strip
            if segment.style and (segment.style.color or segment.style.bgcolor)
        }
        assert not colours


LISTS = {
    "overview": ("1",),
    "accounts": ("2",),
    "account": ("2", "enter"),
    "keys": ("3",),
    "provider keys": ("4",),
    "models": ("5",),
    "requests": ("6",),
    "audit": ("8",),
}


@pytest.mark.parametrize("way", LISTS)
async def test_vim_and_arrow_keys_move_on_every_list(open_app: Open, way: str) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await press(pilot, *LISTS[way])
        table = pilot.app.focused
        assert isinstance(table, RecordTable)
        last = len(table.items) - 1
        assert last > 0
        moves = [("j", 1), ("k", 0), ("down", 1), ("up", 0), ("G", last), ("g", 0), ("end", last), ("home", 0)]
        moves += [("ctrl+d", min(last, 20)), ("ctrl+u", 0), ("pagedown", min(last, 20)), ("pageup", 0)]
        for key, row in moves:
            await pilot.press(key)
            at = table.cursor_row
            assert at == row or (key in ("ctrl+d", "pagedown") and 0 < at <= last), key
            place = table.region.y + 1 + at - table.scroll_offset.y
            assert table.region.y < place < table.region.bottom, f"{key}: the cursor is in sight"


async def test_vim_and_arrow_keys_move_in_the_first_steps(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await press(pilot, *WAYS["first"])
        steps = pilot.app.focused
        assert isinstance(steps, OptionList)
        seen = [steps.highlighted]
        for key in ("k", "j", "up", "down"):
            await pilot.press(key)
            seen.append(steps.highlighted)
        assert seen == [3, 2, 3, 2, 3]


@pytest.mark.parametrize("way", ["request", "ledger-entry", "change", "help"])
async def test_vim_and_arrow_keys_scroll_what_is_read(open_app: Open, way: str) -> None:
    async with open_app(size=(60, 14)) as pilot:
        await press(pilot, *WAYS[way])
        read = pilot.app.focused
        assert read is not None
        assert read.max_scroll_y > 1
        for down, up in (("j", "k"), ("down", "up")):
            await press(pilot, down)
            assert read.scroll_offset.y > 0
            await press(pilot, up)
            assert read.scroll_offset.y == 0


@pytest.mark.parametrize("way", ["overview", "account", "key", "request", "playground", "change"])
async def test_a_slash_finds_a_screen_where_there_is_no_list(open_app: Open, way: str) -> None:
    async with open_app() as pilot:
        await press(pilot, *WAYS[way], "slash")
        assert type(pilot.app.screen).__name__ == "PaletteScreen"


@pytest.mark.parametrize("key", ["2", "3", "4", "5", "6", "8"])
async def test_a_slash_searches_a_list_and_q_goes_back(open_app: Open, key: str) -> None:
    async with open_app() as pilot:
        await press(pilot, key, "slash")
        assert isinstance(pilot.app.focused, SearchLine)
        await press(pilot, "escape", "q")
        assert pilot.app.current_mode == "overview"


@pytest.mark.parametrize("way", [("6",), ("6", "enter"), ("1",)])
async def test_what_clients_wrote_does_not_drive_the_terminal(
    open_app: Open, fake: FakeService, way: tuple[str, ...]
) -> None:
    evil = "small\x1b]52;c;ZXZpbA==\x07\x9b2J\r\n"
    fake.requests[0] |= {"model": evil, "error": evil, "key_name": evil}
    live = fake.answers["live.show"]

    def told(params: dict[str, Any]) -> Any:
        found = live(params)
        found["problems"][0] |= {"name": evil, "words": evil}
        return found

    fake.answers["live.show"] = told
    async with open_app() as pilot:
        await press(pilot, *way, "r")
        drawn = [segment.text for strip in lines(pilot) for segment in strip]
        assert "small" in "".join(drawn)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", "".join(drawn))
