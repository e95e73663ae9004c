"""The themes' style sheets: parsed once each, and what Textual would make of them."""

from __future__ import annotations

from typing import Any

import pytest
from pilots import Open, press, settle
from textual.css import stylesheet
from textual.css.stylesheet import Stylesheet

from tests.patience import until
from tui.app import DIALOGS, AdminApp
from tui.sheets import Sheets
from tui.themes import DARK, LIGHT

SOURCES = {"a": "Input { color: $one; }", "b": "Button { background: $two; }"}


def sheets(kind: type[Stylesheet], **variables: str) -> Stylesheet:
    made = kind(variables=variables)
    for name, css in SOURCES.items():
        made.add_source(css, (name, ""))
    made.parse()
    return made


def rules(sheet: Stylesheet) -> list[str]:
    return [rule.css for rule in sheet.rules]


def test_other_variables_make_other_rules_and_the_first_ones_come_back() -> None:
    red, blue = {"one": "red", "two": "red"}, {"one": "blue", "two": "blue"}
    ours = sheets(Sheets, **red)
    for variables in (blue, red, blue):
        ours.set_variables(variables)
        ours.reparse()
        assert rules(ours) == rules(sheets(Stylesheet, **variables))


def test_what_was_prepared_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = sheets(Sheets, one="red", two="red")
    assert isinstance(ours, Sheets)
    other = {"one": "blue", "two": "blue"}
    assert len(list(ours.prepare(other))) == len(SOURCES)
    monkeypatch.setattr(stylesheet, "parse", None)
    ours.set_variables(other)
    ours.reparse()
    assert rules(ours) != rules(sheets_of_red(monkeypatch))


def sheets_of_red(monkeypatch: pytest.MonkeyPatch) -> Stylesheet:
    monkeypatch.undo()
    return sheets(Sheets, one="red", two="red")


async def test_screens_dialogs_and_the_other_theme_are_made_while_nobody_types(open_app: Open) -> None:
    async with open_app(ahead=True) as pilot:
        app: Any = pilot.app
        assert isinstance(app, AdminApp)
        await until(lambda: app._preparing is not None and next(app._preparing, True) is True)
        assert set(app._dialogs) == set(DIALOGS)
        assert app.theme == DARK.name
        parsed = len(app._sheets._parsed)
        await press(pilot, "ctrl+t")
        await settle(pilot)
        assert app.theme == LIGHT.name
        assert len(app._sheets._parsed) == parsed, "its variables were the same ones"
        assert app.screen.styles.background.hex == LIGHT.background.upper()  # type: ignore[union-attr]
        await press(pilot, "n", "3", "n", "escape")
        assert app.theme_variables["background"].lower() == LIGHT.background
