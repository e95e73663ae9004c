"""What the translations share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from nexeon.mapping.identifiers import fit_id
from nexeon.mapping.runtime import find_path

Map = dict[str, Any]
Translation = Callable[[Map, Map], Map]

NUMBERS: Final = frozenset((int, float))
NOTHING: Final[Map] = {}
"""Where a map may be and is not. Never written to."""

_PLAIN: Final = re.compile("[A-Za-z0-9_-]+")


class Refused(ValueError):
    """What cannot be translated; `place` is where in the data, found when it is asked for."""

    def __init__(self, message: str, part: Any = None) -> None:
        super().__init__(message)
        self.part = part
        self.place = ""


def translation(translate: Translation) -> Translation:
    """Tells the places of what was refused or lost, once there is such a thing."""

    def call(value: Map, ctx: Map) -> Map:
        try:
            result = translate(value, ctx)
        except Refused as error:
            error.place = find_path(value, error.part)
            raise
        if lost := ctx["lost"]:
            for reason, part in lost:
                place = find_path(value, part)
                ctx["dropped"].append(f"{place}: {reason}" if place else reason)
            ctx["lost"] = []
        return result

    return call


def lose(ctx: Map, reason: str, part: Any) -> None:
    ctx["lost"].append((reason, part))


def empty(value: Any) -> bool:
    """Null or of no length; 0 and false are something."""
    return value is None or (not value and type(value) in (str, list, dict))


def own(part: Map, name: str) -> Map:
    """What of a part only one format knows."""
    extra = part.get("extra")
    if not extra:
        return NOTHING
    return extra.get(name) or NOTHING


def rows(value: Any, what: str, part: Any) -> list[Any]:
    """A list, or nothing where there is none."""
    if type(value) is list:
        return value
    if value is None:
        return []
    raise Refused(f"{what} is a list", part)


def fitting(identifier: Any, longest: int) -> str:
    if type(identifier) is str and len(identifier) <= longest and _PLAIN.fullmatch(identifier):
        return identifier
    if type(identifier) is not str:
        raise Refused("an identifier is text")
    return fit_id(identifier, longest)
