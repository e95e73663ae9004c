from __future__ import annotations

from typing import Any

import pytest

from nexeon.mapping.missing import MISSING
from nexeon.mapping.reshape import byte_offset, camel_keys, char_offset, json_schema, merge_until, place


def test_snake_case_keys_become_camel_case() -> None:
    given = {"top_key": [{"inner_key": 1, "plain": 2}], "_x": 3, "a_1b": 4}
    assert camel_keys(given) == {"topKey": [{"innerKey": 1, "plain": 2}], "_x": 3, "a1b": 4}


def test_nothing_changes_below_free_keys_of_either_spelling() -> None:
    given = {"call": {"free_form": {"my_key": 1}}, "freeForm": {"my_key": 2}}
    assert camel_keys(given, "freeForm") == {"call": {"freeForm": {"my_key": 1}}, "freeForm": {"my_key": 2}}


def test_a_tree_without_snake_case_is_not_copied() -> None:
    given = {"a": [{"freeForm": {"my_key": 1}}]}
    assert camel_keys(given, "freeForm") is given


def test_camel_case_wins_over_its_double() -> None:
    assert camel_keys({"a_b": 1, "aB": 2}) == {"aB": 2}


def test_an_openapi_schema_becomes_json_schema() -> None:
    given = {
        "type": "OBJECT",
        "properties": {
            "any_of": {"type": "STRING", "nullable": True, "enum": ["a"]},
            "rows": {"type": "ARRAY", "min_items": "1", "items": {"any_of": [{"type": "INTEGER"}], "nullable": True}},
        },
        "required": ["rows"],
        "example": {"rows": []},
        "defs": {"x": {"type": "NUMBER"}},
    }
    assert json_schema(given) == {
        "type": "object",
        "properties": {
            "any_of": {"type": ["string", "null"], "enum": ["a", None]},
            "rows": {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        },
        "required": ["rows"],
        "examples": [{"rows": []}],
        "$defs": {"x": {"type": "number"}},
    }


def test_neighbours_are_put_together_up_to_a_mark() -> None:
    given = [{"t": "a", "x": "1"}, {"t": "a", "x": "2", "m": 1}, {"t": "a", "m": 2}, {"t": "b", "x": "3"}, {"t": "b"}]
    assert merge_until(given, "t", "a", "x", "m") == [
        {"t": "a", "x": "12", "m": 1},
        {"t": "a", "m": 2},
        {"t": "b", "x": "3"},
        {"t": "b"},
    ]
    assert given[0] == {"t": "a", "x": "1"}


@pytest.mark.parametrize("text", ["plain text", "größer als 12 €", "👍🏽 yes", ""])
def test_offsets_in_bytes_and_in_characters_answer_each_other(text: str) -> None:
    for characters in range(len(text) + 1):
        assert char_offset(text, byte_offset(text, characters)) == characters


def test_an_offset_is_within_the_text_or_missing() -> None:
    assert char_offset("abc", 9) == 3
    assert char_offset("ü", 1) == 0
    assert char_offset("abc", None) is MISSING
    assert byte_offset("abc", MISSING) is MISSING


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("$.a", "x"), ("$.a", "y"), ("$.a", "")], {"a": "xy"}),
        ([("$.a[1].b", 0.5), ("$.a[0]", True)], {"a": [True, {"b": 0.5}]}),
        ([("$['a b'][\"c\"]", None)], {"a b": {"c": None}}),
        ([("$", "x"), ("$", "y")], "xy"),
    ],
)
def test_values_are_put_together_path_by_path(steps: list[tuple[str, Any]], expected: Any) -> None:
    tree: Any = MISSING
    for path, value in steps:
        tree = place(tree, path, value)
    assert tree == expected


@pytest.mark.parametrize("path", ["a.b", "$.a[b]", "$..a", "$.t.u", "$.l.x", "$.l[999999999]", None])
def test_a_path_that_leads_nowhere_is_an_error(path: Any) -> None:
    with pytest.raises(ValueError, match=r"leads into|is no path"):
        place({"t": "text", "l": []}, path, 1)
