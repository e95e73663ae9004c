"""Answers as a resource: what a format says of it, in a file under `resources/` of a mapping folder.

resource: NAME
format: whose answers these are
path: where they stand under their id        prefix: of an answer's id
request: {input, previous, store, background}  paths in a request
refuse: {path: message}                        request fields that are not served
answer: {id, created, status, output, event, open}  paths in an answer; where an event holds one; statuses not final
query: {stream, after, include}                URL parameters of reading an answer
include: what may be asked for
shown: template over `view` (item, include): the item as who asked for that sees it
define: …
input: template over `body`: a request's input as a list of items
echo: template over `turn` (store, background, previous, body): what each answer says of these
states: {queued, in_progress, cancelled, failed: template over `state` (message)}
begin: template over `state` (answer): the events that a stream in the background begins with; begun: its answer's own
       types of events that they stand for
ended: {cancelled, failed: template over `state` (answer, message)}: the events that end one that breaks off
lean: template over `item`: the item for a model that takes no media
reference: template over `item`: the id of the item that it stands for; missing where it is one itself
bare: template over `item`: the id of an item that came without what is only shown where it is asked for
broken: template over `item`: a call that breaks off
finished: template over `event`: the item that it tells as ended
unfinished: template over `part` (item; status of its answer): true for such a one, that nothing can go on from
items: template over `list` (items, token)     page: template over `page` (items, more)
deleted: template over `answer` (id)
shorten: {path: value}                         requests that may lose their oldest items
summary: path in an item of a summary that was made here, in an envelope
compact: template over `body`: the request for a summary
compacted: template over `compact` (id, created, items, summary, answer): what the client gets
restored: template over `summary` (text): the summary as an item that any model reads
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nexeon.errors import MappingError, MappingFailure, Problem, RequestError
from nexeon.gateway.partfiles import PartFiles, sections
from nexeon.mapping import Format, Library, new_context
from nexeon.mapping.module import Module
from nexeon.mapping.paths import Path
from nexeon.mapping.runtime import Transform
from nexeon.mapping.source import Map, Source

_FOLDER: Final = "resources"
_TEMPLATES: Final = {
    "input": "body", "echo": "turn", "lean": "item", "items": "list", "page": "page", "deleted": "answer",
    "reference": "item", "restored": "summary", "compact": "body", "compacted": "compact", "shown": "view",
    "bare": "item", "broken": "item", "finished": "event", "unfinished": "part", "begin": "state",
}  # fmt: skip
_STATES: Final = {"states": ("queued", "in_progress", "cancelled", "failed"), "ended": ("cancelled", "failed")}
_MAPS: Final = {
    "request": ("input", "previous", "store", "background"),
    "answer": ("id", "created", "status", "output", "event"),
    "query": ("stream", "after", "include"),
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
    begun: frozenset[str]
    include: frozenset[str]
    query: Mapping[str, str]
    refuse: tuple[tuple[Path, str], ...]
    shorten: tuple[tuple[Path, Any], ...]
    summary: Path
    _templates: Mapping[str, Transform]

    def shown(self, answer: dict[str, Any], include: frozenset[str]) -> dict[str, Any]:
        """An answer as whoever asked for this may see it; the same object where nothing is hidden."""
        output = self.answer["output"].get(answer)
        if not isinstance(output, list):
            return answer
        items = [self.item_shown(item, include) for item in output]
        if all(item is whole for item, whole in zip(items, output, strict=True)):
            return answer
        return dict(self.answer["output"].put(answer, items))

    def item_shown(self, item: Any, include: frozenset[str]) -> Any:
        shown = self.make("shown", {"item": item, "include": sorted(include)}) if isinstance(item, dict) else item
        return item if shown == item else shown

    def lasting(self, output: Any, status: str) -> list[Any]:
        """The items of an output that a conversation can go on from; `status` is that of its answer."""
        if not isinstance(output, list):
            return []
        return [item for item in output if not self.make("unfinished", {"item": item, "status": status})]

    def broken_off(self, answer: dict[str, Any], calls: Collection[str]) -> dict[str, Any]:
        """An answer of whose calls these are not whole."""
        output = self.answer["output"].get(answer)
        if not calls or not isinstance(output, list):
            return answer
        fields = {str(path.steps[-1]) for path in self.format.wire.request.calls}
        items = [
            self.make("broken", item) if any(item.get(field) in calls for field in fields) else item for item in output
        ]
        return dict(self.answer["output"].put(answer, items))

    def make(self, name: str, value: Any) -> Any:
        """What a template gives. Raises RequestError 500 where it fails: such a file is wrong."""
        try:
            return self._templates[name](value, new_context(format=self.format.name))
        except MappingFailure as failure:
            raise RequestError(500, "internal", f"the answers of `{self.format.name}`: {failure.message}") from failure


def load_resources(library: Library, files: PartFiles | None = None) -> dict[str, Resource]:
    """By format name. Raises MappingError with every problem of every file."""
    found = (files or PartFiles()).load(library, _FOLDER, _compile)
    return {resource.format.name: resource for resource in found}


def _compile(source: Source, library: Library) -> Resource:
    root, data = sections(source, ("format", "path", "prefix", "summary", *_STATES, *_MAPS, *_TEMPLATES))
    problems = [
        Problem(f"`{part}.{name}` is missing", source.name, 1)
        for part, names in (*_MAPS.items(), *_STATES.items())
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
    for part, names in _STATES.items():
        states = root.get(part)
        assert isinstance(states, Map)
        for name in names:
            node = states.get(name)
            assert node is not None
            makers[f"{part}.{name}"] = module.add(node, "state", f"{part}.{name}")
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
        begun=frozenset(data.get("begun", ())),
        include=frozenset(data.get("include", ())),
        query={name: str(text) for name, text in data["query"].items()},
        refuse=tuple((Path(path), str(message)) for path, message in data.get("refuse", {}).items()),
        shorten=tuple((Path(path), value) for path, value in data.get("shorten", {}).items()),
        summary=Path(str(data["summary"])),
        _templates={name: make() for name, make in makers.items()},
    )
