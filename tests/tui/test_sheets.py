"""The themes' style sheets: parsed once each, and what Textual would make of them."""

from __future__ import annotations

from typing import Any

import pytest
from pilots import Open, press, settle
from rich.segment import Segment
from textual.color import Color
from textual.css import stylesheet
from textual.css.styles import Styles
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.widget import Widget

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
        assert set(app._kept) >= set(DIALOGS)
        assert app.theme == DARK.name
        parsed = len(app._sheets._parsed)
        await press(pilot, "ctrl+t")
        await settle(pilot)
        assert app.theme == LIGHT.name
        assert len(app._sheets._parsed) == parsed, "its variables were the same ones"
        assert app.screen.styles.background.hex == LIGHT.background.upper()  # type: ignore[union-attr]
        await press(pilot, "n", "3", "n", "escape")
        assert app.theme_variables["background"].lower() == LIGHT.background


def looks(pilot: Pilot[None]) -> list[list[Segment]]:
    return [list(line.simplify().discard_meta()) for line in pilot.app.screen._compositor.render_strips()]


@pytest.mark.parametrize("keys", [("1",), ("3", "j"), ("5",), ("3", "n", "escape")])
async def test_a_theme_that_is_switched_to_looks_as_from_the_start(open_app: Open, keys: tuple[str, ...]) -> None:
    async with open_app(theme=LIGHT.name) as pilot:
        await press(pilot, *keys)
        wanted = looks(pilot)
    async with open_app() as pilot:
        await press(pilot, *keys)
        dark = looks(pilot)
        await press(pilot, "ctrl+t")
        assert looks(pilot) == wanted
        await press(pilot, "ctrl+t")
        assert looks(pilot) == dark


async def test_a_widget_is_drawn_anew_once_for_all_its_colours(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_app() as pilot:
        await press(pilot, "3")
        app: Any = pilot.app
        refreshed: list[Styles] = []
        refresh = Styles.refresh
        monkeypatch.setattr(Styles, "refresh", lambda self, **how: (refreshed.append(self), refresh(self, **how))[1])
        table = app.screen.table
        rules = {name: Color(1, 2, 3) if isinstance(value, Color) else value for name, value in rules_of(table).items()}
        Sheets.replace_rules(table, rules)  # type: ignore[arg-type]
        assert refreshed == [table.styles.base]
        assert rules_of(table) == rules
        Sheets.replace_rules(table, rules)  # type: ignore[arg-type]
        assert len(refreshed) == 1, "nothing has changed"
        bordered = {**rules, "border_top": ("round", Color(1, 2, 3))}
        Sheets.replace_rules(table, bordered)  # type: ignore[arg-type]
        assert rules_of(table)["border_top"] == ("round", Color(1, 2, 3))
        assert table._layout_required
        Sheets.replace_rules(table, rules)  # type: ignore[arg-type]
        assert "border_top" not in rules_of(table)


def rules_of(widget: Widget) -> dict[str, Any]:
    return dict(widget.styles.base.get_rules())
