"""Forms and questions, which are kept and asked anew: what a choice hears, and that nothing stays of what was typed."""

from __future__ import annotations

import pytest
from pilots import Open, fill, press, settle
from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

from tui.screens.confirm import ConfirmScreen
from tui.screens.form import Form, FormScreen
from tui.screens.pick import PickScreen
from tui.widgets.field import Field, FieldLine


def form(pilot: Pilot[None]) -> FormScreen:
    assert isinstance(pilot.app.screen, FormScreen)
    return pilot.app.screen


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        (("right",), "day"),
        (("space", "space"), "week"),
        (("left",), "month"),
        (("right", "left"), ""),
        (("x", "backspace", "delete"), ""),
    ],
)
async def test_a_choice_goes_on_to_the_next_and_takes_no_text(
    open_app: Open, keys: tuple[str, ...], chosen: str
) -> None:
    async with open_app() as pilot:
        await press(pilot, "3", "n")
        form(pilot).line("period").focus()
        await press(pilot, *keys)
        pilot.app.post_message(events.Paste("pasted"))
        await settle(pilot)
        assert form(pilot).values()["period"] == chosen


async def test_a_choice_is_picked_by_key_and_by_mouse(open_app: Open) -> None:
    async with open_app(size=(120, 48)) as pilot:
        await press(pilot, "3", "n")
        line = form(pilot).line("period")
        line.focus()
        for opened in ("ctrl+o", "click"):
            await (pilot.click(line) if opened == "click" else pilot.press(opened))
            await settle(pilot)
            assert isinstance(pilot.app.screen, PickScreen)
            await press(pilot, *"week", "enter")
            assert form(pilot).values()["period"] == "week"
            line.answer = ""
        await press(pilot, "enter")
        assert pilot.app.focused is form(pilot).line("expires")


async def test_a_form_that_is_asked_again_has_nothing_of_the_one_before(open_app: Open) -> None:
    async with open_app() as pilot:
        await press(pilot, "4", "n")
        first = form(pilot)
        fill(pilot, secret="sk-not-to-be-kept", label="main", rpm="a few")
        await press(pilot, "ctrl+s")
        assert str(first.query_one("#wrong", Static).render())
        await press(pilot, "escape")
        assert not any(line.value for line in first.query(FieldLine))
        await press(pilot, "3", "t")
        assert form(pilot) is first, "it is kept"
        assert first.values() == {"overlap": "3600"}
        assert str(first.query_one("#wrong", Static).render()) == ""
        assert not first.line("overlap").password
        assert [line.display for line in first.query(FieldLine)].count(True) == 1
        assert pilot.app.focused is first.line("overlap")


async def test_a_form_may_have_more_fields_than_those_before(open_app: Open) -> None:
    async with open_app() as pilot:
        await press(pilot, "3")
        names = [f"field-{number}" for number in range(20)]
        given: list[dict[str, str]] = []
        pilot.app.screen.fill(Form("Many", [Field(name, name, name) for name in names]), given.append)  # type: ignore[attr-defined]
        await press(pilot, "ctrl+s")
        assert given == [{name: name for name in names}]


async def test_a_question_over_a_question_is_another_one(open_app: Open) -> None:
    async with open_app() as pilot:
        await press(pilot, "3", "x")
        below = pilot.app.screen
        assert isinstance(below, ConfirmScreen)
        above = pilot.app.kept(ConfirmScreen)  # type: ignore[attr-defined]
        assert above is not below
        above.ask("Leave", "it all")
        pilot.app.push_screen(above)
        await settle(pilot)
        assert str(above.query_one(".question", Static).render()) == "Leave it all?"
        assert "Delete key `ci`" in str(below.query_one(".question", Static).render())
        await press(pilot, "n", "n")
        assert pilot.app.kept(ConfirmScreen) is below  # type: ignore[attr-defined]


async def test_a_kept_dialog_has_the_theme_and_the_size_of_now(open_app: Open) -> None:
    async with open_app(size=(120, 48)) as pilot:
        await press(pilot, "3", "n")
        before = form(pilot).styles.background
        await press(pilot, "escape", "ctrl+t")
        await pilot.resize_terminal(80, 24)
        await press(pilot, "n")
        assert form(pilot).styles.background != before
        assert form(pilot).has_class("-short")
        assert form(pilot).query_one(".dialog").region in form(pilot).region


async def test_without_colour_the_field_in_front_is_seen(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_app() as pilot:
        await press(pilot, "3", "n")
        for name in ("name", "period"):
            for line in form(pilot).query(FieldLine):
                line.cursor_blink = False
            form(pilot).line(name).focus()
            await settle(pilot)
            marked = [
                line.field.name
                for line in form(pilot).query(FieldLine)
                if line.display and any(segment.style and segment.style.reverse for segment in line.render_line(0))
            ]
            assert marked == [name]
