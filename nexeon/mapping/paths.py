"""Paths into JSON, `a.b`, `a[0].b`, `a[*].b`: reading, and patching without touching what others share.

Every patch copies the maps and lists on its way and leaves the rest shared with the original.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from nexeon.mapping.missing import MISSING

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+|\*)\]")
EVERY: Final = "*"


class Path:
    """A compiled path."""

    __slots__ = ("steps", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        steps: list[str | int] = []
        position = 0
        while position < len(text):
            found = _STEP.match(text, position)
            if found is None:
                raise ValueError(f"`{text}` is not a path: a.b, a[0].b or a[*].b")
            key, number = found.groups()
            # a list position is an int, every item the str "[*]", a key its own text
            steps.append(key if key is not None else "[*]" if number == EVERY else int(number))
            position = found.end()
            if position < len(text) and text[position] == ".":
                position += 1
        if not steps:
            raise ValueError("a path is not empty")
        self.steps = tuple(steps)

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def around(self) -> Path:
        """The path to what holds its last step. Raises ValueError for a path of one step."""
        return Path(re.sub(r"\.?([^.\[\]]+|\[[^\]]*\])$", "", self.text))

    def get(self, body: Any) -> Any:
        """The first value, or MISSING."""
        values = self.all(body)
        return values[0] if values else MISSING

    def all(self, body: Any) -> list[Any]:
        """Every value that the path leads to."""
        values = [body]  # level by level: mostly there are none, and long conversations have many that are none
        for step in self.steps:
            if step == "[*]":
                values = [item for value in values if type(value) is list for item in value]
            elif type(step) is int:
                values = [value[step] for value in values if type(value) is list and step < len(value)]
            else:
                values = [value[step] for value in values if type(value) is dict and step in value]
            if not values:
                break
        return values

    def found(self, body: Any, depth: int = 0, at: str = "") -> Iterator[tuple[str, Any]]:
        """(concrete path, value) of each."""
        if depth == len(self.steps):
            yield at, body
            return
        step = self.steps[depth]
        if step == "[*]":
            if type(body) is list:
                for number, item in enumerate(body):
                    yield from self.found(item, depth + 1, f"{at}[{number}]")
        elif type(step) is int:
            if type(body) is list and step < len(body):
                yield from self.found(body[step], depth + 1, f"{at}[{step}]")
        elif type(body) is dict and step in body:
            yield from self.found(body[step], depth + 1, f"{at}.{step}" if at else str(step))

    def put(self, body: Any, value: Any) -> Any:
        """A copy in which the path leads to `value`; maps on the way are made, list items are not."""
        return _put(body, self.steps, value)

    def change(self, body: Any, change: Callable[[Any], Any]) -> Any:
        """A copy in which each value found is replaced by `change(value)`; MISSING deletes it. Itself if none was."""
        return _change(body, self.steps, change)

    def remove(self, body: Any) -> Any:
        """A copy without what the path leads to."""
        return _change(body, self.steps, lambda _: MISSING)


def _put(body: Any, steps: tuple[str | int, ...], value: Any) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if step == "[*]":
        return [_put(item, rest, value) for item in body] if type(body) is list else body
    if type(step) is int:
        if type(body) is not list or step >= len(body):
            return body
        return [*body[:step], _put(body[step], rest, value), *body[step + 1 :]]
    owner = body if type(body) is dict else {}
    return {**owner, step: _put(owner.get(step), rest, value)}


def _change(body: Any, steps: tuple[str | int, ...], change: Callable[[Any], Any]) -> Any:
    if not steps:
        return change(body)
    step, rest = steps[0], steps[1:]
    if step == "[*]":
        if type(body) is not list:
            return body
        items = [_change(item, rest, change) for item in body]
        if all(new is old for new, old in zip(items, body, strict=True)):
            return body
        return [item for item in items if item is not MISSING]
    if type(step) is int:
        if type(body) is not list or step >= len(body):
            return body
        new = _change(body[step], rest, change)
        if new is body[step]:
            return body
        return [*body[:step], *([] if new is MISSING else [new]), *body[step + 1 :]]
    if type(body) is not dict or step not in body:
        return body
    new = _change(body[step], rest, change)
    if new is body[step]:
        return body
    if new is MISSING:
        return {key: value for key, value in body.items() if key != step}
    return {**body, step: new}
