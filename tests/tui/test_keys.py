"""Keys: over a real service."""

from __future__ import annotations

import asyncio

from fakes import FakeService
from pilots import Open, call, fill, press, settle
from textual.pilot import Pilot
from textual.widgets import Static

from nexeon.store.secrets import digest
from tests.patience import until
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen
from tui.screens.key import KeyScreen
from tui.screens.keys import KeysScreen
from tui.screens.pick import PickScreen
from tui.screens.secret import SecretScreen
from tui.widgets.field import FieldLine


async def keys(pilot: Pilot[None], *names: str) -> KeysScreen:
    """The screen, with keys of those names of account `acme`."""
    await call(pilot, "accounts.create", name="acme")
    for name in names:
        await call(pilot, "keys.create", account="acme", name=name)
    await pilot.press("3", "r")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, KeysScreen)
    return screen


async def test_a_new_keys_secret_is_shown_once_and_copied_by_one_key(open_real: Open) -> None:
    async with open_real() as pilot:
        screen = await keys(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert isinstance(pilot.app.screen, FormScreen)
        assert pilot.app.screen.values()["account"] == "acme", "there is just one"
        fill(pilot, name="ci", budget="20", period="month", models="swift-*, slow", scopes="read", rpm="60")
        await pilot.press("ctrl+s")
        await settle(pilot)
        shown = pilot.app.screen
        assert isinstance(shown, SecretScreen)
        secret = str(shown.query_one("#secret", Static).render())
        assert secret.startswith("nex-sk-")
        await pilot.press("q")
        assert pilot.app.screen is shown, "closed by what says so only"
        await pilot.press("y")
        assert pilot.app.clipboard == secret
        await pilot.press("escape")
        await settle(pilot)
        key = screen.table.items[0]
        assert (key["models"], key["scopes"], key["rpm"]) == (["swift-*", "slow"], ["read"], 60)
        assert (key["budget"], key["period"]) == ("20.00", "month")
        store = pilot.app.link._client._service.store  # type: ignore[attr-defined]
        assert [each.hash for each in await store.api_keys()] == [digest(secret)]


async def test_what_is_left_empty_in_an_edit_is_no_longer_limited(open_real: Open) -> None:
    async with open_real() as pilot:
        screen = await keys(pilot)
        await call(pilot, "keys.create", account="acme", name="ci", rpm=5, budget="3", models=["a"])
        await pilot.press("r")
        await settle(pilot)
        await pilot.press("e")
        await settle(pilot)
        fill(pilot, rpm="", budget="", models="", name="ci-2")
        await pilot.press("ctrl+s")
        await settle(pilot)
        key = screen.table.items[0]
        assert (key["name"], key["rpm"], key["budget"], key["models"]) == ("ci-2", None, None, [])


async def test_a_key_is_rotated_with_an_overlap_that_is_told(open_real: Open) -> None:
    async with open_real() as pilot:
        screen = await keys(pilot, "ci")
        before = screen.table.items[0]
        await pilot.press("t")
        await pilot.press("ctrl+s")
        await settle(pilot)
        asked = pilot.app.screen
        assert isinstance(asked, ConfirmScreen)
        assert str(asked.query_one(".question", Static).render()) == "Rotate key `ci`?"
        assert before["last4"] in str(asked.query_one(".words", Static).render())
        await pilot.press("y")
        await settle(pilot)
        assert isinstance(pilot.app.screen, SecretScreen)
        await pilot.press("escape")
        await settle(pilot)
        after = screen.table.items[0]
        assert after["last4"] != before["last4"]
        assert after["previous_until"] is not None


async def test_a_key_is_disabled_enabled_and_deleted(open_real: Open) -> None:
    async with open_real() as pilot:
        screen = await keys(pilot, "ci", "laptop")
        await pilot.press("d", "n")
        await settle(pilot)
        assert screen.table.items[0]["state"] == "active"
        await pilot.press("d", "y")
        await settle(pilot)
        assert screen.table.items[0]["state"] == "disabled"
        await pilot.press("d")
        await settle(pilot)
        assert screen.table.items[0]["state"] == "active"
        await pilot.press("x", "y")
        await settle(pilot)
        assert [item["name"] for item in screen.table.items] == ["laptop"]


async def test_one_key_shows_its_budget_and_account(open_real: Open) -> None:
    async with open_real() as pilot:
        await keys(pilot, "ci")
        await call(pilot, "keys.update", key="ci", budget="5", period="day")
        await pilot.press("enter")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, KeyScreen)
        lines = {label: value.plain for label, value in screen._lines()}
        assert lines["Account"].startswith("acme ")
        assert "5.00 left" in lines["Spent"]
        assert lines["Last used"] == "not in the log of requests"
        await pilot.press("x", "y")
        await settle(pilot)
        assert isinstance(pilot.app.screen, KeysScreen)


async def test_a_key_needs_an_account_first(open_real: Open) -> None:
    async with open_real() as pilot:
        await pilot.press("3")
        await settle(pilot)
        screen = pilot.app.screen
        await pilot.press("n")
        await settle(pilot)
        assert pilot.app.screen is screen
        assert "Make an account first" in [str(note.message) for note in pilot.app._notifications][-1]


async def test_models_are_picked_as_one_types(open_app: Open, fake: FakeService) -> None:
    fake.answers["models.list"] = lambda params: {
        "items": [{"id": f"model-{number}"} for number in range(900)],
        "next": None,
    }
    fake.answers["routes.list"] = lambda params: {"items": [{"id": "POST /v1/x", "path": "/v1/x"}], "next": None}
    fake.answers["configuration.show"] = lambda params: {"providers": {"alpine": {}}}
    async with open_app() as pilot:
        await pilot.press("3")
        await settle(pilot)
        await pilot.press("e")
        await settle(pilot)
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        fill(pilot, models="own-*")
        form.line("models").focus()
        await pilot.press("ctrl+o")
        await settle(pilot)
        pick = pilot.app.screen
        assert isinstance(pick, PickScreen)
        await pilot.press(*"-899", "space")  # marks where one types, too
        assert str(pick.query_one("#picked").render()) == "2 marked: own-*, model-899"
        await pilot.press("space", "down", "space", "ctrl+s")
        await settle(pilot)
        assert form.values()["models"] == "model-899, own-*"
        form.line("scopes").focus()
        await pilot.press("ctrl+o")
        await settle(pilot)
        assert pick.found == ["read", "endpoint:/v1/x", "provider:alpine"]
        await pilot.press("escape")
        assert pilot.app.screen is form


async def test_a_form_opens_at_once_where_its_choices_were_heard_of_before(fake: FakeService, open_app: Open) -> None:
    async with open_app() as pilot:
        await press(pilot, "3", "n", "escape")
        fake.answers["models.list"] = lambda params: {"items": [{"id": "brand-new"}], "next": None}
        pilot.app.simulate_key("n")
        await until(lambda: isinstance(pilot.app.screen, FormScreen))
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        assert form.line("account").field.options
        await settle(pilot)  # and hears of what is new
        assert "brand-new" in form.line("models").field.options


async def test_what_is_typed_while_a_form_opens_goes_where_it_would_later(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await press(pilot, "3", "n", "escape")  # now its choices are known, and it opens at once
        for turns in range(0, 60, 4):
            pilot.app.simulate_key("n")
            await until(lambda: isinstance(pilot.app.screen, FormScreen) and pilot.app.screen.focused)
            for _ in range(turns):
                await asyncio.sleep(0)
            form = pilot.app.screen
            assert isinstance(form, FormScreen)
            for key in ("a", "b", "tab", "c", "d"):
                pilot.app.simulate_key(key)
            await settle(pilot)
            assert {name: value for name, value in form.values().items() if value} == {"name": "ab", "account": "cd"}
            await press(pilot, "escape")


async def test_arrow_keys_lead_from_field_to_field_in_a_form_that_scrolls(open_app: Open) -> None:
    async with open_app(size=(160, 48)) as pilot:
        await press(pilot, "3", "n")
        form = pilot.app.screen
        assert isinstance(form, FormScreen)
        assert form.query_one(".fields").max_scroll_y > 0
        seen = []
        for key in ("down", "down", "up"):
            await pilot.press(key)
            assert isinstance(pilot.app.focused, FieldLine)
            seen.append(pilot.app.focused.field.name)
        assert seen == ["account", "models", "account"]
