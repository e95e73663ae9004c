"""A conversation cut to what a model can hold: the oldest items go first, a call never without its result."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from nexeon.mapping.seals import is_envelope

Item = dict[str, Any]

_INLINE: Final = "data:"
_MEDIA: Final = 1000.0
"""Tokens of media that stand in the request itself: their bytes are no text."""

_FRAME: Final = 4.0


def shortened(items: Sequence[Item], room: float, bytes_per_token: float, calls: Collection[str]) -> list[Item]:
    """The last items that fit into `room` tokens, by their estimated weight; the very last one in any case.

    `calls` are the fields by which a call and its result know each other: both stay, or neither does.
    """
    weights = [weight(item, bytes_per_token) for item in items]
    total = sum(weights)
    names = [{item[field] for field in calls if isinstance(item.get(field), str)} for item in items]
    kept = [True] * len(items)
    for place in range(len(items) - 1):
        if total <= room:
            break
        if not kept[place]:
            continue
        together = [n for n, own in enumerate(names) if n == place or (kept[n] and own & names[place])]
        if together[-1] == len(items) - 1:  # its result is what the model is asked to go on from
            continue
        for n in together:
            kept[n] = False
            total -= weights[n]
    return [item for item, keep in zip(items, kept, strict=True) if keep]


def weight(value: Any, bytes_per_token: float) -> float:
    """An estimate of the tokens of a part of a request."""
    if isinstance(value, str):
        if value.startswith(_INLINE):
            return _MEDIA
        return 0.0 if is_envelope(value) else len(value.encode("utf-8", "replace")) / bytes_per_token
    if isinstance(value, dict):
        return _FRAME + sum(weight(part, bytes_per_token) for part in value.values())
    if isinstance(value, list):
        return sum(weight(part, bytes_per_token) for part in value)
    return 1.0
