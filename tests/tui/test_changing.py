"""Two terminals change the same record: each changes what it changed, and what both changed is asked about."""

from __future__ import annotations

from pilots import Open, call, fill, press
from textual.pilot import Pilot

from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen


async def opened(pilot: Pilot[None]) -> None:
    await call(pilot, "accounts.create", name="acme")
    await call(pilot, "keys.create", account="acme", name="ci", budget="5", models=["a", "b"])
    await press(pilot, "3", "r", "e")
    assert isinstance(pilot.app.screen, FormScreen)


async def test_what_another_terminal_changed_stays(open_real: Open) -> None:
    async with open_real() as pilot:
        await opened(pilot)
        await call(pilot, "keys.update", key="ci", budget="50", models=["c"])
        fill(pilot, rpm="60")
        await press(pilot, "ctrl+s")
        key = await call(pilot, "keys.show", key="ci")
        assert (key["rpm"], key["budget"], key["models"]) == (60, "50.00", ["c"])


async def test_what_both_changed_is_overwritten_after_a_question_only(open_real: Open) -> None:
    async with open_real() as pilot:
        await opened(pilot)
        await call(pilot, "keys.update", key="ci", budget="50", models=["c"])
        fill(pilot, budget="7", models="a")
        await press(pilot, "ctrl+s")
        question = pilot.app.screen
        assert isinstance(question, ConfirmScreen)
        words = str(question.query_one(".words").render())
        assert "budget: 5.00 became 50.00; yours is 7" in words
        assert "models: a, b became c; yours is a" in words
        await press(pilot, "n")
        assert (await call(pilot, "keys.show", key="ci"))["budget"] == "50.00"
        assert isinstance(pilot.app.screen, FormScreen)
        assert pilot.app.screen.values()["budget"] == "7"
        await press(pilot, "ctrl+s", "y")
        key = await call(pilot, "keys.show", key="ci")
        assert (key["budget"], key["models"]) == ("7.00", ["a"])


async def test_a_form_that_is_saved_as_it_was_changes_nothing(open_real: Open) -> None:
    async with open_real() as pilot:
        await opened(pilot)
        await press(pilot, "ctrl+s")
        await press(pilot, "2", "r", "e", "ctrl+s")
        made = [each["method"] for each in (await call(pilot, "audit.list"))["items"]]
        assert made == ["keys.create", "accounts.create"]
        await press(pilot, "e")
        fill(pilot, name="apex", overdraft="3")
        await press(pilot, "ctrl+s")
        assert (await call(pilot, "accounts.show", account="apex"))["overdraft"] == "3.00"
        change = (await call(pilot, "audit.list"))["items"][0]
        assert set(change["params"]) == {"account", "name", "overdraft"}
