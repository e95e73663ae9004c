"""What was typed is kept: when it is refused, when the answer to a question is no, and when the gateway goes away."""

from __future__ import annotations

import pytest
from fakes import FakeService
from pilots import Open, fill, press
from textual.pilot import Pilot

from nexeon.errors import AdminError, AdminUnreachable
from tui.screens.confirm import ConfirmScreen
from tui.screens.form import FormScreen


def form(pilot: Pilot[None]) -> FormScreen:
    found = pilot.app.screen
    assert isinstance(found, FormScreen)
    return found


def wrong(pilot: Pilot[None]) -> str:
    return str(form(pilot).query_one("#wrong").render())


def unanswered(pilot: Pilot[None]) -> list[str]:
    """What toasts say of it. (Another one may tell that the gateway was found again.)"""
    return [str(each.message) for each in pilot.app._notifications if each.title == "No answer"]


async def test_a_refused_form_comes_back_as_it_was_filled(open_app: Open, fake: FakeService) -> None:
    fake.refuse["keys.create"] = AdminError("scopes: no scope `foo`")
    async with open_app() as pilot:
        await press(pilot, "3", "n")
        fill(pilot, name="ci", account="acme", scopes="foo", budget="7")
        await press(pilot, "ctrl+s")
        assert wrong(pilot) == "scopes: no scope `foo`"
        kept = form(pilot).values()
        assert {name: kept[name] for name in ("name", "account", "scopes", "budget")} == {
            "name": "ci",
            "account": "acme",
            "scopes": "foo",
            "budget": "7",
        }
        assert not pilot.app._notifications
        fake.refuse.clear()
        fill(pilot, scopes="read")
        await press(pilot, "ctrl+s")
        (_, first), (_, second) = [each for each in fake.asked if each[0] == "keys.create"]
        assert second == {**first, "scopes": ["read"]}


async def test_a_no_leads_back_to_the_form(open_app: Open, fake: FakeService) -> None:
    async with open_app() as pilot:
        await press(pilot, "2", "plus")
        fill(pilot, usd="250", reason="invoice 4711")
        await press(pilot, "ctrl+s")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await press(pilot, "n")
        assert form(pilot).values() == {"usd": "250", "reason": "invoice 4711", "expires": ""}
        await press(pilot, "escape")
        assert pilot.app.screen is not None
        assert not pilot.app.screen.is_modal
        assert "credits.add" not in fake.methods()


@pytest.mark.parametrize(("sent", "words"), [(True, "may have been done"), (False, "Nothing was done")])
async def test_what_a_gateway_that_is_gone_was_told_is_kept(
    open_app: Open, fake: FakeService, sent: bool, words: str
) -> None:
    fake.refuse["credits.add"] = AdminUnreachable("gone", sent=sent)
    async with open_app() as pilot:
        await press(pilot, "2", "plus")
        fill(pilot, usd="250", reason="invoice 4711")
        await press(pilot, "ctrl+s", "y")
        assert words in wrong(pilot)
        assert form(pilot).values()["reason"] == "invoice 4711"
        await press(pilot, "escape")
        fake.refuse["accounts.delete"] = AdminUnreachable("gone", sent=sent)
        await press(pilot, "x", "y")
        assert [words in said for said in unanswered(pilot)] == [True]
        fake.gone = True  # what the screen asks by itself is no news
        await press(pilot, "r")
        assert len(unanswered(pilot)) == 1
