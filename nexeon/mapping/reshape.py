"""Filters that rewrite whole trees: key styles, schema dialects, values that come path by path."""

from __future__ import annotations

import re
from functools import lru_cache
from operator import and_, eq
from typing import Any, Final

from nexeon.mapping.functions import filter_, need
from nexeon.mapping.missing import MISSING
from nexeon.mapping.operators import any_equal, equal, kind

# keys in snake_case


@lru_cache(maxsize=2048)
def _camel(key: str) -> str:
    return re.sub(r"(?<=[A-Za-z0-9])_([a-z0-9])", lambda found: found.group(1).upper(), key)


@filter_()
def camel_keys(value: Any, *free: str) -> Any:
    """The tree with `snake_case` keys in camelCase; below a key named in `free` (in camelCase) nothing changes.

    A tree without such keys is given back as it is. Where a map has both spellings, the camelCase one counts.
    """
    return _to_camel(value, frozenset(free)) if _has_snake(value, frozenset(free)) else value


def _has_snake(value: Any, free: frozenset[str]) -> bool:
    found = [value]
    for one in found:  # which grows
        if type(one) is dict:
            for key, item in one.items():
                if "_" in key and _camel(key) != key:
                    return True
                if (type(item) is dict or type(item) is list) and key not in free:
                    found.append(item)
        elif type(one) is list:
            found += one
    return False


def _to_camel(value: Any, free: frozenset[str]) -> Any:
    if type(value) is list:
        return [_to_camel(item, free) for item in value]
    if type(value) is not dict:
        return value
    result: dict[str, Any] = {}
    for key, item in value.items():
        name = _camel(key)
        if name == key or name not in value:
            result[name] = item if name in free else _to_camel(item, free)
    return result


# schemas

_SCHEMAS: Final = ("properties", "$defs")
_WHOLE: Final = ("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties")
_RENAMED: Final = {"defs": "$defs", "ref": "$ref"}


@filter_()
def json_schema(value: Any) -> Any:
    """An OpenAPI 3.0 schema (type names in any case, `nullable`, `example`, numbers as text) as JSON Schema."""
    if type(value) is list:
        return [json_schema(item) for item in value]
    if type(value) is not dict:
        return value
    result: dict[str, Any] = {}
    nullable = value.get("nullable") is True
    for key, item in value.items():
        name = _camel(_RENAMED.get(key, key))
        if name == "type":
            result[name] = _types(item, nullable=nullable)
        elif name in _SCHEMAS and type(item) is dict:
            result[name] = {key: json_schema(each) for key, each in item.items()}
        elif name in ("items", "anyOf", "additionalProperties"):
            result[name] = json_schema(item)
        elif name in _WHOLE and type(item) is str and item.isdecimal():
            result[name] = int(item)
        elif name == "example":
            result["examples"] = [item]
        elif name != "nullable":
            result[name] = item
    if nullable and "anyOf" in result and "type" not in result:
        result["anyOf"] = [*result["anyOf"], {"type": "null"}]
    if nullable and type(result.get("enum")) is list and None not in result["enum"]:
        result["enum"] = [*result["enum"], None]
    return result


def _types(value: Any, *, nullable: bool) -> Any:
    if type(value) is list:
        return [item.lower() if type(item) is str else item for item in value]
    if type(value) is not str:
        return value
    return [value.lower(), "null"] if nullable else value.lower()


# neighbours


@filter_()
def chunk(value: Any, key: str, *together: Any) -> list[list[Any]]:
    """Runs of neighbours whose field has one of the values, a list each; every other item a list of its own."""
    items = need(value, list, "chunk")
    if len(together) == 1 and type(together[0]) is str:
        text = together[0]
        joins = [type(item) is dict and item.get(key) == text for item in items]
    else:
        joins = [any_equal(item.get(key, MISSING) if type(item) is dict else MISSING, together) for item in items]
    runs = [[item] for item in items]
    if not any(map(and_, joins, joins[1:])):  # as it mostly is
        return runs
    merged: list[list[Any]] = []
    running = False
    for run, joined in zip(runs, joins, strict=True):
        if joined and running:
            merged[-1] += run
        else:
            merged.append(run)
        running = joined
    return merged


def runs_apart(value: Any, key: str, together: str) -> list[Any]:
    """As `chunk` with one text, but the items of no run stand for themselves. Raises AttributeError for an item that
    is no map."""
    found: list[Any] = []
    run: list[Any] | None = None
    for item in need(value, list, "chunk"):
        if item.get(key) != together:
            run = None
            found.append(item)
        elif run is None:
            run = [item]
            found.append(run)
        else:
            run.append(item)
    return found


@filter_()
def merge_adjacent(value: Any, key: str, parts: str) -> list[Any]:
    """Neighbours with an equal field become one (the first's other fields stay), their lists joined."""
    items = need(value, list, "merge_adjacent")
    try:
        fields = [item[key] for item in items]
    except (TypeError, KeyError, IndexError):
        fields = [item.get(key, MISSING) if type(item) is dict else MISSING for item in items]
    if not any(map(eq, fields, fields[1:])):  # as it mostly is
        return list(items)
    merged: list[Any] = []
    last: Any = None
    for item, field in zip(items, fields, strict=True):
        if merged and (field == last if type(field) is str else field is last or equal(last, field)):
            before = merged[-1]
            merged[-1] = {**before, parts: [*(before.get(parts) or []), *(item.get(parts) or [])]}
        else:
            merged.append(item)
            last = field
    return merged


@filter_()
def merge_until(value: Any, key: str, wanted: Any, text: str, mark: str) -> Any:
    """Neighbours whose `key` is `wanted` become one, their `text`s put together; one that has a `mark` is the last."""
    if type(value) is not list:
        raise TypeError(f"`merge_until` needs a list, not {kind(value)}")
    merged: list[Any] = []
    running = False
    for item in value:
        joins = type(item) is dict and equal(item.get(key, MISSING), wanted)
        if joins and running:
            before = merged[-1]
            merged[-1] = {**before, **item, text: (before.get(text) or "") + (item.get(text) or "")}
        else:
            merged.append(item)
        running = joins and mark not in item
    return merged


# places in text, which some formats count in bytes of UTF-8


@filter_()
def char_offset(value: Any, bytes_before: Any) -> Any:
    """How many characters of the text stand in its first bytes; MISSING where no number is given."""
    if type(value) is not str or type(bytes_before) is not int:
        return MISSING
    if value.isascii():
        return min(bytes_before, len(value))
    return len(value.encode("utf-8", "surrogatepass")[:bytes_before].decode("utf-8", "ignore"))


@filter_()
def byte_offset(value: Any, characters_before: Any) -> Any:
    """How many bytes the text's first characters take; MISSING where no number is given."""
    if type(value) is not str or type(characters_before) is not int:
        return MISSING
    return len(value[:characters_before].encode("utf-8", "surrogatepass"))


# values that come path by path

_PATH: Final = re.compile(r"\$((?:\.[^.\[\]]+|\[\d+\]|\['[^']*'\]|\[\"[^\"]*\"\])*)")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_FURTHEST: Final = 100_000


def place(tree: Any, path: Any, value: Any) -> Any:
    """`tree` (MISSING at first) with the value put at a JSON path such as `$.a[0].b`; text is appended to text there.

    Raises ValueError where the text is no such path, or leads through what is no map or list.
    """
    found = _PATH.fullmatch(path) if type(path) is str else None
    if found is None:
        raise ValueError(f"`{path}` is no path into a value")
    steps: list[str | int] = [
        int(number) if number else name or single or double
        for name, number, single, double in _STEP.findall(found.group(1))
    ]
    return _put(tree, steps, 0, value)


def _put(tree: Any, steps: list[str | int], at: int, value: Any) -> Any:
    if at == len(steps):
        return tree + value if type(tree) is str and type(value) is str else value
    step = steps[at]
    if type(step) is str:
        branch = {} if tree is MISSING or tree is None else tree
        if type(branch) is not dict:
            raise ValueError(f"`{step}` leads into {kind(branch)}")
        branch[step] = _put(branch.get(step, MISSING), steps, at + 1, value)
        return branch
    row = [] if tree is MISSING or tree is None else tree
    if type(row) is not list or int(step) > _FURTHEST:
        raise ValueError(f"`[{step}]` leads into {kind(row)}")
    row.extend([None] * (int(step) + 1 - len(row)))
    row[int(step)] = _put(row[int(step)], steps, at + 1, value)
    return row
