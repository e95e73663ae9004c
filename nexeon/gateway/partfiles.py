"""Mapping files that are neither formats nor dialects: of model lists, counters, answers as a resource. Each belongs to
one format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from nexeon.errors import MappingError, Problem
from nexeon.mapping import Library
from nexeon.mapping.source import Map, Source, plain, read

Made = TypeVar("Made")
Key = tuple[str, str]


class PartFiles:
    """What was made of such files, so that one that is as it was need not be compiled again."""

    def __init__(self, before: PartFiles | None = None) -> None:
        self._before: Final[dict[Key, tuple[str, Any]]] = dict(before._made) if before is not None else {}
        self._made: Final[dict[Key, tuple[str, Any]]] = {}

    def load(self, library: Library, folder: str, make: Callable[[Source, Library], Made]) -> list[Made]:
        """What `make` makes of each file of a folder: dataclasses with a `format`. A later mapping folder's file
        replaces an earlier one of the same name. Raises MappingError with every problem of every file."""
        earlier = {key: self._before.pop(key) for key in list(self._before) if key[0] == folder}
        texts: dict[str, Source] = {}
        problems: list[Problem] = []
        made = []
        for root in library.folders:
            for path in sorted((root / folder).glob("*.yaml")):
                try:
                    texts[path.stem] = read(path, f"{folder}/{path.name}")
                except MappingError as error:
                    problems += error.problems
        for stem, source in texts.items():
            key = (folder, stem)
            text, one = earlier.get(key, ("", None))
            try:
                if one is None or text != source.text:
                    one = make(source, library)
                elif one.format is not library.formats.get(one.format.name):
                    one = replace(one, format=library.format(one.format.name))
            except MappingError as error:
                problems += error.problems
            else:
                self._made[key] = source.text, one
                made.append(one)
        if problems:
            raise MappingError(problems)
        return made


def sections(source: Source, needed: tuple[str, ...]) -> tuple[Map, dict[str, Any]]:
    """A file's root, as it is and plain. Raises MappingError where it is no map or a part is missing."""
    data = plain(source.root)
    if not isinstance(source.root, Map) or not isinstance(data, dict):
        raise MappingError([Problem("the file is a map", source.name, 1)])
    missing = [name for name in needed if name not in data]
    if missing:
        raise MappingError([Problem(f"`{name}` is missing", source.name, 1) for name in missing])
    return source.root, data
