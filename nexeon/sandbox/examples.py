"""From a JSON schema, an instance that it accepts.

Only what a schema demands is made: required properties, the least number of items (one where the schema allows one).
A schema that no instance of moderate size satisfies raises `NoExample`. Outcomes are kept by schema, so the same
tool in every request costs one look-up.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, TypeGuard

import jsonschema_rs
import orjson

from nexeon.sandbox.merging import merge
from nexeon.sandbox.patterns import samples

Schema = Any

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_MARKS = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_CONDITIONS = ("if", "then", "else")
_FORMATS: dict[str, Callable[[int], str]] = {
    "date-time": lambda n: f"2025-01-{n % 28 + 1:02}T03:04:05Z",
    "date": lambda n: f"2025-01-{n % 28 + 1:02}",
    "time": lambda n: f"03:04:{n % 60:02}Z",
    "duration": lambda n: f"P{n + 1}D",
    "email": lambda n: f"user{n}@example.com",
    "idn-email": lambda n: f"user{n}@example.com",
    "hostname": lambda n: f"host{n}.example.com",
    "idn-hostname": lambda n: f"host{n}.example.com",
    "ipv4": lambda n: f"192.0.2.{n % 256}",
    "ipv6": lambda n: f"2001:db8::{n % 65536:x}",
    "uri": lambda n: f"https://example.com/{n}",
    "url": lambda n: f"https://example.com/{n}",
    "uri-reference": lambda n: f"/example/{n}",
    "iri": lambda n: f"https://example.com/{n}",
    "iri-reference": lambda n: f"/example/{n}",
    "uri-template": lambda n: f"/example/{{id}}/{n}",
    "uuid": lambda n: f"00000000-0000-4000-8000-{n:012x}",
    "json-pointer": lambda n: f"/example/{n}",
    "relative-json-pointer": lambda n: f"{n}/example",
    "regex": lambda n: f"example{n}",
    "byte": lambda _: "ZXhhbXBsZQ==",
}
_GROWS_AT_THE_END = {"uri", "url", "uri-reference", "iri", "iri-reference", "json-pointer", "uri-template"}


class NoExample(Exception):
    """No instance of the schema was found; the message names the keyword in the way."""


def example(schema: Schema, *, as_object: bool = False) -> str:
    """JSON text of an instance that `schema` accepts; with `as_object`, an object whatever the schema leaves open.

    Raises `NoExample` where there is none, and for what is no schema.
    """
    if as_object:
        if not isinstance(schema, dict) or not schema:
            return "{}"
        schema = merge(schema, {"type": "object"})
    found = _example(orjson.dumps(schema))
    if found.startswith("!"):
        raise NoExample(found[1:])
    return found


@lru_cache(maxsize=1024)
def _example(source: bytes) -> str:
    """The instance as JSON text, or why there is none after a `!` (which no JSON text begins with)."""
    schema = orjson.loads(source)
    maker = _Maker(schema)
    reason = "none was found"
    for nth in range(8):
        try:
            value = maker.make(schema, nth)
        except NoExample as problem:
            reason = str(problem)
            continue
        except RecursionError:
            reason = "the schema is nested too deeply"
            break
        if maker.accepts(schema, value):
            return orjson.dumps(value).decode()
    return "!" + reason


class _Maker:
    """Makes instances of one schema's parts. `nth` asks for one of several different instances."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.open: list[str] = []

    def make(self, schema: Schema, nth: int = 0) -> Any:
        if schema is False:
            raise NoExample("a part of the schema is false")
        if not isinstance(schema, dict) or not schema:
            return f"example{nth or ''}"
        if "$ref" in schema or "$dynamicRef" in schema:
            return self._reference(schema, nth)
        if "allOf" in schema:
            return self._all(schema, nth)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._choice(schema, schema[key], without(schema, key), nth)
        if "if" in schema:
            base = without(schema, *_CONDITIONS)
            branches = [merge(schema["if"], schema.get("then", True)), schema.get("else", True)]
            return self._choice(schema, branches, base, nth)
        if "not" in schema:
            rest = without(schema, "not")
            shapes = [rest, *({**rest, "type": kind} for kind in _types(rest)[1:])]
            tries = itertools.product(range(nth, nth + 8), shapes)
            return self._first(schema, (partial(self.make, shape, n) for n, shape in tries))
        if "const" in schema:
            return self._listed(without(schema, "const"), [schema["const"]], 0)
        if "enum" in schema:
            return self._listed(without(schema, "enum"), schema["enum"], nth)
        types = _types(schema)
        return self._first(None, (partial(self._typed, kind, schema, nth) for kind in types))

    def accepts(self, schema: Schema, value: Any) -> bool:
        """Whether the schema accepts the value; True where that cannot be told (a schema of an older draft)."""
        if isinstance(schema, dict) and isinstance(self.root, dict):
            shared = {key: self.root[key] for key in ("$defs", "definitions") if key in self.root}
            schema = {**shared, **schema}
        try:
            return bool(jsonschema_rs.is_valid(schema, value))
        except (ValueError, jsonschema_rs.ReferencingError):
            return True

    def _first(self, schema: Schema | None, makers: Iterator[Callable[[], Any]]) -> Any:
        """The first outcome that the schema accepts (any, without one), else the first at all."""
        problem = NoExample("the schema accepts nothing")
        outcomes: list[Any] = []
        for maker in makers:
            try:
                value = maker()
            except NoExample as reason:
                problem = reason
                continue
            if schema is None or self.accepts(schema, value):
                return value
            outcomes.append(value)
        if outcomes:
            return outcomes[0]
        raise problem

    def _reference(self, schema: dict[str, Any], nth: int) -> Any:
        name = schema.get("$ref", schema.get("$dynamicRef"))
        if name in self.open:  # a least instance never holds itself
            raise NoExample(f"{name} holds itself")
        self.open.append(str(name))
        try:
            return self.make(merge(self._resolve(name), without(schema, "$ref", "$dynamicRef")), nth)
        finally:
            self.open.pop()

    def _resolve(self, name: Any) -> Schema:
        if not isinstance(name, str) or not name.startswith("#"):
            raise NoExample(f"$ref {name!r} is not a place in this schema")
        node = self.root
        for step in name[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and step.isdigit() and int(step) < len(node):
                node = node[int(step)]
            elif isinstance(node, dict) and step in node:
                node = node[step]
            else:
                raise NoExample(f"$ref {name!r} leads nowhere")
        return node

    def _all(self, schema: dict[str, Any], nth: int) -> Any:
        merged: Schema = without(schema, "allOf")
        opened = 0
        try:
            for part in schema["allOf"]:
                while isinstance(part, dict) and "$ref" in part:
                    if part["$ref"] in self.open:
                        raise NoExample(f"{part['$ref']} holds itself")
                    self.open.append(part["$ref"])
                    opened += 1
                    part = merge(self._resolve(part["$ref"]), without(part, "$ref"))
                merged = merge(merged, part)
            return self.make(merged, nth)
        finally:
            del self.open[len(self.open) - opened :]

    def _choice(self, schema: Schema, branches: list[Schema], base: Schema, nth: int) -> Any:
        ordered = sorted(branches, key=lambda branch: isinstance(branch, dict) and branch.get("type") == "null")
        turn = nth % len(ordered) if ordered else 0
        makers = (partial(self.make, merge(base, b), nth) for b in ordered[turn:] + ordered[:turn])
        return self._first(schema, makers)

    def _listed(self, rest: dict[str, Any], values: list[Any], nth: int) -> Any:
        fit = [v for v in values if not rest or self.accepts(rest, v)]
        if not fit:
            raise NoExample("no listed value fits its own schema")
        return fit[nth % len(fit)]

    def _typed(self, kind: str, schema: dict[str, Any], nth: int) -> Any:
        if kind == "object":
            return self._object(schema, nth)
        if kind == "array":
            return self._array(schema, nth)
        if kind == "string":
            return _string(schema, nth)
        if kind in ("number", "integer"):
            return _number(schema, nth, whole=kind == "integer")
        if kind == "boolean":
            return nth % 2 == 0
        return None

    def _object(self, schema: dict[str, Any], nth: int) -> dict[str, Any]:
        properties: dict[str, Schema] = schema.get("properties") or {}
        names = list(dict.fromkeys(schema.get("required") or []))
        least, most = schema.get("minProperties", 0), schema.get("maxProperties", math.inf)
        for name in names:
            names.extend(n for n in (schema.get("dependentRequired") or {}).get(name, []) if n not in names)
        out = {name: self.make(self._property(schema, name), nth) for name in names}
        for name in properties:
            if len(out) >= least:
                break
            if name not in out:
                try:
                    out[name] = self.make(self._property(schema, name), nth)
                except NoExample:
                    continue
        for name in self._new_names(schema):
            if len(out) >= least:
                break
            if name not in out:
                out[name] = self.make(self._property(schema, name), nth)
        if not least <= len(out) <= most:
            raise NoExample("minProperties, maxProperties and required contradict each other")
        for name, extra in (schema.get("dependentSchemas") or {}).items():
            if name in out:
                rest = {k: v for k, v in schema["dependentSchemas"].items() if k != name}
                return self._typed("object", merge({**schema, "dependentSchemas": rest}, extra), nth)  # type: ignore[no-any-return]
        return out

    def _property(self, schema: dict[str, Any], name: str) -> Schema:
        found: list[Schema] = []
        properties = schema.get("properties") or {}
        if name in properties:
            found.append(properties[name])
        found.extend(s for pattern, s in (schema.get("patternProperties") or {}).items() if _found(pattern, name))
        if not found:
            found.append(schema.get("additionalProperties", True))
        merged = found[0]
        for other in found[1:]:
            merged = {"allOf": [merged, other]}
        return merged

    def _new_names(self, schema: dict[str, Any]) -> Iterator[str]:
        for pattern in schema.get("patternProperties") or {}:
            yield from itertools.islice(samples(pattern), 64)
        if schema.get("additionalProperties", True) is not False:
            shape = merge({"type": "string"}, schema.get("propertyNames", True))
            for n in range(1, 200):
                yield f"key{n}" if shape == {"type": "string"} else str(self.make(shape, n))

    def _array(self, schema: dict[str, Any], nth: int) -> list[Any]:
        prefix: list[Schema] = schema.get("prefixItems") or []
        items: Schema = schema.get("items", True)
        if isinstance(items, list):  # before draft 2020-12
            prefix, items = items, schema.get("additionalItems", True)
        least, most = int(schema.get("minItems", 0)), schema.get("maxItems", math.inf)
        if least > 10_000 or least > most:
            raise NoExample("minItems is beyond what is made here, or beyond maxItems")
        out: list[Any] = []
        contains = schema.get("contains")
        for n in range(int(schema.get("minContains", 1)) if contains is not None else 0):
            shape = prefix[n] if n < len(prefix) else items
            self._add(out, merge(shape, contains), nth + n, schema)
        while len(out) < max(least, 1) and len(out) < most:
            shape = prefix[len(out)] if len(out) < len(prefix) else items
            try:
                self._add(out, shape, nth + len(out) if schema.get("uniqueItems") else nth, schema)
            except NoExample:
                if len(out) < least:
                    raise
                break
        if len(out) > most:
            raise NoExample("maxItems leaves no room for what the array must contain")
        return out

    def _add(self, out: list[Any], shape: Schema, nth: int, schema: dict[str, Any]) -> None:
        if not schema.get("uniqueItems"):
            out.append(self.make(shape, nth))
            return
        seen = {orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in out}
        for n in range(nth, nth + 16):
            value = self.make(shape, n)
            if orjson.dumps(value, option=orjson.OPT_SORT_KEYS) not in seen:
                out.append(value)
                return
        raise NoExample("uniqueItems asks for more different items than there are")


def without(schema: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A copy of the schema that lacks the keys."""
    return {key: value for key, value in schema.items() if key not in keys}


def _types(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        kind = [kind]
    if not isinstance(kind, list):
        kind = [name for name, marks in _MARKS.items() if any(mark in schema for mark in marks)][:1] or ["string"]
    unknown = [name for name in kind if name not in _TYPES]
    if unknown:
        raise NoExample(f"unknown type {unknown[0]!r}")
    return sorted(kind, key=lambda name: name == "null")


def _found(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def _string(schema: dict[str, Any], nth: int) -> str:
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength", math.inf)
    if least > most or least > 1_000_000:
        raise NoExample("minLength is beyond maxLength, or beyond what is made here")
    if "pattern" in schema:
        fit = itertools.islice((t for t in samples(schema["pattern"]) if least <= len(t) <= most), nth + 1)
        texts = list(dict.fromkeys(fit))
        if not texts:
            raise NoExample(f"pattern {schema['pattern']!r} with this length")
        return texts[nth % len(texts)]
    name = schema.get("format")
    if name in _FORMATS:
        text = _FORMATS[name](nth)
        missing = "x" * (least - len(text))
        return text + missing if name in _GROWS_AT_THE_END else missing + text
    number = str(nth) if nth else ""
    text = ("example" + number).ljust(least, "x")
    return text if len(text) <= most else ("example"[: max(0, int(most) - len(number))] + number)[: int(most)]


def _number(schema: dict[str, Any], nth: int, *, whole: bool) -> int | float:
    low, high = Fraction(-(10**9)), Fraction(10**9)
    open_low = open_high = False
    lows = [(schema.get("minimum"), schema.get("exclusiveMinimum") is True), (schema.get("exclusiveMinimum"), True)]
    highs = [(schema.get("maximum"), schema.get("exclusiveMaximum") is True), (schema.get("exclusiveMaximum"), True)]
    bounded_low = bounded_high = False
    for bound, strict in lows:
        if _numeric(bound) and (not bounded_low or (Fraction(bound), strict) > (low, open_low)):
            low, open_low, bounded_low = Fraction(bound), strict, True
    for bound, strict in highs:
        if _numeric(bound) and (not bounded_high or (-Fraction(bound), strict) > (-high, open_high)):
            high, open_high, bounded_high = Fraction(bound), strict, True
    high = max(high, low + 10**9) if not bounded_high else high
    low = min(low, high - 10**9) if not bounded_low else low
    step = schema.get("multipleOf")
    if _numeric(step):
        unit = Fraction(str(step))
        unit = unit * unit.denominator if whole else unit
    else:
        unit = Fraction(1)
    inside = _multiple(low, high, open_low, open_high, unit, nth)
    if inside is None and not whole and not _numeric(step):
        part = (high - low) / 4 if high > low else Fraction(0)
        inside = low + part * (1 + nth % 3)
        if high < low or (high == low and (open_low or open_high)):
            inside = None
    if inside is None:
        raise NoExample("minimum, maximum and multipleOf leave no number")
    return int(inside) if inside.denominator == 1 and abs(inside) < 2**63 else float(inside)


def _multiple(
    low: Fraction, high: Fraction, open_low: bool, open_high: bool, unit: Fraction, nth: int
) -> Fraction | None:
    """The nth multiple of `unit` between the bounds, from 1 or the nearest to it on; None where there is none."""
    least, most = math.ceil(low / unit), math.floor(high / unit)
    least += open_low and least * unit == low
    most -= open_high and most * unit == high
    if least > most:
        return None
    start = min(max(1, least), most)
    count = most - least + 1
    return Fraction(least + (start - least + nth) % count) * unit


def _numeric(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
