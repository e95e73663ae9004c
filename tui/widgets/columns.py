"""The columns of a table, and which of them fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

PADDING: Final = 2
"""Columns of space around a cell, half of them on either side."""


@dataclass(frozen=True, slots=True)
class Column:
    """`width` is the least one; `flex` columns share what is left over. `drop`: the highest goes first where there is
    too little room, 0 never goes."""

    title: str
    width: int
    flex: bool = False
    drop: int = 0
    align: Literal["left", "right"] = "left"


def fit(columns: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """(index, width) of the columns that are shown."""
    shown = list(range(len(columns)))
    while True:
        used = sum(columns[index].width + PADDING for index in shown)
        droppable = [index for index in shown if columns[index].drop]
        if used <= width or not droppable:
            break
        shown.remove(max(droppable, key=lambda index: columns[index].drop))
    flexible = [index for index in shown if columns[index].flex]
    spare = max(width - used, 0)
    share, rest = divmod(spare, len(flexible)) if flexible else (0, 0)
    return [
        (index, columns[index].width + (share + (index == flexible[-1]) * rest if index in flexible else 0))
        for index in shown
    ]
