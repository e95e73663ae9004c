"""Requests: the live log, its filters, and one request in full."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, settle
from textual.pilot import Pilot
from textual.widgets import Static

from nexeon.errors import NotFound
from tui.screens.request import RequestScreen
from tui.screens.requests import RequestsScreen, parse
from tui.widgets.bodies import BodyPane
from tui.widgets.search import SearchLine
from tui.widgets.tabs import TabLine


async def requests_screen(pilot: Pilot[None]) -> RequestsScreen:
    await pilot.press("6")
    await settle(pilot)
    assert isinstance(pilot.app.screen, RequestsScreen)
    return pilot.app.screen


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("", {}),
        ("swift-2", {"model": "swift-2"}),
        ("model:a/b:free key:ci", {"model": "a/b:free", "key": "ci"}),
        ("429 key_00ff acc_1", {"status": 429, "key": "key_00ff", "account": "acc_1"}),
        ("status:failed provider:one", {"failed": True, "provider": "one"}),
        ("failed model:", {"failed": True}),
        ("status:4x", {}),
    ],
)
def test_what_the_search_means(text: str, filters: dict[str, Any]) -> None:
    assert parse(text) == filters


async def test_the_service_filters(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        screen = await requests_screen(pilot)
        assert len(screen.table.items) == 60
        await pilot.press("slash", *"key:laptop", "enter")
        await settle(pilot)
        assert {item["key_name"] for item in screen.table.items} == {"laptop"}
        await pilot.press("f")
        await settle(pilot)
        assert screen.query_one(SearchLine).value == "key:laptop failed"
        assert [item["status"] for item in screen.table.items] == [502]
        await pilot.press("f")
        await settle(pilot)
        assert len(screen.table.items) == 20


async def test_a_request_is_asked_for_once_and_again_when_somebody_comes_back(
    open_app: Open, fake: FakeService
) -> None:
    async with open_app() as pilot:
        await requests_screen(pilot)
        fake.asked.clear()
        await pilot.press("enter")
        await settle(pilot)
        assert fake.methods().count("requests.show") == 1
        await pilot.press("1")
        await settle(pilot)
        await pilot.press("6")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RequestScreen)
        assert fake.methods().count("requests.show") == 2


async def test_new_requests_come_at_the_top_unless_it_is_paused(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        screen = await requests_screen(pilot)
        newest = fake.requests[0] | {"id": "req_newest00000000"}
        fake.requests.insert(0, newest)
        await pilot.press("r")
        await settle(pilot)
        assert screen.table.item is not None
        assert screen.table.item["id"] == "req_newest00000000"
        await pilot.press("j", "p")
        fake.requests.insert(0, newest | {"id": "req_newer000000000"})
        screen.load()
        await settle(pilot)
        assert screen.table.items[0]["id"] == "req_newest00000000"
        await pilot.press("p")
        await settle(pilot)
        assert screen.table.items[0]["id"] == "req_newer000000000"
        # the cursor stays where it is looked at
        assert screen.table.cursor_row == 2


async def test_one_request_tells_its_whole_story(open_app: Open) -> None:
    async with open_app(size=(120, 60)) as pilot:
        await requests_screen(pilot)
        await pilot.press("enter")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RequestScreen)
        picture = pilot.app.export_screenshot(simplify=True).replace("&#160;", " ")
        for words in ("acme", "admitted", "alpine/swift-2-up", "503", "cached input", "0.004215 USD"):
            assert words in picture, words
        await pilot.press("tab")
        await settle(pilot)
        panes = list(screen.query(BodyPane))
        assert [str(pane.border_title) for pane in panes][:2] == [
            "The client's (house.chat)",
            "The provider's (alpine)",
        ]
        assert "swift-2-up" in str(panes[1].query_one(Static).render())
        assert "Name [three] rivers." in str(panes[0].query_one(Static).render())
        assert screen.query_one(TabLine).active == 1
        await pilot.press("q")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RequestsScreen)


async def test_a_request_is_opened_by_its_id(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        await requests_screen(pilot)
        await pilot.press("slash", *"req_0000000000000005", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RequestScreen)
        assert ("requests.show", {"request": "req_0000000000000005"}) in fake.asked
        fake.refuse["requests.show"] = NotFound("no request `x` in the log")
        await pilot.press("r")
        await settle(pilot)
        assert "no request" in str(pilot.app.screen.query_one("#problem", Static).render())


async def test_dropped_fields_and_fall_backs_are_seen_in_the_list(open_app: Open) -> None:
    async with open_app(size=(200, 30)) as pilot:
        screen = await requests_screen(pilot)
        notes = [str(screen.row(item)[-1]) for item in screen.table.items]
        assert notes[0] == "2 attempts"
        assert notes[5] == "dropped seed, reasoning.effort"
        assert "60 times a minute" in notes[3]
