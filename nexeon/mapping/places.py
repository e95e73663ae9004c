"""Where a part of one tree stands in another that it was made of, told by what both hold: the very same objects.

Mappings pass text and untouched subtrees on as they are, so that what a part holds leads back to its source. For errors
and reports only: both trees are walked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from nexeon.mapping.missing import MISSING
from nexeon.mapping.paths import Path

Steps = tuple[str | int, ...]

_SMALL: Final = 256
"""Python keeps one object for every number up to this one, and for every text of one character."""


class Places:
    """Of the parts of a source tree."""

    def __init__(self, source: Any) -> None:
        self._known: dict[int, Steps] = {id(leaf): steps for steps, leaf in _leaves(source, ())}

    def of(self, tree: Any, path: str) -> str:
        """What `path` leads to in a tree that was made of the source, as a path of the source; "" where nothing of it
        came from there. What is next to it tells where one thing of the source ends and another begins.
        """
        try:
            found = next(Path(path).found(tree), None)
        except ValueError:
            return ""
        if found is None:
            return ""
        part = found[1]
        inside = [place for _, leaf in _leaves(part, ()) if (place := self._known.get(id(leaf))) is not None]
        if not inside:
            return ""
        items = [_item(place) for place in inside]
        most = Counter(items).most_common(1)[0][0]
        common = _common([place for place, item in zip(inside, items, strict=True) if item == most])
        if type(part) not in (dict, list):
            return _text(common)
        within = {id(leaf) for _, leaf in _leaves(part, ())}
        others = [
            place
            for _, leaf in _leaves(tree, ())
            if id(leaf) not in within and (place := self._known.get(id(leaf))) is not None
        ]
        depth = sum(type(step) is int for step in Path(found[0]).steps)
        for length in range(len(common), 0, -1):
            around = common[:length]
            if any(other[:length] == around for other in others) or sum(type(step) is int for step in around) < depth:
                break
            if type(around[-1]) is int:
                return _text(around)
        return _text(common)


def _leaves(value: Any, steps: Steps) -> Iterator[tuple[Steps, Any]]:
    """What has an identity of its own."""
    if type(value) is dict:
        for key, item in value.items():
            yield from _leaves(item, (*steps, key))
    elif type(value) is list:
        for number, item in enumerate(value):
            yield from _leaves(item, (*steps, number))
    elif (type(value) is str and len(value) > 1) or type(value) is float or (type(value) is int and value > _SMALL):
        yield steps, value


def _item(steps: Steps) -> Steps:
    """The outermost list item on the way."""
    number = next((number for number, step in enumerate(steps) if type(step) is int), len(steps) - 1)
    return steps[: number + 1]


def _common(places: list[Steps]) -> Steps:
    shortest = min(places, key=len)
    for number, step in enumerate(shortest):
        if any(place[number] != step for place in places):
            return shortest[:number]
    return shortest


def _text(steps: Steps) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if type(step) is int else f".{step}" if text else str(step)
    return text


def resolves(tree: Any, path: str) -> bool:
    """Whether a path leads to a map or list of the tree."""
    try:
        value = Path(path).get(tree)
    except ValueError:
        return False
    return value is not MISSING and type(value) in (dict, list)
