"""What is told in passing, while a dialog is open."""

from __future__ import annotations

import pytest
from pilots import Open, press, settle
from textual.widgets import Button
from textual.widgets._toast import Toast


@pytest.mark.parametrize(("mode", "key"), [("2", "plus"), ("2", "x"), ("3", "n"), ("4", "n"), ("3", "x"), ("3", "t")])
async def test_nothing_covers_the_buttons_of_a_dialog(open_app: Open, mode: str, key: str) -> None:
    async with open_app(size=(80, 24), toasts=True) as pilot:
        await press(pilot, mode, key)
        dialog = pilot.app.screen
        assert dialog.is_modal
        pilot.app.notify("Granted 0.50 USD to account `acme`")
        pilot.app.notify("the gateway said at some length what was wrong. " * 3, title="Refused", severity="error")
        await settle(pilot)
        toasts = [toast.region for toast in dialog.query(Toast)]
        assert len(toasts) == 2
        assert all(toast.area for toast in toasts)
        buttons = [button.region for button in dialog.query(Button)]
        assert buttons
        assert all(dialog.region.contains_region(button) for button in buttons)
        assert not any(toast.overlaps(button) for toast in toasts for button in buttons)


async def test_what_is_told_stands_in_one_place(open_app: Open) -> None:
    async with open_app(size=(80, 24), toasts=True) as pilot:
        await press(pilot, "2")
        pilot.app.notify("The gateway answers again.")
        await settle(pilot)
        await press(pilot, "plus")
        strips = pilot.app.screen._compositor.render_strips()
        assert [y for y, strip in enumerate(strips) if "answers again" in strip.text] == [0]
        await press(pilot, "escape")
        strips = pilot.app.screen._compositor.render_strips()
        assert [y for y, strip in enumerate(strips) if "answers again" in strip.text] == [21]


async def test_a_short_one_covers_nothing_of_the_tallest_dialog(open_app: Open) -> None:
    async with open_app(size=(80, 24), toasts=True) as pilot:
        await press(pilot, "3", "n")
        pilot.app.notify("The gateway answers again.")
        await settle(pilot)
        [toast] = pilot.app.screen.query(Toast)
        assert toast.region.area
        assert not toast.region.overlaps(pilot.app.screen.query_one(".dialog").region)
