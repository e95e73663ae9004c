"""`nexeon check` for mappings and schemas: everything that can be known before a request comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import jsonschema_rs

from nexeon.errors import MappingError, Problem
from nexeon.mapping import paths
from nexeon.mapping.cases import read_cases, run_case
from nexeon.mapping.coverage import coverage, units
from nexeon.mapping.dialect import OUR_FACTS, Dialect
from nexeon.mapping.format import Format
from nexeon.mapping.library import Library, line_of, load_library
from nexeon.mapping.module import plainly
from nexeon.mapping.schemas import Schemas
from nexeon.mapping.scope import did_you_mean
from nexeon.mapping.shapes import ANYTHING, Book, Shape
from nexeon.mapping.source import Map, Seq
from nexeon.mapping.typecheck import TypeChecker

_PARTS = {"request": "request", "response": "response", "event": "event", "error": "error"}


@dataclass(slots=True)
class Report:
    """What a check found, and how much it looked at."""

    problems: list[Problem] = field(default_factory=list)
    formats: int = 0
    dialects: int = 0
    cases: int = 0
    library: Library | None = None

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


class Shapes:
    """Shapes of the canonical form and of each format's messages."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self.canonical = Book(schemas.document("canonical.schema.json"))
        self._books: dict[tuple[str, str], Shape] = {}

    def format(self, name: str, part: str) -> Shape:
        """ANYTHING where the format has no such schema."""
        key = (name, part)
        if key not in self._books:
            validator = self._schemas.format(name, part)
            self._books[key] = Book(validator.schema).root() if validator is not None else ANYTHING
        return self._books[key]


def check(
    folders: Sequence[Path],
    schema_folders: Sequence[Path],
    *,
    with_coverage: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Schemas, mapping files, every path in them, and every case. Never raises for what a file says.

    `with_coverage` also finds fields that have neither a mapping nor a policy. `progress` hears what comes next.
    """
    report = Report()
    report.problems += _schema_files(schema_folders)
    if report.failed:
        return report
    schemas = Schemas(*schema_folders)
    try:
        with plainly():
            library = load_library(folders, schemas.document("mapping.schema.json"))
    except MappingError as error:
        report.problems += error.problems
        return report
    report.library = library
    report.formats, report.dialects = len(library.formats), len(library.dialects)
    shapes = Shapes(schemas)
    read: dict[str, tuple[str, int]] = {}
    for form in library.formats.values():
        progress(form.name)
        checker = TypeChecker(form.source, shapes.canonical.definition("context"))
        _check_format(form, checker, shapes)
        report.problems += checker.problems
        read |= {name: (checker.file, line) for name, line in checker.profile.items()}
    told: dict[str, tuple[str, int]] = {}
    for dialect in library.dialects.values():
        progress(dialect.name)
        checker = TypeChecker(dialect.source, shapes.canonical.definition("context"))
        _check_dialect(dialect, checker, shapes, told)
        report.problems += checker.problems
        read |= {name: (checker.file, line) for name, line in checker.profile.items()}
    report.problems += _profile(read, told)
    if with_coverage:
        report.problems += coverage(library, schemas)
    progress("cases")
    for folder in folders:
        for case in read_cases(folder / "tests"):
            report.cases += 1
            found = case if isinstance(case, Problem) else run_case(case, library, schemas)
            if found is not None:
                report.problems.append(found)
    return report


def _schema_files(folders: Sequence[Path]) -> Iterator[Problem]:
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            name = path.relative_to(folder).as_posix()
            try:
                schema = json.loads(path.read_text(encoding="utf-8"))
                if not jsonschema_rs.meta.is_valid(schema):
                    jsonschema.Draft202012Validator.check_schema(schema)
            except (ValueError, OSError) as error:
                yield Problem(f"not JSON: {error}", name)
            except jsonschema.SchemaError as error:
                yield Problem(f"not a JSON Schema: {error.message}", name, path=error.json_path)


def _check_format(form: Format, checker: TypeChecker, shapes: Shapes) -> None:
    root = form.source.root
    assert isinstance(root, Map)
    book = shapes.canonical
    pieces = book.shape({"anyOf": [{"$ref": "#/$defs/piece"}, {"type": "array", "items": {"$ref": "#/$defs/piece"}}]})
    event = shapes.format(form.name, "event")
    events = event | _listed(event)
    jobs: list[tuple[str, str, str, Shape, Shape]] = [
        (section, direction, name, *(ends if direction == "decode" else ends[::-1]))
        for section in ("request", "response", "error")
        for direction, name in (("decode", "body"), ("encode", section))
        for ends in [(shapes.format(form.name, section), book.definition(section))]
    ]
    jobs.append(("stream", "decode", "event", event, pieces))
    jobs.append(("stream", "encode", "piece", book.definition("clean_piece"), events))
    jobs.append(("request", "headers", "body", shapes.format(form.name, "request"), ANYTHING))
    for section, direction, name, source, target in jobs:
        node = root.get(section)
        template = node.get(direction) if isinstance(node, Map) else None
        if template is not None:
            if (section, direction) == ("error", "decode"):
                source = ANYTHING  # whatever a proxy answers, text included
            checker.template(template, name, source, target)
    for part in ("params", "policy"):
        for path in form.data.get(part, {}):
            if not path.startswith("extra."):
                _known_part(path, book, checker, line_of(root, [part, path]))


def _listed(shape: Shape) -> Shape:
    if shape.alternatives is None or shape.book is None:
        return ANYTHING
    return shape.book.shape({"type": "array", "items": {"anyOf": list(shape.alternatives)}})


def _known_part(path: str, canonical: Book, checker: TypeChecker, line: int) -> None:
    """A path of a policy: into the request or the answer, or into a part that is named by what it is."""
    whole = canonical.definition("response" if path.startswith("response.") else "request")
    if path.startswith("pieces."):
        _known_piece(path.removeprefix("pieces."), canonical.definition("clean_piece"), checker, line)
        return
    path = path.removeprefix("response.")
    named = {**units(canonical), "usage": canonical.definition("usage")}
    for plural in ("blocks", "tools"):
        kinds = [shape for name, shape in named.items() if name.startswith(f"{plural}.")]
        every = kinds[0]
        for kind in kinds[1:]:
            every |= kind
        named[f"{plural}[*]"] = every
    for name, shape in sorted(named.items(), key=lambda one: -len(one[0])):
        if path == name:
            return
        if path.startswith(f"{name}."):
            _known_path(path.removeprefix(f"{name}."), shape, checker, line)
            return
    _known_path(path, whole, checker, line)


def _known_piece(path: str, pieces: Shape, checker: TypeChecker, line: int) -> None:
    """A kind of pieces, a field of one kind, or a field of whatever kinds have it."""
    kind, _, rest = path.partition(".")
    of_kind = pieces.where("type", kind)
    if not of_kind.alternatives:
        _known_path(path, pieces, checker, line)
    elif rest:
        _known_path(rest, of_kind, checker, line)


def _known_path(text: str, shape: Shape, checker: TypeChecker, line: int) -> Shape:
    """Follows a path; reports the first step that the schema does not know."""
    try:
        steps = paths.Path(text).steps
    except ValueError as error:
        checker.report(str(error), line)
        return ANYTHING
    for step in steps:
        listed = isinstance(step, int) or step == "[*]"
        found = shape.items() if listed else shape.field(str(step))
        if found is None:
            mend = "" if listed else did_you_mean(str(step), shape.fields())
            checker.report(f"`{text}`: no field `{step}`{mend}", line)
            return ANYTHING
        shape = found
    return shape


def _check_dialect(dialect: Dialect, checker: TypeChecker, shapes: Shapes, told: dict[str, tuple[str, int]]) -> None:
    root = dialect.source.root
    assert isinstance(root, Map)
    sections = root.get("formats")
    for section in sections if isinstance(sections, Map) else ():
        if not isinstance(section.node, Map):
            continue
        profile = section.node.get("profile")
        told |= {entry.name: (checker.file, entry.key.line) for entry in (profile if isinstance(profile, Map) else ())}
        for part, schema in _PARTS.items():
            rows = section.node.get(part)
            for row in rows.items if isinstance(rows, Seq) else ():
                if isinstance(row, Map):
                    _check_rule(row, shapes.format(section.name, schema), checker, told)


def _check_rule(row: Map, body: Shape, checker: TypeChecker, told: dict[str, tuple[str, int]]) -> None:
    for entry in row:
        node, line = entry.node, entry.key.line
        if entry.name == "profile" and isinstance(node, Map):
            told |= {fact.name: (checker.file, fact.key.line) for fact in node}
        elif entry.name in ("set", "default") and isinstance(node, Map):
            for field_entry in node:
                target = _known_path(field_entry.name, body, checker, field_entry.key.line)
                checker.template(field_entry.node, "body", body, target)
        elif entry.name == "each" and isinstance(node, Map):
            for field_entry in node:
                target = _known_path(field_entry.name, body, checker, field_entry.key.line)
                checker.template(field_entry.node, "item", target, target)
        elif entry.name in ("reject", "values") and isinstance(node, Map):
            for field_entry in node:
                _known_path(field_entry.name, body, checker, field_entry.key.line)
        elif entry.name == "rename" and isinstance(node, Map):
            for field_entry in node:
                _known_path(field_entry.name, body, checker, line)
        elif entry.name in ("drop", "discard") and isinstance(node, Seq):
            for item in node.items:
                _known_path(str(getattr(item, "value", "")), body, checker, item.line)
        elif entry.name == "when":
            checker.condition(node, "body", body)
        elif entry.name == "call":
            checker.function(str(getattr(node, "value", "")), body, body)


def _profile(read: dict[str, tuple[str, int]], told: dict[str, tuple[str, int]]) -> Iterator[Problem]:
    """Facts of `ctx.profile` that nobody tells, or that nobody reads: either is a typo."""
    for name, (file, line) in read.items():
        if name not in told:
            yield Problem(f"no dialect says `profile.{name}`{did_you_mean(name, told)}", file, line)
    for name, (file, line) in told.items():
        if name not in read and name not in OUR_FACTS:
            yield Problem(f"no mapping reads `profile.{name}`{did_you_mean(name, read)}", file, line)
