"""Which fields a format's mapping carries: every field of the canonical form is encoded or has a policy, in each
format, and every field of a format's own requests, answers and stream events is decoded, or at least carried along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from nexeon.errors import Problem
from nexeon.mapping.format import SECTIONS, Format
from nexeon.mapping.library import Library
from nexeon.mapping.policy import Policy
from nexeon.mapping.schemas import Schemas
from nexeon.mapping.shapes import ANYTHING, Book, Schema, Shape, identity
from nexeon.mapping.source import Map, Node
from nexeon.mapping.typecheck import TypeChecker

_WHOLE: Final = ("cache", "seal", "extra")
"""Canonical values that pass as one: their fields are read by the filters that make and open them."""
PREFIXES: Final = {
    ("request", "decode"): "",
    ("request", "encode"): "",
    ("response", "decode"): "response.",
    ("response", "encode"): "response.",
    ("stream", "decode"): "events.",
    ("stream", "encode"): "pieces.",
}
"""What the policies of each side begin with (those of the format's own fields stand under `extra.NAME.`)."""
_PLURALS: Final = {"turn": "turns", "source": "sources", "citation": "citations", "logprob": "logprobs"}


@dataclass(frozen=True, slots=True)
class Covered:
    """One field: `verdict` is mapped, emulated, dropped, rejected, ignored, carried (in `extra`), or None for a gap.

    `section` is request, response or stream, `direction` decode (a field of the format) or encode (a canonical one).
    Paths in a stream begin with the type of the event or piece.
    """

    section: str
    direction: str
    path: str
    verdict: str | None


def units(canonical: Book) -> dict[str, Shape]:
    """The parts of the canonical form that stand in many places, by the name that policies give them."""
    found = {plural: canonical.definition(name) for name, plural in _PLURALS.items()}
    for name, plural in (("block", "blocks"), ("tool", "tools")):
        for one in canonical.definition(name).alternatives or ():
            found[f"{plural}.{one['properties']['type']['const']}"] = Shape((one,), canonical)
    return found


def coverage(library: Library, schemas: Schemas) -> Iterator[Problem]:
    """A problem for each field that has neither a mapping nor a policy."""
    for form in library.formats.values():
        for one in covered(form, schemas):
            if one.verdict is None:
                message = f"{one.section}.{one.direction} neither maps `{one.path}` nor has a policy for it"
                yield Problem(message, form.source.name, _line(form, one))


def covered(form: Format, schemas: Schemas) -> Iterator[Covered]:
    """Every field of both sides, of requests, answers and streams."""
    canonical = Book(schemas.document("canonical.schema.json"))
    names = {identity(one): name for name, shape in units(canonical).items() for one in shape.alternatives or ()}
    whole = {identity(one) for name in _WHOLE for one in canonical.definition(name).alternatives or ()}
    # what a piece has of a block, or an event of an item, is told as in an answer
    blocks = {identity(one) for name in ("head", "block") for one in canonical.definition(name).alternatives or ()}
    answered: dict[str, dict[Kind, str | None]] = {}
    for section in ("request", "response", "stream"):
        validator = schemas.format(form.name, "event" if section == "stream" else section)
        ends = {
            "decode": Book(validator.schema).root() if validator else ANYTHING,
            "encode": canonical.definition("clean_piece" if section == "stream" else section),
        }
        for direction, source in ends.items():
            node = _template(form, section, direction)
            if node is None:
                continue
            checker = TypeChecker(form.source, canonical.definition("context"))
            checker.template(node, SECTIONS[section][direction == "encode"], source, ANYTHING)
            own = "" if direction == "encode" else f"extra.{form.name}."
            start = own + PREFIXES[section, direction]
            if section == "stream":
                answer = own + PREFIXES["response", direction]
                walk = _Walk(names, whole | blocks, checker, form.policy, start, answer, answered.get(direction))
                fields = walk.kinds(source)
            else:
                walk = _Walk(names, whole, checker, form.policy, start)
                fields = walk.fields(source)
            for path, verdict in fields:
                yield Covered(section, direction, path, verdict)
            if section == "response":
                answered[direction] = walk.told


def _template(form: Format, section: str, direction: str) -> Node | None:
    root = form.source.root
    node = root.get(section) if isinstance(root, Map) else None
    return node.get(direction) if isinstance(node, Map) else None


def _line(form: Format, field: Covered) -> int:
    node = _template(form, field.section, field.direction)
    return node.line if node is not None else 0


Kind = tuple[str, frozenset[str], str]
"""A field by the map it is in: the map's type, its fields, the field."""


class _Walk:
    """Goes over a shape's fields, nearest first, and into each kind of map once.

    `told` is what became of each field, by the kind of its map. A stream's walk falls back on answers: on the policies
    under `answer`, and on what their walk `found`.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        whole: set[int],
        checker: TypeChecker,
        policy: Policy,
        start: str,
        answer: str | None = None,
        found: Mapping[Kind, str | None] | None = None,
    ) -> None:
        self._names = names
        self._whole = whole
        self._answer = answer
        self._found = found or {}
        self.told: dict[Kind, str | None] = {}
        self._checker = checker
        self._policy = policy
        self._start = start
        self._seen: set[int] = set()

    def kinds(self, root: Shape) -> Iterator[tuple[str, str | None]]:
        """(path, what becomes of it) of events or pieces: each type as a whole, and the fields of those mapped."""
        for one in root.alternatives or ():
            shape = Shape((one,), root.book)
            properties: Schema = one.get("properties", {})
            kind = _constant(properties, "type")
            if kind is None:
                if "not" not in properties.get("type", {}):  # else: of any type that no schema knows
                    yield from self.fields(shape)
                continue
            known = identity(one)
            read = any((known, field) in self._checker.reads for field in properties if field != "type")
            verdict = self._policy.verdict(self._start + kind, "mapped" if read else None)
            yield kind, verdict
            if read and verdict == "mapped":
                yield from self.fields(shape, kind)

    def fields(self, root: Shape, start: str = "") -> Iterator[tuple[str, str | None]]:
        """(path, what becomes of it)."""
        level = [(root, start, start)]
        while level:
            below: list[tuple[Shape, str, str]] = []
            for shape, path, plain in level:
                for one in shape.alternatives or ():
                    yield from self._map(one, shape, path, plain, below)
            level = below

    def _map(
        self, one: Schema, shape: Shape, path: str, plain: str, below: list[tuple[Shape, str, str]]
    ) -> Iterator[tuple[str, str | None]]:
        properties: Schema = one.get("properties", {})
        known = identity(one)
        if known in self._seen or known in self._whole or not properties:
            return
        name = self._names.get(known, "")
        kind = "." in name  # one of several kinds of blocks or tools
        if path and not kind and not any((known, field) in self._checker.reads for field in properties):
            label = _label(one, shape)
            if (
                self._answer is not None
                and label
                and not any((known, field) in self._checker.carried for field in properties)
            ):
                self._seen.add(known)
                yield path + label, self._policy.verdict(f"{self._start}{plain}.{label[1:-1]}")
            return  # passed on whole
        self._seen.add(known)
        path, plain = (name, name) if name else (path + _label(one, shape), plain)
        for field, schema in properties.items():
            if field in ("type", "extra") or ("_" in field and _camel(field) in properties):
                continue
            inner, inner_plain = f"{path}.{field}".lstrip("."), f"{plain}.{field}".lstrip(".")
            key = (known, field)
            state = "mapped" if key in self._checker.reads else "carried" if key in self._checker.carried else None
            kind_of = (_constant(properties, "type") or "", frozenset(properties), field)
            verdict = self._policy.verdict(self._start + inner_plain.replace("[*]", ""), state)
            if verdict is None and self._answer is not None:  # one for every event, or that of answers
                verdict = self._policy.verdict(self._start + field)
                verdict = verdict or self._policy.verdict(self._answer + inner_plain.replace("[*]", ""))
                verdict = verdict or self._found.get(kind_of)
            self.told[kind_of] = verdict
            yield inner, verdict
            if verdict not in ("mapped", "emulated"):
                continue
            assert shape.book is not None
            found = shape.book.shape(schema)
            items = found.items()
            below.append((found, inner, inner_plain))
            if items is not None and items.alternatives is not None:
                below.append((items, f"{inner}[*]", f"{inner_plain}[*]"))


def _constant(properties: Schema, name: str) -> str | None:
    """The one value that a field can have."""
    found: str | None = properties.get(name, {}).get("const")
    return found


def _camel(name: str) -> str:
    """Some formats take both spellings of a field."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _label(schema: Schema, shape: Shape) -> str:
    """`(image)` for one of several kinds."""
    if len(shape.alternatives or ()) < 2:
        return ""
    properties = schema.get("properties", {})
    kind = properties.get("type", {}).get("const") or properties.get("role", {}).get("const")
    return f"({kind})" if kind else ""
