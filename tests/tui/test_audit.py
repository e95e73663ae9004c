"""Audit: who changed what, what is different since, and the way to the record."""

from __future__ import annotations

import pytest
from fakes import FakeService
from pilots import Open, call, settle
from textual.pilot import Pilot
from textual.widgets import Static

from tui.screens.audit import AuditScreen
from tui.screens.change import ChangeScreen, differences


async def audit(pilot: Pilot[None]) -> AuditScreen:
    await pilot.press("8", "r")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, AuditScreen)
    return screen


def lines(pilot: Pilot[None]) -> str:
    """What the screen in front shows, as text."""
    width, height = pilot.app.size
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips[:height])[: (width + 1) * height]


async def test_a_change_shows_before_and_after_in_signs_and_words(open_real: Open) -> None:
    async with open_real(size=(110, 50)) as pilot:
        await call(pilot, "accounts.create", name="acme")
        made = await call(pilot, "keys.create", account="acme", name="ci", models=["swift-*"])
        await call(pilot, "keys.update", key="ci", rpm=60, models=[])
        screen = await audit(pilot)
        assert [(item["method"], item["name"]) for item in screen.table.items][:2] == [
            ("keys.update", "ci"),
            ("keys.create", "ci"),
        ]
        await pilot.press("enter")
        await settle(pilot)
        change = pilot.app.screen
        assert isinstance(change, ChangeScreen)
        changed, same = differences(change._change)
        assert changed == [("~", "models", ["swift-*"], []), ("~", "rpm", None, 60)]
        assert ("name", "ci") in same
        shown = lines(pilot)
        for words in ("tester", "UTC", "Before", "After", "~", "rpm", "60"):
            assert words in shown, words
        assert made["key"] not in shown
        await pilot.press("q", "j", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChangeScreen)
        assert {sign for sign, *_ in differences(pilot.app.screen._change)[0]} == {"+"}


async def test_changes_are_looked_for_by_who_what_and_name(open_real: Open) -> None:
    async with open_real() as pilot:
        for name in ("acme", "cobalt"):
            await call(pilot, "accounts.create", name=name)
        await call(pilot, "credits.add", account="cobalt", usd="3")
        screen = await audit(pilot)
        for wanted, found in (("grants", []), ("credits", ["credits.add"]), ("acme", ["accounts.create"])):
            await pilot.press("slash", *wanted, "enter")
            await settle(pilot)
            assert [item["method"] for item in screen.table.items] == found
            await pilot.press("slash", "escape")
            await settle(pilot)


@pytest.mark.parametrize("opened", [False, True])
async def test_from_a_change_one_goes_to_its_record_and_back(open_app: Open, fake: FakeService, opened: bool) -> None:
    async with open_app() as pilot:
        await audit(pilot)
        await pilot.press("j", *(["enter"] if opened else []))
        await settle(pilot)
        await pilot.press("o")
        await settle(pilot)
        assert pilot.app.current_mode == "keys"
        assert ("keys.list", fake.keys[0]["id"]) in [(method, params.get("search")) for method, params in fake.asked]
        await pilot.press("q")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ChangeScreen if opened else AuditScreen)


async def test_a_change_of_no_record_leads_nowhere(open_app: Open) -> None:
    async with open_app() as pilot:
        screen = await audit(pilot)
        await pilot.press("G", "o")
        await settle(pilot)
        assert pilot.app.screen is screen
        await pilot.press("enter")
        await settle(pilot)
        assert "stayed as it was" in lines(pilot)
        assert pilot.app.screen.query_one("#same", Static).display is False
