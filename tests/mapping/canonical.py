"""Values of the canonical form, made from its schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from nexeon.data import data_path

SCHEMA: dict[str, Any] = json.loads((data_path("schemas") / "canonical.schema.json").read_text(encoding="utf-8"))
WORDS = st.from_regex(r"w[0-9]{3,6}", fullmatch=True)
"""Texts that can be told from all others."""
NUMBERS = st.integers(100_001, 999_999)


Fields = Mapping[str, st.SearchStrategy[Any] | None]
"""What a field of that name holds, wherever it stands; None leaves it out."""


def from_schema(node: Any, *, depth: int = 3, fields: Fields = MappingProxyType({})) -> st.SearchStrategy[Any]:
    """What a node of the schema allows; below `depth` only what is required."""
    if "$ref" in node:
        return from_schema(SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[-1]], depth=depth, fields=fields)
    for word in ("oneOf", "anyOf"):
        if word in node:
            return st.one_of([from_schema(option, depth=depth, fields=fields) for option in node[word]])
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    kind = node.get("type")
    if kind == "object":
        return _map(node, depth, fields)
    if kind == "array":
        return st.just([]) if depth <= 0 else st.lists(_later(node.get("items", {}), depth, fields), max_size=3)
    plain = {"string": WORDS, "integer": NUMBERS, "number": NUMBERS, "boolean": st.booleans(), "null": st.none()}
    return plain.get(kind, WORDS)


def _later(node: Any, depth: int, fields: Fields) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: from_schema(node, depth=depth - 1, fields=fields))


def _map(node: Any, depth: int, fields: Fields) -> st.SearchStrategy[Any]:
    properties = node.get("properties", {})
    if not properties:
        return st.dictionaries(WORDS, WORDS, max_size=2)
    required = set(node.get("required", ()))
    found = {
        name: _later(inner, depth, fields) if (given := fields.get(name)) is None else given
        for name, inner in properties.items()
        if (name in required or depth > 0) and not (name in fields and fields[name] is None)
    }
    return st.fixed_dictionaries(
        {name: field for name, field in found.items() if name in required},
        optional={name: field for name, field in found.items() if name not in required},
    )


def definition(name: str, *, depth: int = 3, fields: Fields = MappingProxyType({})) -> st.SearchStrategy[Any]:
    """One of the schema's `$defs`."""
    return from_schema(SCHEMA["$defs"][name], depth=depth, fields=fields)
