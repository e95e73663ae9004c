"""What a JSON Schema says a value may be, as far as the type checker asks: fields, items, constants and types.

A shape is a set of alternatives (`$ref`, `anyOf`, `oneOf` and `allOf` resolved); ANYTHING is a value of which nothing
is known. An object schema that lists `properties` has these fields and no others here, even where it is open: a field
that no schema knows is a typo until the schema learns it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

Schema = dict[str, Any]
_PART_OF: Final = "x-part-of"
_TYPES: Final = ("object", "array", "string", "number", "boolean", "null")


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """`alternatives` are schema objects without references; None is ANYTHING."""

    alternatives: tuple[Schema, ...] | None
    book: Book | None = None

    @property
    def key(self) -> tuple[int, ...]:
        """Identity for memoisation."""
        return tuple(sorted(id(one) for one in self.alternatives)) if self.alternatives is not None else (-1,)

    @property
    def types(self) -> frozenset[str] | None:
        """JSON types it may have (integers are numbers); None where unknown."""
        if self.alternatives is None:
            return None
        found: set[str] = set()
        for one in self.alternatives:
            types = types_of(one)
            if types is None:
                return None
            found |= types
        return frozenset(found)

    def field(self, name: str) -> Shape | None:
        """The field's shape; None where no alternative has it."""
        return self._pick(lambda one: _field(one, name))

    def items(self) -> Shape | None:
        """What a list holds; None where it is never a list."""
        return self._pick(_items)

    def values(self) -> Shape | None:
        """What a map or a list holds."""
        if self.alternatives is None:
            return ANYTHING
        found: list[Any] = []
        for one in self.alternatives:
            if "items" in one:
                found.append(one["items"])
            else:
                found += list(one.get("properties", {}).values()) or [one.get("additionalProperties") or True]
        return self.book.union(found) if self.book is not None else ANYTHING

    def fields(self) -> list[str]:
        """Every field that an alternative knows."""
        return sorted({name for one in self.alternatives or () for name in one.get("properties", {})})

    def _pick(self, choose: Any) -> Shape | None:
        if self.alternatives is None:
            return ANYTHING
        found = [schema for one in self.alternatives for schema in choose(one)]
        if not found:
            return None
        return self.book.union(found) if self.book is not None else ANYTHING

    def where(self, name: str, value: Any) -> Shape:
        """Only the alternatives whose field may have that constant value."""
        if self.alternatives is None:
            return self
        kept = tuple(one for one in self.alternatives if self._allows(one, name, value))
        return Shape(kept, self.book)

    def without(self, name: str, values: Collection[Any]) -> Shape:
        """Not the alternatives whose field is always one of these."""
        if self.alternatives is None or self.book is None:
            return self
        kept = []
        for one in self.alternatives:
            known = [self.book.shape(schema).constants() for schema in _field(one, name)]
            if not known or any(found is None or not set(found) <= set(values) for found in known):
                kept.append(one)
        return Shape(tuple(kept), self.book)

    def but_lists(self) -> Shape:
        """The alternatives that are no list."""
        if self.alternatives is None:
            return self
        return Shape(tuple(one for one in self.alternatives if types_of(one) != frozenset({"array"})), self.book)

    def keeping(self, names: Collection[str], holds: bool) -> Shape:
        """Maps with only these fields, or without them."""
        if self.alternatives is None:
            return self
        return Shape(tuple(_kept(one, frozenset(names), holds) for one in self.alternatives), self.book)

    def looked_up(self) -> Shape:
        """What any key of a free-form map gives."""
        free = [one["additionalProperties"] for one in self.alternatives or () if one.get("additionalProperties")]
        return self.book.union(free) if free and self.book is not None else ANYTHING

    def _allows(self, one: Schema, name: str, value: Any) -> bool:
        if types_of(one) is not None and "object" not in (types_of(one) or ()):
            return False
        found = _field(one, name)
        book = self.book
        return book is not None and any(
            book.shape(schema).accepts(value) and not (isinstance(schema, dict) and value in _excluded(schema))
            for schema in found
        )

    def only(self, types: Collection[str], *, but: bool = False) -> Shape:
        """The alternatives of these JSON types, or all others; ANYTHING where none is left."""
        if self.alternatives is None:
            return self
        kept = tuple(
            one
            for one in self.alternatives
            if (found := types_of(one)) is None or bool(found - set(types) if but else found & set(types))
        )
        return Shape(kept, self.book) if kept else ANYTHING

    def accepts(self, value: Any) -> bool:
        """Whether a constant may stand here."""
        if self.alternatives is None:
            return True
        return any(_accepts(one, value) for one in self.alternatives)

    def constants(self) -> list[Any] | None:
        """All values it may have, where they are listed; None where others are possible."""
        if self.alternatives is None:
            return None
        found: list[Any] = []
        for one in self.alternatives:
            if "const" in one:
                found.append(one["const"])
            elif "enum" in one:
                found += one["enum"]
            elif types_of(one) == frozenset({"null"}):
                found.append(None)
            else:
                return None
        return found

    def __or__(self, other: Shape) -> Shape:
        if self.alternatives is None or other.alternatives is None:
            return ANYTHING
        mine = {id(one) for one in self.alternatives}
        # what was made here refers to nothing, so it can stand in any book
        book = self.book if self.book is not None and self.book.document else other.book or self.book
        return Shape(self.alternatives + tuple(one for one in other.alternatives if id(one) not in mine), book)


ANYTHING: Final = Shape(None)


class Held(dict[str, Any]):
    """A schema that stands for a shape found already."""

    def __init__(self, shape: Shape) -> None:
        super().__init__({"x-held": True})  # an empty schema would be no schema
        self.shape = shape


class Book:
    """One schema document, and everything made from it (memoised: shapes are compared by identity)."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self._shapes: dict[int, Shape] = {}
        self._merged: dict[tuple[int, ...], Schema] = {}
        self._keep: list[Any] = []

    def root(self) -> Shape:
        """The document itself."""
        return self.shape(self.document)

    def definition(self, name: str) -> Shape:
        """One of its `$defs`."""
        return self.shape(self.document["$defs"][name])

    def union(self, schemas: list[Any]) -> Shape:
        shape = self.shape(schemas[0])
        for schema in schemas[1:]:
            shape |= self.shape(schema)
        return shape

    def shape(self, schema: Any) -> Shape:
        """A schema's shape."""
        if isinstance(schema, Held):
            return schema.shape
        known = self._shapes.get(id(schema))
        if known is None:
            self._keep.append(schema)  # ids are only good while the object lives
            self._shapes[id(schema)] = ANYTHING  # a reference to itself alone says nothing
            alternatives = self._alternatives(schema)
            known = ANYTHING if alternatives is None else Shape(tuple(alternatives), self)
            self._shapes[id(schema)] = known
        return known

    def _alternatives(self, schema: Any) -> list[Schema] | None:
        if not isinstance(schema, dict) or not schema:
            return None
        if "$ref" in schema:
            return self._alternatives(self._resolve(schema["$ref"]))
        for word in ("anyOf", "oneOf"):
            if word in schema:
                rest = {
                    key: value for key, value in schema.items() if key not in (word, "description", "title", "default")
                }
                found: list[Schema] = []
                for option in schema[word]:
                    inner = self._alternatives(option)
                    if inner is None:
                        return None if not rest.get("properties") else self._alternatives(rest)
                    found += [self._merge([rest, one]) if rest.get("properties") else one for one in inner]
                return found
        if "allOf" in schema:
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            parts: list[Schema] = [rest]
            for option in schema["allOf"]:
                inner = self._alternatives(option)
                if inner:
                    parts.append(inner[0] if len(inner) == 1 else self._merge(inner))
            return [self._merge(parts)]
        if not {"type", "properties", "const", "enum", "items", "additionalProperties", "prefixItems"} & set(schema):
            return None
        return [schema]

    def _merge(self, parts: list[Schema]) -> Schema:
        key = tuple(id(part) for part in parts)
        if key not in self._merged:
            self._keep += parts
            whole: Schema = {}
            for part in parts:
                whole |= {name: value for name, value in part.items() if name != "properties"}
            properties: Schema = {}
            for part in parts:
                properties |= part.get("properties", {})
            if properties:
                whole["properties"] = properties
            self._merged[key] = whole
        return self._merged[key]

    def _resolve(self, reference: str) -> Any:
        found: Any = self.document
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                found = found[part.replace("~1", "/").replace("~0", "~")]
        return found


_parts: dict[tuple[int, frozenset[str], bool], Schema] = {}


def _kept(schema: Schema, names: frozenset[str], holds: bool) -> Schema:
    if "properties" not in schema:
        return schema
    key = (identity(schema), names, holds)
    if key not in _parts:
        properties = {name: inner for name, inner in schema["properties"].items() if (name in names) == holds}
        _parts[key] = {**schema, "properties": properties, _PART_OF: schema.get(_PART_OF, schema)}
    return _parts[key]


def identity(schema: Schema) -> int:
    """The same for a schema and for what `omit` left of it."""
    return id(schema.get(_PART_OF, schema))


def types_of(schema: Schema) -> frozenset[str] | None:
    """The JSON types of one alternative; None where it does not say."""
    if "type" in schema:
        listed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return frozenset("number" if one == "integer" else one for one in listed)
    if "const" in schema:
        return frozenset({type_name(schema["const"])})
    if "enum" in schema:
        return frozenset(type_name(value) for value in schema["enum"])
    if "properties" in schema:
        return frozenset({"object"})
    return None


def type_name(value: Any) -> str:
    """The JSON type of plain data."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _accepts(schema: Schema, value: Any) -> bool:
    if "const" in schema:
        return type(schema["const"]) is type(value) and bool(schema["const"] == value)
    if "enum" in schema:
        return value in schema["enum"]
    types = types_of(schema)
    return types is None or type_name(value) in types


def _excluded(schema: Schema) -> Collection[Any]:
    """Values that another alternative is for."""
    found: Collection[Any] = schema.get("not", {}).get("enum", ())
    return found


def _field(schema: Schema, name: str) -> list[Any]:
    types = types_of(schema)
    if types is not None and "object" not in types:
        return []
    properties = schema.get("properties")
    if properties and name in properties:
        return [properties[name]]
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict) and extra:
        return [extra]
    if "patternProperties" in schema or not properties or set(properties) == {"type"}:
        return [True]  # free-form, or the alternative for whatever type comes next
    return []


def _items(schema: Schema) -> list[Any]:
    types = types_of(schema)
    if types is not None and "array" not in types:
        return []
    return [schema.get("items", True)]


_MADE: Final = Book({})
_made: dict[tuple[Any, ...], Shape] = {}


def _make(key: tuple[Any, ...], schema: Schema) -> Shape:
    """Made once: shapes are compared by identity."""
    if key not in _made:
        _made[key] = Shape((schema,), _MADE)
    return _made[key]


def listing(item: Shape) -> Shape:
    """A list of that."""
    return _make(("list", item.key), {"type": "array", "items": Held(item)})


def mapping_of(value: Shape) -> Shape:
    """A map from any keys to that."""
    return _make(("map", value.key), {"type": "object", "additionalProperties": Held(value)})


def record(fields: dict[str, Shape]) -> Shape:
    """A map of these fields."""
    key = ("record", *((name, shape.key) for name, shape in sorted(fields.items())))
    return _make(key, {"type": "object", "properties": {name: Held(shape) for name, shape in fields.items()}})


def joined(shapes: list[Shape]) -> Shape:
    """One or the other. Beside an unknown one, the maps and lists of the others are kept."""
    known = Shape(())
    for shape in shapes:
        known |= shape if shape.alternatives is not None else Shape(())
    if any(shape.alternatives is None for shape in shapes):
        known = known.only(("object", "array"))
    return known if known.alternatives else ANYTHING
