"""The columns of a table, and which of them fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

PADDING: Final = 2
"""Columns of space around a cell, half of them on either side."""


@dataclass(frozen=True, slots=True)
class Column:
    """`flex` columns share what is left over. `drop`: where there is too little room for each `width`, the highest goes
    first, 0 never goes. `whole`: as wide as its cells are, as money is; for that, flexible columns shrink to `least`
    before others go."""

    title: str
    width: int
    flex: bool = False
    drop: int = 0
    align: Literal["left", "right"] = "left"
    least: int = 0
    whole: bool = False


def fit(columns: Sequence[Column], width: int, needs: Mapping[int, int] | None = None) -> list[tuple[int, int]]:
    """(index, width) of the columns that are shown; `needs`: how wide some are to be at least, by their index."""
    shown = _kept(columns, dict(enumerate(column.width for column in columns)), width)
    if needs:
        wanted = {index: max(columns[index].width, needs.get(index, 0)) for index in shown}
        shown = _kept(columns, {index: columns[index].least or wide for index, wide in wanted.items()}, width)
        wanted = {index: wanted[index] for index in shown}
    else:
        wanted = {index: columns[index].width for index in shown}
    spare = width - sum(wide + PADDING for wide in wanted.values())
    while spare < 0 and (wide := [index for index in shown if 0 < columns[index].least < wanted[index]]):
        wanted[max(wide, key=wanted.__getitem__)] -= 1
        spare += 1
    if spare > 0 and (flexible := [index for index in shown if columns[index].flex]):
        share, rest = divmod(spare, len(flexible))
        for index in flexible:
            wanted[index] += share + (index == flexible[-1]) * rest
    return list(wanted.items())


def _kept(columns: Sequence[Column], widths: Mapping[int, int], width: int) -> list[int]:
    """Those of `widths` that stay, by their index."""
    shown = list(widths)
    while sum(widths[index] + PADDING for index in shown) > width:
        droppable = [index for index in shown if columns[index].drop]
        if not droppable:
            break
        shown.remove(max(droppable, key=lambda index: columns[index].drop))
    return shown
