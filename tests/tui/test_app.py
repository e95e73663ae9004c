"""What works on every screen: the way about, help, the palette, themes, and a connection that is lost."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, press, settle, terminal
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, Static

from nexeon.errors import AdminError, AdminUnreachable, NexeonError
from tests.patience import until
from tui.app import AdminApp
from tui.places import PLACES
from tui.screens.change import ChangeScreen
from tui.screens.help import HelpScreen
from tui.screens.palette import PaletteScreen
from tui.themes import LIGHT
from tui.widgets.nav import Nav
from tui.widgets.table import RecordTable


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.mode)
async def test_each_screen_has_a_number_and_no_input_has_the_focus(open_app: Open, place: object) -> None:
    async with open_app() as pilot:
        await pilot.press(place.key)  # type: ignore[attr-defined]
        await settle(pilot)
        assert pilot.app.current_mode == place.mode  # type: ignore[attr-defined]
        assert type(pilot.app.screen).__name__ == place.screen  # type: ignore[attr-defined]
        assert not isinstance(pilot.app.focused, Input)


async def test_screens_are_made_ahead_and_open_with_what_was_known_then(fake: FakeService, open_app: Open) -> None:
    ready: list[int] = []
    async with open_app(ahead=True, settled=lambda: ready.append(1)) as pilot:
        await until(lambda: len(ready) == len(PLACES))
        fake.gone = True  # so that nothing comes later
        asked = len(fake.asked)
        for place in PLACES[1:]:
            await pilot.press(place.key)
            assert pilot.app.current_mode == place.mode
            nav = pilot.app.screen.query_one(Nav)
            assert nav.current == place.mode
            if pilot.app.screen.query("#list"):
                assert pilot.app.screen.query_one("#list", RecordTable).items
        assert len(fake.asked) > asked


async def test_screens_made_ahead_ask_for_nothing_until_they_are_looked_at(fake: FakeService, open_app: Open) -> None:
    ready: list[int] = []
    async with open_app(ahead=True, settled=lambda: ready.append(1)) as pilot:
        await until(lambda: len(ready) == len(PLACES))
        screens = [stack[0] for mode, stack in pilot.app._screen_stacks.items() if mode != "overview"]
        assert len(screens) == len(PLACES) - 1
        assert not any(screen._clock._active.is_set() for screen in screens if screen._clock)  # type: ignore[attr-defined]
        await pilot.press("3")
        assert pilot.app.screen._clock._active.is_set()  # type: ignore[attr-defined]


async def test_back_goes_the_way_one_came_and_then_out(open_app: Open) -> None:
    async with open_app() as pilot:
        for key in ("3", "8", "enter"):
            await pilot.press(key)
            await settle(pilot)
        assert isinstance(pilot.app.screen, ChangeScreen)
        seen = []
        for _ in range(3):
            await pilot.press("q")
            await settle(pilot)
            seen.append(pilot.app.current_mode)
        assert seen == ["audit", "keys", "overview"]
        await pilot.press("q")
        await pilot.pause()
        assert not pilot.app.is_running or pilot.app._exit


async def test_the_line_at_the_top_is_for_the_mouse(open_app: Open) -> None:
    async with open_app(size=(120, 30)) as pilot:
        nav = pilot.app.screen.query_one("Nav")
        place = nav.render().plain.index("3 Keys")  # type: ignore[attr-defined, union-attr]
        await pilot.click("Nav", offset=(place + 2, 0))
        await settle(pilot)
        assert pilot.app.current_mode == "keys"


@pytest.mark.parametrize(("width", "words"), [(120, "Provider keys"), (80, "8 Audit"), (30, "8")])
async def test_the_line_at_the_top_fits(open_app: Open, width: int, words: str) -> None:
    async with open_app(size=(width, 24)) as pilot:
        line = pilot.app.screen.query_one("Nav").render().plain  # type: ignore[attr-defined, union-attr]
        assert len(line) <= width
        assert words in line


async def test_help_names_the_keys_of_the_screen(open_app: Open) -> None:
    async with open_app(size=(100, 50)) as pilot:
        await pilot.press("8", "question_mark")
        await settle(pilot)
        assert isinstance(pilot.app.screen, HelpScreen)
        assert "newest first" in str(pilot.app.screen.query(Static).first().render())
        await pilot.press("q")
        await settle(pilot)
        assert not isinstance(pilot.app.screen, HelpScreen)


async def test_the_palette_finds_a_screen(open_app: Open) -> None:
    async with open_app() as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PaletteScreen)
        await pilot.press(*"go audit")
        await pilot.press("enter")
        await settle(pilot)
        assert pilot.app.current_mode == "audit"


async def test_dark_and_light(open_app: Open) -> None:
    async with open_app() as pilot:
        assert pilot.app.current_theme.dark
        await pilot.press("ctrl+t")
        assert not pilot.app.current_theme.dark


async def test_a_gateway_that_goes_away_is_told_and_found_again(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        app = pilot.app
        assert isinstance(app, AdminApp)
        assert app.whereabouts == ("up", "gateway", fake.place)
        await pilot.press("3")
        await settle(pilot)
        fake.gone = True
        await pilot.press("r")
        await settle(pilot)
        assert app.whereabouts[0] == "lost"
        assert "lost" in str(app.screen.query_one("#where", Static).render())
        fake.gone = False
        app._seek()
        await settle(pilot)
        assert app.whereabouts[0] == "up"


async def test_who_was_never_reached_and_why_is_told(fake: FakeService) -> None:
    errors: list[NexeonError] = [AdminUnreachable("nobody there", sent=False), AdminError("another token")]

    async def connect() -> FakeService:
        if errors:
            raise errors[0]
        return fake

    async with terminal(connect) as pilot:
        app = pilot.app
        for error, sign in ((errors[0], "lost, trying again"), (errors[1], "not connected")):
            errors[:] = [error]
            for place in ("1", "2"):
                await press(pilot, place, "r")
                problem = app.screen.query_one("#problem", Static)
                assert problem.display
                assert str(error) in str(problem.render())
                assert sign in str(app.screen.query_one("#where", Static).render())
        errors.clear()
        await press(pilot, "r")
        assert not app.screen.query_one("#problem").display
        assert "gateway" in str(app.screen.query_one("#where", Static).render())


async def test_a_refused_list_says_why_until_it_works(open_app: Open, fake: FakeService) -> None:
    fake.refuse["audit.list"] = AdminError("no [such] thing")
    async with open_app() as pilot:
        await pilot.press("8")
        await settle(pilot)
        problem = pilot.app.screen.query_one("#problem", Static)
        assert problem.display
        assert "no [such] thing" in str(problem.render())
        fake.refuse.clear()
        await pilot.press("r")
        await settle(pilot)
        assert not problem.display


async def test_without_colour_everything_is_said_in_grey(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_app() as pilot:
        picture = pilot.app.export_screenshot()
        for colour in re.findall(r"fill: #([0-9a-f]{6})", picture):
            red, green, blue = (int(colour[at : at + 2], 16) for at in (0, 2, 4))
            assert max(red, green, blue) - min(red, green, blue) < 8, colour
        words = pilot.app.export_screenshot(simplify=True)
        assert "✖" in words
        assert "▲" in words


async def test_screens_behind_take_another_theme_before_they_are_opened(open_app: Open) -> None:
    def colours(pilot: Pilot[None]) -> list[str]:
        return re.findall(r"fill: (#[0-9a-f]{6})", pilot.app.export_screenshot())

    async with open_app(theme=LIGHT.name) as pilot:
        await press(pilot, "2")
        expected = colours(pilot)
    async with open_app() as pilot:
        await press(pilot, "2", "3", "ctrl+t")
        app = pilot.app
        await until(lambda: all(each._css_update_count == app._css_update_count for each in stacked(app)))
        await press(pilot, "2")
        assert colours(pilot) == expected


def stacked(app: App[Any]) -> list[Screen[Any]]:
    return [screen for stack in app._screen_stacks.values() for screen in stack]


@pytest.mark.parametrize("width", [80, 160])
async def test_a_gateway_far_away_is_not_taken_for_the_one_here(open_app: Open, fake: FakeService, width: int) -> None:
    fake.place = "https://me:secret@gateway.example:8443"
    async with open_app(size=(width, 24)) as pilot:
        shown = str(pilot.app.screen.query_one("#where", Static).render())
        assert "gateway.example:8443" in shown
        assert "secret" not in shown
