"""Habits that hold everywhere: help, search, back, keys that follow each other fast, and a service that is slow."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, settle
from textual import events
from textual.widgets import Input

from tests.patience import PATIENCE
from tui.places import PLACES
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen
from tui.screens.help import HelpScreen
from tui.widgets.search import SearchLine

LISTS = [place.key for place in PLACES if place.mode in ("accounts", "keys", "provider_keys", "audit")]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.mode)
async def test_help_opens_and_closes(open_app: Open, place: Any) -> None:
    async with open_app() as pilot:
        await pilot.press(place.key)
        await settle(pilot)
        screen = pilot.app.screen
        assert not isinstance(pilot.app.focused, Input)
        await pilot.press("question_mark")
        await settle(pilot)
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("q")
        await settle(pilot)
        assert pilot.app.screen is screen


@pytest.mark.parametrize("key", LISTS)
async def test_what_is_typed_right_after_the_slash_is_no_command(open_app: Open, key: str) -> None:
    async with open_app() as pilot:
        await pilot.press(key)
        await settle(pilot)
        app, screen = pilot.app, pilot.app.screen
        # as a slow line brings them: all at once
        for each in ("slash", "x", "d", "n", "q", "1"):
            app.post_message(events.Key(each, "/" if each == "slash" else each))
        await settle(pilot)
        assert app.screen is screen
        assert screen.query_one(SearchLine).value == "xdnq1"


async def test_what_is_typed_right_after_a_tab_goes_to_the_next_field(open_app: Open) -> None:
    async with open_app() as pilot:
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("n")
        await settle(pilot)
        for each in ("a", "b", "tab", "1", "2", "enter", "5"):
            pilot.app.post_message(events.Key(each, each if len(each) == 1 else None))
        await settle(pilot)
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        assert form.values() == {"name": "ab", "usd": "12", "soft_limit": "5"}


@pytest.mark.parametrize(
    ("keys", "question"),
    [
        (("2", "x"), "Delete account `acme`?"),
        (("2", "d"), "Disable account `acme`?"),
        (("3", "x"), "Delete key `ci` (…0000)?"),
        (("3", "d"), "Disable key `ci`?"),
        (("4", "x"), "Delete provider key `alpine alpine 0` (…0000)?"),
        (("4", "d"), "Disable provider key `alpine alpine 0`?"),
        (("2", "enter", "x"), "Delete account `acme`?"),
        (("2", "enter", "d"), "Disable account `acme`?"),
        (("3", "enter", "x"), "Delete key `ci` (…0000)?"),
        (("3", "enter", "d"), "Disable key `ci`?"),
    ],
)
async def test_what_destroys_names_the_thing_and_asks_once(
    open_app: Open, fake: FakeService, keys: tuple[str, ...], question: str
) -> None:
    deleted: list[str] = []
    for method in ("accounts", "keys", "provider_keys"):
        for verb in ("delete", "disable"):
            name = f"{method}.{verb}"
            fake.answers[name] = lambda params, name=name: deleted.append(name) or {"id": "x"}
    async with open_app() as pilot:
        for key in keys:
            await pilot.press(key)
            await settle(pilot)
        assert isinstance(pilot.app.screen, ConfirmScreen)
        assert str(pilot.app.screen.query_one(".question").render()) == question
        await pilot.press("enter")
        await settle(pilot)
        assert deleted == [], "enter keeps"
        await pilot.press(keys[-1])
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        assert len(deleted) == 1


async def test_a_service_that_blocks_does_not_hold_up_the_screen(open_app: Open, fake: FakeService) -> None:
    free = threading.Event()
    accounts = fake.answers["accounts.list"]

    ended: list[bool] = []

    def slow(params: dict[str, Any]) -> Any:
        ended.append(free.wait(2 * PATIENCE))
        return accounts(params)

    async with open_app() as pilot:
        fake.answers["accounts.list"] = slow
        try:
            await pilot.press("2", "question_mark")
            assert isinstance(pilot.app.screen, HelpScreen)
            await pilot.press("q")
            assert pilot.app.current_mode == "accounts"
            assert ended == []
        finally:
            free.set()
        await settle(pilot)
