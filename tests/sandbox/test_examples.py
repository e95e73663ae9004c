"""Every example is an instance of its schema: by cases, and by property."""

import re

import jsonschema
import jsonschema_rs
import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nexeon.sandbox.examples import NoExample, example
from nexeon.sandbox.gemini import json_schema
from nexeon.sandbox.patterns import samples

TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["name", "left", "children"],
    "additionalProperties": False,
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["next"],
        }
    },
}

CASES = [
    True,
    {},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False},
    {"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}},
    {"type": "object", "required": ["x_1"], "patternProperties": {"^x_": {"type": "boolean"}}},
    {"type": "object", "minProperties": 2, "properties": {"a": {"type": "null"}}},
    {"type": "object", "minProperties": 2, "patternProperties": {"^k[0-9]+$": {}}, "additionalProperties": False},
    {"type": "object", "minProperties": 2, "propertyNames": {"pattern": "^[a-z]{3,}$"}},
    {"required": ["a"], "dependentRequired": {"a": ["b"]}},
    {"type": "object", "required": ["a"], "dependentSchemas": {"a": {"required": ["c"]}}},
    {"type": ["string", "null"]},
    {"type": "string", "minLength": 12, "maxLength": 14},
    {"type": "string", "maxLength": 3},
    {"type": "string", "maxLength": 0},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"},
    {"type": "string", "pattern": "^(foo|bar)+$", "minLength": 9},
    {"type": "string", "pattern": "^[^a-z]+$"},
    {"type": "string", "pattern": "^\\w+@\\w+\\.com$", "minLength": 20},
    {"type": "integer"},
    {"type": "integer", "minimum": 5, "maximum": 5},
    {"type": "integer", "minimum": -7, "exclusiveMaximum": -5},
    {"type": "integer", "exclusiveMinimum": 2.5, "multipleOf": 4},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "minimum": 0.25, "maximum": 0.5},
    {"type": "number", "multipleOf": 0.5, "minimum": 1.25},
    {"type": "integer", "minimum": 1e25},
    {"type": "boolean"},
    {"enum": ["x", "y"]},
    {"type": "string", "enum": [1, "y"]},
    {"const": {"a": [1]}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False, "minItems": 2},
    {"type": "array", "maxItems": 0},
    {"type": "array", "contains": {"const": 7}, "minContains": 2, "items": {"type": "integer"}},
    {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    {"anyOf": [{"type": "null"}, {"type": "array", "items": {"type": "boolean"}}]},
    {"oneOf": [{"type": "number"}, {"type": "integer", "minimum": 5}]},
    {"oneOf": [{"type": "integer"}, {"type": "number"}, {"type": "string"}]},
    {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}}, {"properties": {"a": {"minimum": 9}}}]},
    {"allOf": [{"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "integer"}, {"const": 1.5}]}]},
    {"type": "object", "properties": {"k": {"$ref": "#/$defs/K"}}, "required": ["k"], "$defs": {"K": {"enum": [3]}}},
    {"$ref": "#/definitions/x", "definitions": {"x": {"$ref": "#/definitions/y"}, "y": {"type": "number"}}},
    {"not": {"type": "string"}, "type": ["string", "integer"]},
    {"type": "integer", "not": {"const": 1}},
    {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "required": ["a"], "type": "object"},
    {"type": "integer", "if": {"minimum": 0}, "then": {"multipleOf": 7}, "else": {"multipleOf": 5}},
    TREE,
]


def check(schema: object, text: str) -> None:
    jsonschema.validate(orjson.loads(text), schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("schema", CASES, ids=lambda schema: orjson.dumps(schema).decode()[:60])
def test_an_example_is_valid(schema: object) -> None:
    check(schema, example(schema))


@pytest.mark.parametrize(
    "name",
    ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "json-pointer"],
)
def test_formats(name: str) -> None:
    schema = {"type": "array", "items": {"type": "string", "format": name}, "minItems": 3, "uniqueItems": True}
    assert jsonschema_rs.is_valid(schema, orjson.loads(example(schema)), validate_formats=True)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True},
        {"enum": ["a"], "type": "integer"},
        {"type": "thing"},
    ],
    ids=str,
)
def test_nothing_fits(schema: object) -> None:
    with pytest.raises(NoExample):
        example(schema)


@pytest.mark.parametrize("schema", [None, {}, True, {"type": "object"}, {"properties": {"a": {}}}, "no schema"])
def test_arguments_are_an_object(schema: object) -> None:
    assert example(schema, as_object=True) == "{}"


def test_types_in_capitals_and_counts_as_text_are_read() -> None:
    schema = json_schema(
        {
            "type": "OBJECT",
            "properties": {
                "tags": {"type": "ARRAY", "minItems": "2", "items": {"type": "STRING", "enum": ["a"]}},
                "kind": {"type": "INTEGER", "nullable": True},
                "any": {"any_of": [{"type": "NUMBER"}]},
            },
            "required": ["tags", "kind", "any"],
            "property_ordering": ["kind", "tags"],
        }
    )
    assert orjson.loads(example(schema)) == {"tags": ["a", "a"], "kind": 1, "any": 1}


_values = st.one_of(st.integers(-(2**60), 2**60), st.text(max_size=3))
_leaves = st.one_of(
    st.just({"type": "null"}),
    st.just({"type": "boolean"}),
    st.builds(
        lambda low, span, step: {"type": "integer", "minimum": low, "maximum": low + span} | step,
        st.integers(-1000, 1000),
        st.integers(0, 50),
        st.sampled_from([{}, {"multipleOf": 3}, {"multipleOf": 7}]),
    ),
    st.builds(
        lambda low, high: {"type": "number", "exclusiveMinimum": low, "maximum": high},
        st.floats(-1e6, 1e6),
        st.floats(-1e6, 1e6),
    ),
    st.builds(
        lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span},
        st.integers(0, 12),
        st.integers(0, 12),
    ),
    st.builds(
        lambda pattern, least: {"type": "string", "pattern": pattern, "minLength": least},
        st.sampled_from(["^[a-f]+$", "x|y+", "\\d"]),
        st.integers(0, 6),
    ),
    st.lists(_values, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    st.text(max_size=5).map(lambda value: {"const": value}),
)


def _grow(inner: st.SearchStrategy[dict]) -> st.SearchStrategy[dict]:
    names = st.sampled_from(["a", "b", "c", "d"])
    return st.one_of(
        st.builds(
            lambda properties, required, closed, least: {
                "type": "object",
                "properties": properties,
                "required": sorted(required),
                "minProperties": least,
                **({"additionalProperties": False} if closed else {}),
            },
            st.dictionaries(names, inner, max_size=4),
            st.sets(names, max_size=3),
            st.booleans(),
            st.integers(0, 4),
        ),
        st.builds(
            lambda items, least, unique: {"type": "array", "items": items, "minItems": least, "uniqueItems": unique},
            inner,
            st.integers(0, 3),
            st.booleans(),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
        st.lists(inner, min_size=1, max_size=2).map(lambda branches: {"oneOf": branches}),
        st.lists(inner, min_size=1, max_size=2).map(lambda branches: {"allOf": branches}),
        inner.map(
            lambda schema: {"$ref": "#/$defs/d", "$defs": {"d": schema}} if "$defs" not in str(schema) else schema
        ),
    )


def _hoisted(schema: dict) -> dict:
    """The same schema with nested definitions moved to the root, where their references look for them."""
    found: dict = {}

    def walk(node: object) -> object:
        if isinstance(node, dict):
            out = {key: walk(value) for key, value in node.items() if key != "$defs"}
            if "$defs" in node and "$ref" in node:
                name = f"d{len(found)}"
                found[name] = None
                found[name] = walk(node["$defs"]["d"])
                out["$ref"] = f"#/$defs/{name}"
            return out
        return [walk(item) for item in node] if isinstance(node, list) else node

    root = walk(schema)
    assert isinstance(root, dict)
    return {**root, "$defs": found} if found else root


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(st.recursive(_leaves, _grow, max_leaves=8))
def test_any_schema_gives_a_valid_example_or_none(schema: dict) -> None:
    schema = _hoisted(schema)
    try:
        text = example(schema)
    except NoExample:
        assume(False)
    else:
        check(schema, text)


@pytest.mark.parametrize(
    "pattern",
    [
        "^a{2,4}b?$",
        "(?:x|yy)+z",
        "^\\d{3}-\\d{2}$",
        "[\\w.]+@[a-z]+\\.[a-z]{2,}",
        "^\\S+\\s\\D$",
        "\\x41\\u0042",
        "^$",
        "a(?P<n>b)c",
    ],
)
def test_patterns(pattern: str) -> None:
    found = list(samples(pattern))
    assert found
    assert all(re.search(pattern, text) for text in found)


@pytest.mark.parametrize("pattern", ["(", "[a", "a)", "(?#x)"])
def test_a_pattern_that_cannot_be_read_has_no_samples(pattern: str) -> None:
    assert list(samples(pattern)) == []
