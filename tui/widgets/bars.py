"""Small charts of blocks, from zero up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"


def resample(values: Sequence[float], width: int) -> list[float]:
    """One value for each column, the highest of those that fall into it; few values are repeated."""
    if not values or width <= 0:
        return [0.0] * max(width, 0)
    count = len(values)
    spans = (
        (column * count // width, max((column + 1) * count // width, column * count // width + 1))
        for column in range(width)
    )
    return [max(values[start:end]) for start, end in spans]


def bars(values: Sequence[float], width: int, height: int = 1) -> list[str]:
    """Lines of blocks, the top one first, on a thin line that stands for nothing."""
    columns = resample(values, width)
    top = max(columns, default=0.0)
    if top <= 0:
        return [" " * width] * (height - 1) + ["▁" * width]
    levels = [max(round(value / top * height * 8), 1) for value in columns]
    return ["".join(_BLOCKS[min(max(level - 8 * row, 0), 8)] for level in levels) for row in reversed(range(height))]
