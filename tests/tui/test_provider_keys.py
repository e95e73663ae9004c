"""Provider keys: over a real service with a probe that a test decides about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fakes import FakeService
from pilots import Open, call, fill, press, settle, terminal
from textual.pilot import Pilot
from textual.widgets import Static

from nexeon.admin import AdminClient, AdminService
from nexeon.admin.client import LocalClient
from nexeon.store.memory import MemoryStore
from nexeon.store.requests import RequestLog
from tui.screens.form import FormScreen
from tui.screens.provider_keys import ProviderKeysScreen
from tui.screens.record import RecordScreen

SECRET = "sk-very-secret-0042"
Probed = Callable[[], Any]


@asynccontextmanager
async def screen_with(*labels: str, good: bool = True) -> AsyncIterator[tuple[Pilot[None], ProviderKeysScreen]]:
    async def probe(key: Any, secret: str) -> dict[str, Any]:
        assert secret == SECRET
        return {"ok": good, "message": "200" if good else "401: no such key"}

    async def connect() -> AdminClient:
        store, log = MemoryStore(), RequestLog(None)
        return LocalClient(AdminService(store, requests=log, probe=probe), "tester", log)

    async with terminal(connect) as pilot:
        for label in labels:
            await call(pilot, "provider_keys.add", provider="alpine", secret=SECRET, label=label)
        await pilot.press("4", "r")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ProviderKeysScreen)
        yield pilot, screen


def told(pilot: Pilot[None]) -> list[str]:
    return [f"{note.title} {note.message}".strip() for note in pilot.app._notifications]


@pytest.mark.parametrize("good", [True, False])
async def test_a_key_is_added_unseen_and_tested(good: bool) -> None:
    async with screen_with(good=good) as (pilot, screen):
        await pilot.press("n")
        await settle(pilot)
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        line = form.line("secret")
        assert line.password
        for name, value in {"provider": "alpine", "secret": SECRET, "label": "main", "rpm": "60"}.items():
            form.line(name).value = value
        await settle(pilot)
        picture = pilot.app.export_screenshot()
        assert SECRET not in picture
        await pilot.press("ctrl+s")
        await settle(pilot)
        key = screen.table.items[0]
        assert (key["provider"], key["label"], key["last4"], key["rpm"]) == ("alpine", "main", "0042", 60)
        result = "alpine main: works 200" if good else "alpine main: does not work 401: no such key"
        assert told(pilot) == ["Added alpine main", result]


async def test_a_key_is_tested_disabled_enabled_changed_and_deleted() -> None:
    async with screen_with("main", "spare") as (pilot, screen):
        await pilot.press("t")
        await settle(pilot)
        assert "alpine main: works 200" in told(pilot)
        await pilot.press("d", "y")
        await settle(pilot)
        assert [item["state"] for item in screen.table.items] == ["disabled", "active"]
        await pilot.press("d")
        await settle(pilot)
        assert [item["state"] for item in screen.table.items] == ["active", "active"]
        await pilot.press("e")
        fill(pilot, weight="3")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert screen.table.items[0]["weight"] == 3
        await pilot.press("x")
        question = str(pilot.app.screen.query_one(".question", Static).render())
        assert question == "Delete provider key `alpine main` (…0042)?"
        await pilot.press("y")
        await settle(pilot)
        assert [item["label"] for item in screen.table.items] == ["spare"]


async def test_states_and_reasons_are_told_and_searched(open_app: Open, fake: FakeService) -> None:
    async with open_app(size=(140, 30)) as pilot:
        await pilot.press("4")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, ProviderKeysScreen)
        cells = {item["label"]: [str(cell) for cell in screen.row(item)][3:5] for item in screen.table.items}
        assert cells["alpine 1"] == ["◐ cools 41 s", "rate limit (429)"]
        assert cells["borealis 2"] == ["✖ removed", "401: the key was revoked"]
        await pilot.press("slash", *"revoked", "enter")
        await settle(pilot)
        assert [item["label"] for item in screen.table.items] == ["borealis 2"]
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RecordScreen)


async def test_without_a_probe_the_way_to_one_is_told(open_real: Open) -> None:
    async with open_real() as pilot:
        await call(pilot, "provider_keys.add", provider="alpine", secret=SECRET)
        await pilot.press("4", "r")
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        assert "start `nexeon serve`" in told(pilot)[-1]


async def test_what_stands_in_the_configuration_is_changed_there(open_app: Open, fake: FakeService) -> None:
    fake.provider_keys[0]["id"] = "config:alpine"
    async with open_app() as pilot:
        await press(pilot, "4")
        for key in ("e", "d", "x"):
            await press(pilot, key)
            assert isinstance(pilot.app.screen, ProviderKeysScreen), "nothing is asked that would be refused"
            assert "stands in the configuration" in told(pilot)[-1]
        await press(pilot, "j", "e")
        assert isinstance(pilot.app.screen, FormScreen)
