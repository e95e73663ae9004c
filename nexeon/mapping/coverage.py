"""Which fields a format's mapping carries: every canonical request field is mapped or has a policy, in each format,
and every field of a format's own request is read, or at least carried along, when it is decoded."""

from __future__ import annotations

from collections.abc import Iterator

from nexeon.errors import Problem
from nexeon.mapping.format import Format
from nexeon.mapping.library import Library
from nexeon.mapping.schemas import Schemas
from nexeon.mapping.shapes import ANYTHING, Book, Schema, Shape
from nexeon.mapping.source import Map, Node
from nexeon.mapping.typecheck import TypeChecker


def coverage(library: Library, schemas: Schemas) -> Iterator[Problem]:
    """A problem for each field that has neither a mapping nor a policy."""
    canonical = Book(schemas.document("canonical.schema.json"))
    for form in library.formats.values():
        root = form.source.root
        section = root.get("request") if isinstance(root, Map) else None
        if not isinstance(section, Map):
            continue
        request = canonical.definition("request")
        yield from _direction(form, section.get("encode"), "request", request, canonical)
        validator = schemas.format(form.name, "request")
        if validator is not None:
            book = Book(validator.schema)
            yield from _direction(form, section.get("decode"), "body", book.root(), canonical)


def _direction(form: Format, node: Node | None, root: str, source: Shape, canonical: Book) -> Iterator[Problem]:
    if node is None:
        return
    checker = TypeChecker(form.source, canonical.definition("context"))
    checker.template(node, root, source, ANYTHING)
    known = {path.removeprefix(f"extra.{form.name}.") for path in form.policy} | set(form.policy)
    for path in sorted(set(_missing(source, checker.reads, "", set()))):
        if not _has_policy(path, known):
            direction = "encode" if root == "request" else "decode"
            yield Problem(
                f"request.{direction} neither maps `{path}` nor has a policy for it", form.source.name, node.line
            )


def _has_policy(path: str, known: set[str]) -> bool:
    """A policy for a field is one for everything below it."""
    parts = path.split(".")
    return any(".".join(parts[:count]) in known for count in range(1, len(parts) + 1))


def _missing(shape: Shape, reads: set[tuple[int, str]], path: str, seen: set[int]) -> Iterator[str]:
    """Paths that are never read. Below a value that is passed on whole nothing is looked for."""
    for one in shape.alternatives or ():
        properties: Schema = one.get("properties", {})
        if id(one) in seen or not properties:
            continue
        seen.add(id(one))
        if path and not any((id(one), name) in reads for name in properties):
            continue
        label = _label(one)
        for name, schema in properties.items():
            inner = f"{path}{'.' if path and not label else ''}{label}{'.' if label else ''}{name}"
            if (id(one), name) not in reads:
                if name not in ("type", "extra", "role"):
                    yield inner
                continue
            assert shape.book is not None
            found = shape.book.shape(schema)
            yield from _missing(found, reads, inner, seen)
            items = found.items()
            if items is not None and items.alternatives is not None:
                yield from _missing(items, reads, f"{inner}[*]", seen)


def _label(schema: Schema) -> str:
    """`(image)` for one of several kinds of items."""
    kind = schema.get("properties", {}).get("type", {}).get("const")
    return f"({kind})" if kind else ""
