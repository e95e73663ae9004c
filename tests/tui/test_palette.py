"""The command palette: what it finds, in which order, and what it does then."""

from __future__ import annotations

import pytest
from fakes import FakeService
from pilots import Open, press
from textual.pilot import Pilot

from tui.commands import Command, matching
from tui.screens.confirm import ConfirmScreen
from tui.screens.palette import PaletteScreen
from tui.widgets.choices import Choices

COMMANDS = [
    Command(title, words, lambda: None)
    for title, words in (
        ("Edit", "e · here"),
        ("Go to Keys", "3 · clients' keys: limits, budgets, scopes"),
        ("Go to Provider keys", "4 · the operator's keys at providers"),
        ("Dark or light", "ctrl+t · the other theme"),
        ("First steps", "an account, a key, a provider key, a test call"),
    )
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", [command.title for command in COMMANDS]),
        ("keys", ["Go to Keys", "Go to Provider keys"]),
        ("key go", ["Go to Keys", "Go to Provider keys"]),
        ("GO TO K", ["Go to Keys", "Go to Provider keys"]),
        ("gtpk", ["Go to Provider keys"]),
        ("theme", ["Dark or light"]),
        ("drlgt", ["Dark or light"]),
        ("fi", ["First steps"]),
        ("nobody", []),
    ],
)
def test_what_is_found(wanted: str, found: list[str]) -> None:
    titles = [command.title for command in matching(COMMANDS, wanted)]
    assert [title for title in titles if title in found] == found
    assert wanted != "nobody" or not titles


def palette(pilot: Pilot[None]) -> PaletteScreen:
    assert isinstance(pilot.app.screen, PaletteScreen)
    return pilot.app.screen


def lines(pilot: Pilot[None]) -> list[str]:
    choices = palette(pilot).query_one(Choices)
    return ["".join(segment.text for segment in choices.render_line(y)).strip() for y in range(choices.size.height)]


async def test_letters_narrow_arrows_choose_and_enter_does_it(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        await press(pilot, "3", "ctrl+p", *"go pro")
        assert lines(pilot)[0].startswith("Go to Provider keys")
        await press(pilot, *("backspace",) * 3, "down", "enter")
        assert pilot.app.current_mode == "accounts"


async def test_an_act_of_the_screen_in_front_is_done_there(open_app: Open) -> None:
    async with open_app() as pilot:
        await press(pilot, "3", "ctrl+p", *"delete", "enter")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await press(pilot, "escape", "ctrl+p")
        assert lines(pilot)[0].startswith("Search"), "all of them again"


@pytest.mark.parametrize("left", ["escape", "ctrl+p"])
async def test_it_is_left_and_what_nothing_matches_is_said(open_app: Open, left: str) -> None:
    async with open_app() as pilot:
        await press(pilot, "8", "ctrl+p", *"zzz")
        assert lines(pilot)[0] == "Nothing matches."
        await press(pilot, "enter")
        assert palette(pilot)
        await press(pilot, left)
        assert len(pilot.app.screen_stack) == 1
        assert pilot.app.current_mode == "audit"


async def test_a_click_chooses(open_app: Open) -> None:
    async with open_app() as pilot:
        await press(pilot, "1", "ctrl+p", *"go to")
        await pilot.click(Choices, offset=(3, 2))
        await press(pilot, "r")
        assert pilot.app.current_mode == "keys"
