"""The columns of a table, and which of them fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

PADDING: Final = 2
"""Columns of space around a cell, half of them on either side."""


@dataclass(frozen=True, slots=True)
class Column:
    """`flex` columns share what is left over. `whole`: as wide as its cells are, as money is. Where there is too little
    room, the highest `drop` goes first, 0 never goes; then those that have a `least` shrink to that."""

    title: str
    width: int
    flex: bool = False
    drop: int = 0
    align: Literal["left", "right"] = "left"
    least: int = 0
    whole: bool = False


def fit(columns: Sequence[Column], width: int, needs: Mapping[int, int] | None = None) -> list[tuple[int, int]]:
    """(index, width) of the columns that are shown; `needs`: how wide some are to be at least, by their index."""
    widths = {index: max(column.width, (needs or {}).get(index, 0)) for index, column in enumerate(columns)}
    spare = width - sum(widths.values()) - PADDING * len(widths)
    for index in sorted(widths, key=lambda index: columns[index].drop, reverse=True):
        if spare < 0 and columns[index].drop:
            spare += widths.pop(index) + PADDING
    while spare < 0 and (wide := [index for index in widths if 0 < columns[index].least < widths[index]]):
        widths[max(wide, key=widths.__getitem__)] -= 1
        spare += 1
    if spare > 0 and (flexible := [index for index in widths if columns[index].flex]):
        share, rest = divmod(spare, len(flexible))
        for index in flexible:
            widths[index] += share + (index == flexible[-1]) * rest
    return list(widths.items())
