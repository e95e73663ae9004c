"""What every line goes through before it reaches the terminal."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class NoControl(LineFilter):
    """Takes control characters out of what clients and providers wrote: they would drive the terminal."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        search = CONTROL.search
        if not any(search(text) for text, _, control in segments if not control):
            return segments
        return [
            Segment(text if control else CONTROL.sub("", text), style, control) for text, style, control in segments
        ]


class NoColour(LineFilter):
    """NO_COLOR: the terminal's own colours, and no grey in their place. Bold and reversed text stays so."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and _plain(style), control) for text, style, control in segments]


@lru_cache(maxsize=4096)
def _plain(style: Style) -> Style:
    """(Rich's own way would lose `meta`, which tells what a click means.)"""
    names = ("bold", "dim", "italic", "underline", "reverse", "strike")
    return Style(**{name: getattr(style, name) for name in names}, link=style.link, meta=style.meta or None)
