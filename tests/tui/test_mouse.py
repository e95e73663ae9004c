"""What keys do, by mouse: each thing that can be done is within a click or two."""

from __future__ import annotations

import pytest
from pilots import Open, press, settle
from textual.pilot import Pilot

from tui.screens.form import FormScreen
from tui.screens.help import HelpScreen
from tui.screens.palette import PaletteScreen
from tui.screens.pick import PickScreen
from tui.widgets.keyline import KeyLine
from tui.widgets.table import RecordTable


def place(pilot: Pilot[None], words: str) -> tuple[int, int]:
    """Where those words are on the screen."""
    for y, strip in enumerate(pilot.app.screen._compositor.render_strips()):
        if (x := strip.text.find(words)) >= 0:
            return x, y
    raise AssertionError(f"{words} is not on the screen")


async def click(pilot: Pilot[None], words: str) -> None:
    await pilot.click(offset=place(pilot, words))
    await settle(pilot)


@pytest.mark.parametrize(("size", "words"), [((80, 24), "…"), ((160, 48), "NeXeon")])
async def test_what_has_no_room_is_a_click_away(open_app: Open, size: tuple[int, int], words: str) -> None:
    async with open_app(size=size) as pilot:
        await press(pilot, "2")
        if words == "…":
            line = pilot.app.screen.query_one(KeyLine)
            await pilot.click(line, offset=(str(line.render()).index(words) + line.styles.padding.left, 0))
            await settle(pilot)
        else:
            await click(pilot, words)
        assert isinstance(pilot.app.screen, PaletteScreen)
        await click(pilot, "Its keys")
        assert pilot.app.current_mode == "keys"


@pytest.mark.parametrize(
    ("keys", "kind"), [(("question_mark",), HelpScreen), (("ctrl+p",), PaletteScreen), (("3", "n"), FormScreen)]
)
async def test_a_click_beside_a_dialog_leaves_it_where_nothing_is_lost(
    open_app: Open, keys: tuple[str, ...], kind: type[object]
) -> None:
    async with open_app() as pilot:
        await press(pilot, *keys)
        assert isinstance(pilot.app.screen, kind)
        box = pilot.app.screen.query_one(".dialog").region
        await pilot.click(offset=(box.x + 3, box.y))
        await settle(pilot)
        assert isinstance(pilot.app.screen, kind), "that is the dialog's own border"
        await pilot.click(offset=(0, 1))
        await settle(pilot)
        assert isinstance(pilot.app.screen, kind) == (kind is FormScreen)


async def test_names_are_picked_marked_and_taken_by_mouse(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await press(pilot, "3", "n")
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        line = form.line("models")
        wanted = line.field.options[:2]
        await pilot.click(line, offset=(line.size.width - 1, 0))
        await settle(pilot)
        assert isinstance(pilot.app.screen, PickScreen)
        for each in wanted:
            await click(pilot, each)
        await click(pilot, "ctrl+s takes")
        assert pilot.app.screen is form
        assert line.answer == ", ".join(wanted)
        await pilot.click(line, offset=(line.size.width - 1, 0))
        await settle(pilot)
        await click(pilot, "esc leaves")
        assert pilot.app.screen is form
        assert line.answer == ", ".join(wanted)


async def test_rows_are_chosen_opened_and_scrolled(open_app: Open) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await press(pilot, "5")
        table = pilot.app.screen.query_one(RecordTable)
        await pilot.click(table, offset=(5, 3))
        await settle(pilot)
        assert table.cursor_row == 2
        await press(pilot, "6")
        table = pilot.app.screen.query_one(RecordTable)
        await pilot.click(table, offset=(5, 2))
        await pilot.click(table, offset=(5, 2))
        await settle(pilot)
        assert len(pilot.app.screen_stack) == 2
        await click(pilot, "q Back")
        assert len(pilot.app.screen_stack) == 1
