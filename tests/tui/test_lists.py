"""What every list does: pages, search, a cursor that stays, words for nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from fakes import FakeService, key
from pilots import Open, call, fill, press, settle
from textual.pilot import Pilot
from textual.widgets import Static

from nexeon.errors import AdminError
from tests.patience import until
from tui.screens.accounts import AccountsScreen
from tui.screens.key import KeyScreen
from tui.screens.keys import KeysScreen
from tui.widgets.columns import Column, fit
from tui.widgets.search import PAUSE, SearchLine
from tui.widgets.table import RecordTable


async def keys_screen(pilot: Pilot[None]) -> KeysScreen:
    await pilot.press("3")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, KeysScreen)
    return screen


async def test_vim_and_arrow_keys_move_the_cursor(open_app: Open) -> None:
    async with open_app() as pilot:
        table = (await keys_screen(pilot)).table
        await pilot.press("j", "down", "j")
        assert table.cursor_row == 3
        await pilot.press("k", "up")
        assert table.cursor_row == 1
        await pilot.press("G")
        assert table.cursor_row == 3
        await pilot.press("g")
        assert table.cursor_row == 0


async def test_more_is_asked_for_near_the_end_only(open_app: Open, fake: FakeService) -> None:
    fake.keys = [key(number, f"key-{number:04}", fake.accounts[0]) for number in range(1000)]
    async with open_app() as pilot:
        table = (await keys_screen(pilot)).table
        assert len(table.items) == 100
        await pilot.press("G")
        await settle(pilot)
        assert 100 < len(table.items) < 1000
        assert table.item is not None
        assert table.item["name"] == "key-0099"
        for _ in range(9):
            await pilot.press("G")
            await settle(pilot)
        assert [item["name"] for item in table.items] == [f"key-{number:04}" for number in range(1000)]


async def test_a_reload_keeps_what_was_paged_through(open_app: Open, fake: FakeService) -> None:
    fake.keys = [key(number, f"key-{number:04}", fake.accounts[0]) for number in range(1000)]
    async with open_app() as pilot:
        table = (await keys_screen(pilot)).table
        for _ in range(5):
            await pilot.press("G")
            await settle(pilot)
        assert len(table.items) == 1000
        at = table.item
        fake.keys.insert(0, key(2000, "newest", fake.accounts[0]))
        await pilot.press("r")
        await settle(pilot)
        assert [item["name"] for item in table.items[:2]] == ["newest", "key-0000"]
        assert len(table.items) == 1001
        assert table.item == at


async def test_search_waits_for_a_pause_and_asks_the_service(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        screen = await keys_screen(pilot)
        fake.asked.clear()
        await pilot.press("slash", *"web")
        await pilot.pause(2 * PAUSE)
        await settle(pilot)
        searched = [params["search"] for method, params in fake.asked if params.get("search")]
        assert searched[-1] == "web"
        assert [item["name"] for item in screen.table.items] == ["web [prod]"]
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, KeyScreen)
        await pilot.press("q", "slash", "escape")
        await settle(pilot)
        assert len(screen.table.items) == 4
        assert not screen.query_one(SearchLine).display


async def test_numbers_are_text_in_the_search_line(open_app: Open) -> None:
    async with open_app() as pilot:
        screen = await keys_screen(pilot)
        await pilot.press("slash", "1", "q")
        assert pilot.app.screen is screen
        assert screen.query_one(SearchLine).value == "1q"


async def test_nothing_found_and_nothing_there_are_told_apart(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        screen = await keys_screen(pilot)
        words = screen.query_one("#nothing", Static)
        assert not words.display
        await pilot.press("slash", *"zzz", "enter")
        await settle(pilot)
        assert "Esc clears" in str(words.render())
        await pilot.press("escape")  # with the list in front, too
        await settle(pilot)
        assert not words.display
        assert len(screen.table.items) == 4
        await pilot.press("slash", "w", "enter", "escape")
        await settle(pilot)
        assert len(screen.table.items) == 4
        fake.keys = []
        await pilot.press("slash", "escape", "r")
        await settle(pilot)
        assert "no key yet" in str(words.render())


async def test_all_are_back_after_a_search_before_they_are_asked_for(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        table = (await keys_screen(pilot)).table
        names = [item["name"] for item in table.items]
        await press(pilot, "slash")
        fill_search(pilot, "zzz")
        await press(pilot, "enter")
        assert table.items == []
        fake.refuse["keys.list"] = AdminError("not now")
        await press(pilot, "escape")
        assert [item["name"] for item in table.items] == names
        assert table.display
        fake.refuse.clear()
        await press(pilot, "slash")
        fill_search(pilot, "web")
        await press(pilot, "enter")
        assert len(table.items) == 1
        fake.keys.insert(0, key(9, "newest", fake.accounts[0]))
        await press(pilot, "escape")
        assert [item["name"] for item in table.items] == ["newest", *names], "and then as they are now"


def fill_search(pilot: Pilot[None], text: str) -> None:
    pilot.app.screen.query_one(SearchLine).value = text


async def test_the_cursor_stays_on_its_record(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        table = (await keys_screen(pilot)).table
        await pilot.press("j", "j")
        fake.keys.insert(0, key(9, "newest", fake.accounts[0]))
        await pilot.press("r")
        await settle(pilot)
        assert table.item is not None
        assert table.item["name"] == "nightly"


def test_columns_give_way_in_their_order() -> None:
    columns = (Column("a", 10, flex=True), Column("b", 10, drop=1), Column("c", 10, drop=2))
    assert fit(columns, 60) == [(0, 34), (1, 10), (2, 10)]
    assert fit(columns, 30) == [(0, 16), (1, 10)]
    assert fit(columns, 5) == [(0, 10)]


def test_a_column_that_is_shown_whole_takes_room_of_others() -> None:
    columns = (Column("a", 10, flex=True, least=6), Column("b", 10, whole=True), Column("c", 10, drop=1))
    assert fit(columns, 36) == [(0, 10), (1, 10), (2, 10)]
    assert fit(columns, 40, {1: 12}) == [(0, 12), (1, 12), (2, 10)]
    assert fit(columns, 36, {1: 16}) == [(0, 16), (1, 16)]
    assert fit(columns, 22, {1: 12}) == [(0, 6), (1, 12)]
    assert fit(columns, 20, {1: 16}) == [(0, 6), (1, 16)]


async def test_a_search_that_takes_its_time_says_so(fake: FakeService, open_app: Open) -> None:
    going, slow, call = threading.Event(), threading.Event(), fake.call

    async def answer(method: str, /, **params: Any) -> Any:
        while slow.is_set() and params.get("search") and not going.is_set():  # noqa: ASYNC110 (another thread than the test)
            await asyncio.sleep(0.005)
        return await call(method, **params)

    fake.call = answer  # type: ignore[method-assign]
    async with open_app() as pilot:
        await press(pilot, "3", "slash")
        line = pilot.app.screen.query_one(SearchLine)
        slow.set()
        line.value = "laptop"
        pilot.app.simulate_key("enter")
        await until(lambda: line.busy)
        assert "searching" in line.render_line(0).text
        await until(lambda: isinstance(pilot.app.focused, RecordTable))  # the list can be used meanwhile
        going.set()
        await settle(pilot)
        assert not line.busy
        assert "searching" not in line.render_line(0).text
        fake.refuse["keys.list"] = AdminError("not now")
        line.value = "ci"
        line.tell()
        await settle(pilot)
        assert not line.busy


async def test_what_was_made_has_the_cursor(open_real: Open) -> None:
    async with open_real() as pilot:
        for name in ("a", "m"):
            await call(pilot, "accounts.create", name=name)
            await call(pilot, "keys.create", account=name, name=name)
        await press(pilot, "2", "r", "n")
        fill(pilot, name="z", usd="5")
        await press(pilot, "ctrl+s")
        accounts = pilot.app.screen
        assert isinstance(accounts, AccountsScreen)
        assert accounts.table.item is not None
        assert accounts.table.item["name"] == "z"
        await press(pilot, "k", "r")
        assert accounts.table.item["name"] == "m", "once: then it moves as one likes"
        await press(pilot, "3", "r", "n")
        fill(pilot, name="new", account="m")
        await press(pilot, "ctrl+s", "escape")
        keys = pilot.app.screen
        assert isinstance(keys, KeysScreen)
        assert keys.table.item is not None
        assert keys.table.item["name"] == "new"
