"""Our compositor against Textual's own: the same screen, whole and in part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from pilots import Open, press
from rich.console import Console
from rich.segment import Segment
from textual._compositor import Compositor
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from tui.compositing import QuickChops, QuickCompositor

KEYS: dict[str, Sequence[str]] = {
    "a list": ("3", "j"),
    "a search": ("3", "slash", "k"),
    "two sides": ("5",),
    "figures": ("1",),
    "a form": ("3", "n"),
    "a palette": ("2", "ctrl+p"),
    "text": ("7", "i", "h"),
}


def textuals(screen: Screen[object]) -> Compositor:
    own = Compositor()
    own.__dict__.update(screen._compositor.__dict__)
    own._cuts = None
    return own


def pieces(strips: Iterable[Iterable[Strip]]) -> list[list[Segment]]:
    return [list(Strip.join(line).simplify()) for line in strips]


@pytest.mark.parametrize("case", KEYS)
@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_a_screen_is_what_textual_makes_of_it(open_app: Open, case: str, size: tuple[int, int]) -> None:
    async with open_app(size=size) as pilot:
        await press(pilot, *KEYS[case])
        screen = pilot.app.screen
        assert isinstance(screen._compositor, QuickCompositor)
        other = textuals(screen)
        assert pieces(screen._compositor.render_full_update().strips) == pieces(other.render_full_update().strips)
        for region in (screen.region, Region(3, 2, 40, 9), Region(0, 5, size[0], 1), Region(70, 0, 200, 100)):
            lines, shown = range(size[1]), region.intersection(screen.region)
            ours = screen._compositor._render_chops(shown, shown.line_range.__contains__)
            theirs = other._render_chops(shown, shown.line_range.__contains__)
            wanted = [{x: strip for x, strip in theirs[y].items() if _meets(x, strip, shown)} for y in lines]
            assert [list(line) for line in ours] == [list(line) for line in wanted]
            assert pieces(line.values() for line in ours) == pieces(line.values() for line in wanted)


def _meets(x: int, strip: Strip | None, region: Region) -> bool:
    return strip is not None and x < region.right and x + strip.cell_length > region.x


async def test_what_nothing_shows_of_is_not_drawn(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_app() as pilot:
        await press(pilot, "3")
        drawn: list[Widget] = []
        render = Widget.render_lines
        monkeypatch.setattr(Widget, "render_lines", lambda self, crop: (drawn.append(self), render(self, crop))[1])
        compositor = pilot.app.screen._compositor
        where = pilot.app.screen.query_one("#where")
        compositor._dirty_regions = {where.region}
        update = compositor.render_partial_update()
        assert drawn == [where]
        assert isinstance(update, QuickChops)
        text = update.render_segments(Console(force_terminal=True))
        assert text.count(f"\x1b[{where.region.y + 1};{where.region.x + 1}H") == 1
        assert "\n" not in text
        assert compositor.render_partial_update() is None
