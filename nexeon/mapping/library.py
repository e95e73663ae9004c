"""All mapping files of a deployment, loaded and compiled together."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from nexeon.errors import MappingError, Problem
from nexeon.mapping.dialect import Dialect, ModelDialect
from nexeon.mapping.format import Format
from nexeon.mapping.scope import did_you_mean
from nexeon.mapping.source import Map, Node, Scalar, Seq, Source, parse, plain, read
from nexeon.mapping.wirefacts import WireFacts

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


@dataclass(slots=True)
class Library:
    """Formats and dialects by name."""

    formats: dict[str, Format] = field(default_factory=dict)
    dialects: dict[str, Dialect] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    @property
    def key_headers(self) -> tuple[str, ...]:
        """Headers in which some format's clients send a bare key."""
        headers = (form.wire.request.key_header for form in self.formats.values())
        return tuple(sorted({header for header in headers if header is not None}))

    def forget_trees(self) -> None:
        """Lets go of what the files were parsed to, which only checking and explaining looks at again."""
        found: list[Format | Dialect] = [*self.formats.values(), *self.dialects.values()]
        for made in found:
            made.source.root = Map([], 1)
        for dialect in self.dialects.values():
            dialect.forget_rows()

    def format(self, name: str) -> Format:
        """The format, or a KeyError's better: a MappingError that knows the near misses."""
        if name not in self.formats:
            raise MappingError([Problem(f"unknown format `{name}`{did_you_mean(name, self.formats)}")])
        return self.formats[name]

    def dialect(self, name: str | None, format_name: str, model: str) -> ModelDialect:
        """A dialect's rules for a model; with no dialect (or one that says nothing of the format), none."""
        if name is not None and name in self.dialects:
            return self.dialects[name].for_model(format_name, model)
        if name is not None:
            raise MappingError([Problem(f"unknown dialect `{name}`{did_you_mean(name, self.dialects)}")])
        wire: WireFacts = self.formats[format_name].wire
        return ModelDialect({}, wire, {part: [] for part in ("request", "response", "event", "error")})


def load_library(
    folders: Sequence[Path],
    schema: Mapping[str, Any] | None = None,
    *,
    before: Library | None = None,
    pause: Callable[[], None] = lambda: None,
) -> Library:
    """Compiles every file under `formats/` and `dialects/` of the folders; a later folder's file replaces an earlier
    one of the same format or dialect. Raises MappingError with every problem of every file.

    `schema`: the mapping schema (`schemas/mapping.schema.json`), where files are to be validated first. What
    `before` made of a file that is as it was is taken as it is. `pause` is called between files that are read, for
    whoever does this beside other work.
    """
    with _uncollected():
        return _load(folders, schema, before or Library(), pause)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Compiling makes a great many nodes that live to its end: looking for garbage in between takes half the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _load(
    folders: Sequence[Path], schema: Mapping[str, Any] | None, before: Library, pause: Callable[[], None]
) -> Library:
    library = Library(folders=tuple(folders))
    made: list[Format | Dialect] = [*before.formats.values(), *before.dialects.values()]
    sources, problems = read_sources(folders, schema, pause, {one.source.path: (one.name, one.source) for one in made})
    facts: dict[str, Mapping[str, Any]] = {}
    for name, source in sources["formats"].items():
        there = before.formats.get(name)
        if there is not None and there.source is source:
            library.formats[name], facts[name] = there, there.data
            continue
        pause()
        facts[name] = plain(source.root)
        try:
            library.formats[name] = Format(source)
        except MappingError as error:
            problems += error.problems
    for name, source in sources["dialects"].items():
        earlier = before.dialects.get(name)
        same = earlier is not None and earlier.source is source
        if earlier is not None and same and earlier.fits(facts):
            library.dialects[name] = earlier
            continue
        pause()
        try:
            library.dialects[name] = Dialect(source if not same else _anew(source), facts)
        except MappingError as error:
            problems += error.problems
    if problems:
        raise MappingError(problems)
    return library


def _anew(source: Source) -> Source:
    """The same with its tree, which may have been let go of."""
    return parse(source.text, source.name, source.path)


def read_sources(
    folders: Sequence[Path],
    schema: Mapping[str, Any] | None = None,
    pause: Callable[[], None] = lambda: None,
    known: Mapping[Path | None, tuple[str, Source]] | None = None,
) -> tuple[dict[str, dict[str, Source]], list[Problem]]:
    """The files by `formats` or `dialects` and by the name that they give themselves, and what is wrong with them.
    A file of `known`, with its name, is not parsed again where its text is the same."""
    before = known or {}
    problems: list[Problem] = []
    sources: dict[str, dict[str, Source]] = {"formats": {}, "dialects": {}}
    for folder in folders:
        if not folder.is_dir():
            problems.append(Problem(f"no such folder: {folder}"))
        for part, key in (("formats", "format"), ("dialects", "dialect")):
            for path in sorted((folder / part).glob("*.yaml")):
                name, there = before.get(path, ("", None))
                try:
                    source = read(path, f"{part}/{path.name}", there)
                except MappingError as error:
                    problems += error.problems
                    continue
                if source is there:
                    sources[part][name] = source
                    continue
                pause()
                found = validate(source, key, schema)
                problems += found
                if not found and isinstance(source.root, Map):
                    named = source.root.get(key)
                    assert isinstance(named, Scalar)
                    sources[part][str(named.value)] = source
    return sources, problems


def validate(source: Source, key: str, schema: Mapping[str, Any] | None) -> list[Problem]:
    """Checks a file's shape against one definition of the mapping schema; without one, only what must be there."""
    data = plain(source.root)
    if not isinstance(data, dict) or not isinstance(data.get(key), str):
        return [Problem(f"a file here begins with `{key}: NAME`", source.name, source.root.line)]
    if schema is None:
        return []
    definition = {"$schema": schema.get("$schema"), "$defs": schema["$defs"], "$ref": f"#/$defs/{key}"}
    if jsonschema_rs.is_valid(definition, json.loads(json.dumps(data, default=str))):
        return []
    from jsonschema import Draft202012Validator  # slow to import, and needed only to explain
    from jsonschema.exceptions import best_match

    validator = Draft202012Validator(definition)
    problems = []
    for error in validator.iter_errors(data):
        best = best_match([error])
        path = ".".join(str(part) for part in best.absolute_path)
        problems.append(Problem(_explain(best), source.name, line_of(source.root, list(best.absolute_path)), path))
    return problems


def _explain(error: ValidationError) -> str:
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
        for name in error.instance:
            if name not in known:
                return f"unknown key `{name}`{did_you_mean(str(name), known)}"
    return error.message


def line_of(node: Node, path: Sequence[str | int]) -> int:
    """The line where a path of a file stands, or of its nearest parent."""
    line = node.line
    for step in path:
        following: Node | None = None
        if isinstance(node, Map):
            for entry in node:
                if entry.key.value == step:
                    following, line = entry.node, entry.key.line
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node.items):
            following = node.items[step]
            line = following.line
        if following is None:
            break
        node = following
    return line
