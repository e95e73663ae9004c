"""Terminals that have few colours, or none, or cannot be drawn on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from pilots import Open, press
from rich.color import Color as RichColor
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.pilot import Pilot
from textual.theme import Theme

from nexeon.cli import main
from tests.patience import PATIENCE
from tui.palette import Palette, colourless
from tui.themes import DARK, LIGHT
from tui.widgets.table import RecordTable
from tui.widgets.tabs import TabLine

FEW, MANY = Palette(few=True), Palette(few=False)


def shown(palette: Palette, text: str, behind: str) -> tuple[int | None, int | None]:
    style = Style(color=text, bgcolor=behind)
    [segment] = palette.apply([Segment("x", style)], Color.parse(behind))
    assert segment.style is not None
    return tuple(each and each.number for each in (segment.style.color, segment.style.bgcolor))  # type: ignore[return-value]


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_states_keep_their_hue_among_16_colours(theme: Theme) -> None:
    bright = 8 if theme is DARK else 0
    for state, number in {"error": 1, "success": 2, "warning": 3, "secondary": 4, "primary": 6}.items():
        assert shown(FEW, getattr(theme, state), theme.background) == (
            number + bright,
            0 if theme is DARK else 15,
        )


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_greys_stay_grey_among_256_colours(theme: Theme) -> None:
    text, behind = shown(MANY, theme.foreground, theme.panel)
    for number in (text, behind):
        assert number is not None
        red, green, blue = RichColor.from_ansi(number).get_truecolor()
        assert red == green == blue
    panel = shown(MANY, theme.foreground, theme.background)[1]
    assert panel != behind, "the lines at the top and at the bottom stand out"


def test_a_text_is_never_as_what_is_behind_it() -> None:
    assert shown(FEW, "#f0f0f0", "#ffffff") == (0, 15)
    assert shown(FEW, "#202020", "#101010") == (15, 0)
    assert shown(FEW, "#ffffff", "#ffffff") == (15, 15), "what is hidden stays so"


def shown_in(segment: Segment) -> tuple[Color, Color] | None:
    """The colours of a piece that has something to read, and of what is behind it."""
    text, style, _ = segment
    if not text.strip() or style is None or style.color is None or style.bgcolor is None:
        return None
    return Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor)


def contrast(colours: tuple[Color, Color]) -> float:
    """As WCAG has it, from 1 to 21."""
    lights = []
    for colour in colours:
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
        )
        lights.append(0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    return max(lights) / min(lights)


def rows(pilot: Pilot[None]) -> list[list[Segment]]:
    return [list(strip) for strip in pilot.app.screen._compositor.render_strips()]


@pytest.mark.parametrize("theme", [DARK.name, LIGHT.name])
async def test_with_16_colours_the_row_in_front_is_seen_and_so_is_what_a_dialog_dims(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    async with open_app(theme=theme) as pilot:
        monkeypatch.setattr(type(pilot.app.console), "color_system", "standard")
        pilot.app.refresh_css(animate=False)
        await press(pilot, "3")
        table = pilot.app.screen.query_one(RecordTable)
        used = {
            colour.number
            for segments in rows(pilot)
            for _, style, _ in segments
            if style
            for colour in (style.color, style.bgcolor)
            if colour is not None
        }
        assert used <= set(range(16))
        assert any(style.reverse for _, style, _ in rows(pilot)[table.region.y + 1] if style)
        await press(pilot, "x")
        dimmed = [(text, style) for text, style, _ in rows(pilot)[0] if text.strip() and style]
        assert any("Accounts" in text for text, _ in dimmed)
        assert all(style.color != style.bgcolor for _, style in dimmed)


@pytest.mark.parametrize("theme", [DARK.name, LIGHT.name])
async def test_the_chosen_tab_and_the_others_can_be_told_apart_and_read(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(Console, "color_system", "truecolor")
    async with open_app(theme=theme) as pilot:
        await press(pilot, "6", "enter")
        tabs = pilot.app.screen.query_one(TabLine)
        titles, bar = rows(pilot)[tabs.region.y : tabs.region.y + 2]
        assert max(map(contrast, filter(None, map(shown_in, bar)))) > 3, "the piece below the chosen one"
        assert min(map(contrast, filter(None, map(shown_in, titles)))) > 4.5, "the titles"


@pytest.mark.parametrize(("term", "none"), [("vt100", True), ("xterm-256color", False), ("linux", False)])
def test_a_terminal_without_colours_is_known_by_its_name(term: str, none: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLORTERM"} | {"TERM": term}
    code = "import curses; curses.setupterm(); from tui.palette import colourless; print(colourless())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode:
        pytest.skip(f"this machine does not know {term}")
    assert done.stdout.strip() == str(none)


def test_a_terminal_that_cannot_be_drawn_on_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexeon.cli.tui.on_terminal", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("TERM_PROGRAM", raising=False)
    asked = CliRunner().invoke(main, ["tui"], prog_name="nexeon")
    assert asked.exit_code == 1
    assert "TERM=dumb" in asked.stderr
    assert "--web" in asked.stderr


def test_a_terminal_that_tells_its_colours_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "vt100")
    assert not colourless()
