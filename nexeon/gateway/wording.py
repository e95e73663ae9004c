"""What is said of a request's fields, in the words of the request that the client sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final

from nexeon.errors import RequestError
from nexeon.mapping import MISSING, Format
from nexeon.mapping.paths import Path
from nexeon.mapping.places import Places, resolves

_NUMBER: Final = re.compile(r"\[(?:\d+|\*)\]")


class Wording:
    """Made where something was lost or refused, and costs nothing before."""

    def __init__(self, client: Format, body: Any) -> None:
        self._client = client
        self._body = body

    @cached_property
    def _places(self) -> Places:
        return Places(self._body)

    def canonical(self, path: str, tree: Any) -> str:
        """The client's name of a place in the canonical request."""
        return self._place(path, tree) or self._client.param(path)

    def lost(self, names: Iterable[str], tree: Any) -> list[str]:
        """What a mapping lost of the canonical request: `place: reason`, or the reason alone."""
        told = []
        for name in names:
            place, separator, reason = name.partition(": ")
            known = separator and resolves(tree, place)
            told.append(f"{self.canonical(place, tree)}: {reason}" if known else name)
        return told

    def field(self, name: str, part: Any, tree: Any) -> str:
        """The client's place of a field, by its name, that a part of the canonical request has."""
        place = self._place(_path_to(part, tree, ""), tree)
        if not place:
            return name
        tails = name.rpartition("[*].")[2], name.rpartition(".")[2]
        exact = (f"{place}.{tail}" for tail in tails)
        return next((one for one in exact if Path(one).get(self._body) is not MISSING), place)

    def wire(self, path: str, target: Format, tree: Any) -> str:
        """The client's name of a place in the body that a target would get."""
        if place := self._place(path, tree):
            return place
        plain = _NUMBER.sub("", path)
        parts = plain.split(".")
        for count in range(len(parts), 0, -1):
            name = ".".join(parts[:count])
            for canonical, known in target.params.items():
                if _NUMBER.sub("", known) == name:
                    return self._client.param(canonical)
        return path

    def refusal(self, error: RequestError, target: Format, tree: Any) -> RequestError:
        """An error about the body that a target would get, with the client's own param."""
        if error.param:
            error.param = self.wire(error.param, target, tree)
        return error

    def _place(self, path: str, tree: Any) -> str:
        """The nearest around the path that came from the client's request."""
        while path:
            if place := self._places.of(tree, path):
                return place
            if not path.endswith("]"):
                return ""
            path = path.rpartition("[")[0]
        return ""


def _path_to(part: Any, tree: Any, path: str) -> str:
    """Where that very object stands."""
    if tree is part:
        return path
    below: Iterable[tuple[str, Any]] = ()
    if type(tree) is dict:
        below = ((f"{path}.{key}" if path else key, value) for key, value in tree.items() if key != "extra")
    elif type(tree) is list:
        below = ((f"{path}[{number}]", value) for number, value in enumerate(tree))
    return next((found for place, value in below if (found := _path_to(part, value, place))), "")
