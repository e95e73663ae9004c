"""Which fields a format's mapping carries: every field of the canonical form is encoded or has a policy, in each
format, and every field of a format's own requests and answers is decoded, or at least carried along."""

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
_PLURALS: Final = {"turn": "turns", "source": "sources", "citation": "citations", "logprob": "logprobs"}


@dataclass(frozen=True, slots=True)
class Covered:
    """One field: `verdict` is mapped, emulated, dropped, rejected, ignored, carried (in `extra`), or None for a gap.

    `section` is request or response, `direction` decode (a field of the format) or encode (a canonical one).
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
    """Every field of both sides, of requests and of answers."""
    canonical = Book(schemas.document("canonical.schema.json"))
    names = {identity(one): name for name, shape in units(canonical).items() for one in shape.alternatives or ()}
    whole = {identity(one) for name in _WHOLE for one in canonical.definition(name).alternatives or ()}
    for section in ("request", "response"):
        prefix = "" if section == "request" else "response."
        validator = schemas.format(form.name, section)
        ends = {
            "decode": Book(validator.schema).root() if validator else ANYTHING,
            "encode": canonical.definition(section),
        }
        for direction, source in ends.items():
            node = _template(form, section, direction)
            if node is None:
                continue
            checker = TypeChecker(form.source, canonical.definition("context"))
            checker.template(node, SECTIONS[section][direction == "encode"], source, ANYTHING)
            start = prefix if direction == "encode" else f"extra.{form.name}.{prefix}"
            walk = _Walk(names, whole, checker, form.policy, start)
            for path, verdict in walk.fields(source):
                yield Covered(section, direction, path, verdict)


def _template(form: Format, section: str, direction: str) -> Node | None:
    root = form.source.root
    node = root.get(section) if isinstance(root, Map) else None
    return node.get(direction) if isinstance(node, Map) else None


def _line(form: Format, field: Covered) -> int:
    node = _template(form, field.section, field.direction)
    return node.line if node is not None else 0


class _Walk:
    """Goes over a shape's fields, nearest first, and into each kind of map once."""

    def __init__(
        self, names: Mapping[int, str], whole: set[int], checker: TypeChecker, policy: Policy, start: str
    ) -> None:
        self._names = names
        self._whole = whole
        self._checker = checker
        self._policy = policy
        self._start = start
        self._seen: set[int] = set()

    def fields(self, root: Shape) -> Iterator[tuple[str, str | None]]:
        """(path, what becomes of it)."""
        level = [(root, "", "")]
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
            return  # passed on whole
        self._seen.add(known)
        path, plain = (name, name) if name else (path + _label(one, shape), plain)
        for field, schema in properties.items():
            if field in ("type", "extra") or ("_" in field and _camel(field) in properties):
                continue
            inner, inner_plain = f"{path}.{field}".lstrip("."), f"{plain}.{field}".lstrip(".")
            key = (known, field)
            state = "mapped" if key in self._checker.reads else "carried" if key in self._checker.carried else None
            verdict = self._policy.verdict(self._start + inner_plain.replace("[*]", ""), state)
            yield inner, verdict
            if verdict not in ("mapped", "emulated"):
                continue
            assert shape.book is not None
            found = shape.book.shape(schema)
            items = found.items()
            below.append((found, inner, inner_plain))
            if items is not None and items.alternatives is not None:
                below.append((items, f"{inner}[*]", f"{inner_plain}[*]"))


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
