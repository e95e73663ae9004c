"""Answers as a resource: what a format says of it, in a file under `resources/` of a mapping folder.

resource: NAME
format: whose answers these are
path: where they stand under their id        prefix: of an answer's id
request: {input, previous, store, background}  paths in a request
refuse: {path: message}                        request fields that are not served
answer: {id, status, output, event, open}      paths in an answer; where an event holds one; statuses not final
query: {stream, after}                         URL parameters of reading an answer's events again
define: …
input: template over `body`: a request's input as a list of items
echo: template over `turn` (store, background, previous): what each answer says of these
states: {queued, in_progress, cancelled, failed: template over `state` (message)}
lean: template over `item`: the item for a model that takes no media
reference: template over `item`: the id of the item that it stands for; missing where it is one itself
items: template over `list` (items, token)     page: template over `page` (items, more)
deleted: template over `answer` (id)
shorten: {path: value}                         requests that may lose their oldest items
summary: path in an item of a summary that was made here, in an envelope
compact: template over `body`: the request for a summary
compacted: template over `compact` (id, created, items, summary, answer): what the client gets
restored: template over `summary` (text): the summary as an item that any model reads
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nexeon.errors import MappingError, MappingFailure, Problem, RequestError
from nexeon.mapping import Format, Library, new_context
from nexeon.mapping.module import Module
from nexeon.mapping.paths import Path
from nexeon.mapping.runtime import Transform
from nexeon.mapping.source import Map, Source, plain, read

_FOLDER: Final = "resources"
_TEMPLATES: Final = {
    "input": "body", "echo": "turn", "lean": "item", "items": "list", "page": "page", "deleted": "answer",
    "reference": "item", "restored": "summary", "compact": "body", "compacted": "compact",
}  # fmt: skip
_STATES: Final = ("queued", "in_progress", "cancelled", "failed")
_MAPS: Final = {
    "request": ("input", "previous", "store", "background"),
    "answer": ("id", "status", "output", "event"),
    "query": ("stream", "after"),
}


@dataclass(frozen=True, slots=True)
class Resource:
    """One format's answers, compiled. `request`, `answer` hold paths by what they lead to."""

    format: Format
    path: str
    prefix: str
    request: Mapping[str, Path]
    answer: Mapping[str, Path]
    open: frozenset[str]
    query: Mapping[str, str]
    refuse: tuple[tuple[Path, str], ...]
    shorten: tuple[tuple[Path, Any], ...]
    summary: Path
    _templates: Mapping[str, Transform]

    def make(self, name: str, value: Any) -> Any:
        """What a template gives. Raises RequestError 500 where it fails: such a file is wrong."""
        try:
            return self._templates[name](value, new_context(format=self.format.name))
        except MappingFailure as failure:
            raise RequestError(500, "internal", f"the answers of `{self.format.name}`: {failure.message}") from failure


def load_resources(library: Library) -> dict[str, Resource]:
    """By format name; a later folder's file replaces an earlier one of the same name.

    Raises MappingError with every problem of every file.
    """
    return {resource.format.name: resource for resource in load_files(library, _FOLDER, _compile)}


def load_files(library: Library, folder: str, make: Callable[[Source, Library], Any]) -> list[Any]:
    """What `make` makes of each file of a folder. Raises MappingError with every problem of every file."""
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    made = []
    for root in library.folders:
        for path in sorted((root / folder).glob("*.yaml")):
            try:
                sources[path.stem] = read(path, f"{folder}/{path.name}")
            except MappingError as error:
                problems += error.problems
    for source in sources.values():
        try:
            made.append(make(source, library))
        except MappingError as error:
            problems += error.problems
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


def _compile(source: Source, library: Library) -> Resource:
    root, data = sections(source, ("format", "path", "prefix", "states", "summary", *_MAPS, *_TEMPLATES))
    problems = [
        Problem(f"`{part}.{name}` is missing", source.name, 1)
        for part, names in (*_MAPS.items(), ("states", _STATES))
        for name in names
        if name not in data[part]
    ]
    if problems:
        raise MappingError(problems)
    module = Module(source)
    makers = {}
    for name, variable in _TEMPLATES.items():
        node = root.get(name)
        assert node is not None
        makers[name] = module.add(node, variable, name)
    states = root.get("states")
    assert isinstance(states, Map)
    for name in _STATES:
        node = states.get(name)
        assert node is not None
        makers[name] = module.add(node, "state", name)
    module.finish()
    paths = {
        part: {name: Path(text) for name, text in data[part].items() if isinstance(text, str)}
        for part in ("request", "answer")
    }
    return Resource(
        format=library.format(str(data["format"])),
        path=str(data["path"]).rstrip("/"),
        prefix=str(data["prefix"]),
        request=paths["request"],
        answer=paths["answer"],
        open=frozenset(data["answer"].get("open", ())),
        query={name: str(text) for name, text in data["query"].items()},
        refuse=tuple((Path(path), str(message)) for path, message in data.get("refuse", {}).items()),
        shorten=tuple((Path(path), value) for path, value in data.get("shorten", {}).items()),
        summary=Path(str(data["summary"])),
        _templates={name: make() for name, make in makers.items()},
    )
