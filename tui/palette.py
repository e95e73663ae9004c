"""Terminals with 16 or 256 colours: each of the theme's is shown as the one of theirs that looks most like it.

Rich would take light greys with a touch of blue for cyan, dark ones for navy, and with 16 colours what is marked and
what is not for the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from colorsys import rgb_to_hsv
from functools import lru_cache
from typing import Final

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

Triplet = tuple[int, int, int]

_LEVELS: Final = (0, 95, 135, 175, 215, 255)
_CUBE: Final[dict[int, Triplet]] = {
    16 + 36 * r + 6 * g + b: (_LEVELS[r], _LEVELS[g], _LEVELS[b]) for r in range(6) for g in range(6) for b in range(6)
}
_GREYS: Final[dict[int, Triplet]] = {232 + step: (8 + 10 * step,) * 3 for step in range(24)}
_HUES: Final = (1, 3, 2, 6, 4, 5)
"""Red, yellow, green, cyan, blue, magenta: each a sixth of the circle further."""
_BRIGHTER: Final = 8
_PLAIN: Final[dict[int, Triplet]] = {0: (0, 0, 0), 7: (192, 192, 192), 8: (128, 128, 128), 15: (255, 255, 255)}

_LEAST: Final = 8
"""Fewer colours are none."""

_COLOURED: Final = 60
"""So far apart are the parts of a colour that is to keep its hue."""

_BRIGHT: Final = 0.8
"""The value from which on it is one of the bright ones."""


class Palette(LineFilter):
    """`few`: 16 colours, else 256."""

    def __init__(self, *, few: bool) -> None:
        super().__init__()
        self._few = few

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        few = self._few
        return [Segment(text, style and _shown(style, few), control) for text, style, control in segments]


@lru_cache(maxsize=4096)
def _shown(style: Style, few: bool) -> Style:
    text, behind = _triplet(style.color), _triplet(style.bgcolor)
    nearest = _of_16 if few else _of_256
    front = None if text is None else nearest(text)
    back = None if behind is None else nearest(behind)
    if few and text is not None and front == back and text != behind:
        front = 0 if _light(behind or (0, 0, 0)) > 127 else 15
    colours = (None if each is None else RichColor.from_ansi(each) for each in (front, back))
    return style + Style.from_color(*colours)


def _triplet(colour: RichColor | None) -> Triplet | None:
    return None if colour is None or colour.is_default else tuple(colour.get_truecolor())  # type: ignore[return-value]


@lru_cache(maxsize=1024)
def _of_256(colour: Triplet) -> int:
    return _nearest(colour, _CUBE | _GREYS)


@lru_cache(maxsize=1024)
def _of_16(colour: Triplet) -> int:
    if max(colour) - min(colour) <= _COLOURED:
        return _nearest(colour, _PLAIN)
    hue, _, value = rgb_to_hsv(*(part / 255 for part in colour))
    return _HUES[round(hue * 6) % 6] + (_BRIGHTER if value > _BRIGHT else 0)


def _nearest(colour: Triplet, known: Mapping[int, Triplet]) -> int:
    return min(known, key=lambda number: _distance(colour, known[number]))


def _distance(one: Triplet, other: Triplet) -> float:
    """As eyes see it: how much red there is tells what red and blue weigh."""
    red = (one[0] + other[0]) / 512
    r, g, b = (a - b for a, b in zip(one, other, strict=True))
    return (2 + red) * r * r + 4 * g * g + (3 - red) * b * b


def _light(colour: Triplet) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def colourless() -> bool:
    """Whether the terminal says of itself that it has no colours, as old ones do."""
    if os.environ.get("COLORTERM"):
        return False
    try:
        import curses
    except ImportError:  # a Python, or a system, without it
        return False
    try:
        curses.setupterm()
    except curses.error:  # it is not known here
        return False
    return curses.tigetnum("colors") < _LEAST
