"""Models & routes: prices, health, the configuration, and what becomes of a pasted request."""

from __future__ import annotations

import asyncio
import json

from fakes import FakeService
from pilots import Open, press, settle
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Static, TextArea

from tests.patience import until
from tui.screens.explain import ExplainScreen
from tui.screens.models import ModelsScreen, RoutesScreen
from tui.screens.record import RecordScreen
from tui.widgets.tabs import TabLine


def picture(pilot: Pilot[None]) -> str:
    return pilot.app.export_screenshot(simplify=True).replace("&#160;", " ")


async def models_screen(pilot: Pilot[None]) -> ModelsScreen:
    await pilot.press("5")
    await settle(pilot)
    assert isinstance(pilot.app.screen, ModelsScreen)
    return pilot.app.screen


async def test_targets_and_prices_stand_beside_the_list(open_app: Open) -> None:
    async with open_app(size=(150, 40)) as pilot:
        await models_screen(pilot)
        await pilot.press("j", "j")
        await settle(pilot)
        shown = picture(pilot)
        for words in (
            "borealis/granite-large-up",
            "left alone after 5 failures",
            "answers in 420 ms",
            "not called yet",
        ):
            assert words in shown, words
        assert "falls back to" in shown


async def test_routes_and_the_configuration(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await models_screen(pilot)
        await pilot.press("o")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RoutesScreen)
        assert "/v1/notes/{model}" in picture(pilot)
        await pilot.press("slash", *"chat", "enter")
        await settle(pilot)
        assert [item["path"] for item in pilot.app.screen.table.items] == ["/v1/chat"]
        await pilot.press("q", "c")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RecordScreen)
        assert "[hidden]" in picture(pilot)


async def test_a_pasted_request_is_explained_for_each_target(open_app: Open, fake: FakeService) -> None:
    async with open_app(size=(150, 40)) as pilot:
        await models_screen(pilot)
        await pilot.press("e")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ExplainScreen)
        assert (
            "explain",
            {name: value for name, value in fake.asked[-1][1].items() if name != "request"},
        ) == ("explain", {"model": "swift-2", "format": "house.chat"})
        screen.query_one(TextArea).text = json.dumps({"say": "mine", "seed": 1})
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert fake.asked[-1][1]["request"] == {"say": "mine", "seed": 1}
        told = screen.query_one("#told Static", Static)
        first = str(told.render())
        assert "dropped seed  house.chat.yaml:14" in first
        assert '"say": "mine"' in first
        screen.query_one(TabLine).focus()
        await press(pilot, "right")
        assert str(told.render()).startswith("✖ `video` cannot be said [here]")
        screen.query_one(TextArea).text = "{no"
        asked = len(fake.asked)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert len(fake.asked) == asked
        await pilot.press("q")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ModelsScreen)


async def test_a_request_is_pasted_anywhere_and_stays_when_the_format_changes(
    open_app: Open, fake: FakeService
) -> None:
    async with open_app(size=(150, 40)) as pilot:
        await press(pilot, "5", "e")
        screen = pilot.app.screen
        assert isinstance(screen, ExplainScreen)
        mine = {"model": "swift-2-mini", "say": "x" * 100_000}
        screen.post_message(Paste(json.dumps(mine)))
        await settle(pilot)
        assert fake.asked[-1] == ("explain", {"model": "swift-2-mini", "format": "house.chat", "request": mine})
        screen.query_one("#format").focus()
        await press(pilot, "right")
        assert fake.asked[-1][1]["format"] == "house.notes"
        assert fake.asked[-1][1]["request"] == mine
        screen.set_focus(None)
        screen.post_message(Paste("[1, 2"))
        await settle(pilot)
        assert "not JSON" in [str(each.message) for each in pilot.app._notifications][-1]


async def test_explain_can_be_left_before_it_is_whole(open_app: Open) -> None:
    async with open_app() as pilot:
        await press(pilot, "5")
        for turns in range(20):
            pilot.app.simulate_key("e")
            await until(lambda: len(pilot.app.screen_stack) == 2)
            for _ in range(turns * 3):
                await asyncio.sleep(0)
            pilot.app.simulate_key("q")
            await until(lambda: len(pilot.app.screen_stack) == 1)
        await settle(pilot)
        assert isinstance(pilot.app.screen, ModelsScreen)
