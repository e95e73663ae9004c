"""The filters, tests and functions of the mapping language: pure, generic, and tolerant of what is missing.

A filter gets the value first. A missing or null value gives MISSING unless the filter says otherwise; a value of a type
it cannot work on raises TypeError, which the engine turns into a failure with a place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import orjson

from nexeon.mapping.missing import MISSING
from nexeon.mapping.operators import any_equal, equal, is_empty, kind, text
from nexeon.mapping.seals import break_seal, close_envelope, make_seal
from nexeon.wire.json import dumps, is_object, loads

Filter = Callable[..., Any]

FILTERS: Final[dict[str, Filter]] = {}
CONTEXT_FILTERS: Final[set[str]] = set()
"""Filters that get the context as the keyword `ctx`."""
PASS_MISSING: Final[set[str]] = set()
"""Filters that want to see missing and null values themselves."""


def filter_(name: str | None = None, *, context: bool = False, missing: bool = False) -> Callable[[Filter], Filter]:
    """Registers a filter; `context` passes `ctx`, `missing` hands missing and null values over."""

    def register(function: Filter) -> Filter:
        label = name or function.__name__
        FILTERS[label] = function
        if context:
            CONTEXT_FILTERS.add(label)
        if missing:
            PASS_MISSING.add(label)
        return function

    return register


def need(value: Any, wanted: type, name: str) -> Any:
    """The value, of the wanted type; raises TypeError in the filter's name."""
    if type(value) is not wanted:
        raise TypeError(f"`{name}` needs {kind(wanted())}, not {kind(value)}")
    return value


# JSON


@filter_("json")
def to_json(value: Any) -> str:
    return dumps(value).decode("utf-8", "surrogatepass")


@filter_("parse")
def from_json(value: Any) -> Any:
    try:
        return loads(need(value, str, "parse").encode("utf-8", "surrogatepass"))
    except ValueError:
        return MISSING


@filter_(missing=True)
def embed(value: Any, *otherwise: Any) -> Any:
    """JSON text of an object, put into the output as it is, on one line: line ends stand only between its tokens."""
    if type(value) is str:
        if is_object(value):
            return orjson.Fragment(value.replace("\r", " ").replace("\n", " "))
    elif type(value) is dict:
        return value
    if otherwise:
        return otherwise[0]
    raise TypeError("this is not the JSON text of an object")


# text


@filter_()
def string(value: Any) -> str:
    return text(value)


@filter_("int")
def to_int(value: Any) -> Any:
    """The whole number, of a number or of text; MISSING where it is none."""
    if type(value) is bool:
        raise TypeError("`int` needs a number or text, not a boolean")
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return MISSING


_MOST: Final = 10**12


@filter_("count", context=True)
def to_count(value: Any, name: str, *, ctx: dict[str, Any]) -> Any:
    """The whole number of something countable; MISSING, with a note in the context, where it is below zero, beyond any
    measure, or no such number."""
    if type(value) in (int, float):
        if 0 <= value <= _MOST and int(value) == value:
            return int(value)
        shown = f"{value:.6g}"
    else:
        shown = kind(value)
    ctx["doubts"].append(f"`{name}` is {shown}")
    return MISSING


@filter_("number")
def to_number(value: Any) -> Any:
    if type(value) in (int, float):
        return value
    try:
        return loads(value.encode()) if type(value) is str else MISSING
    except ValueError:
        return MISSING


@filter_()
def join(value: Any, separator: str = "") -> str:
    parts = need(value, list, "join")
    try:
        return separator.join(parts)
    except TypeError:  # not all of it is text
        return separator.join([text(item) for item in parts if item is not None and item is not MISSING])


@filter_()
def split(value: Any, separator: str) -> list[str]:
    return str(need(value, str, "split")).split(separator)


@filter_()
def trim(value: Any) -> str:
    return str(need(value, str, "trim")).strip()


@filter_()
def lower(value: Any) -> str:
    return str(need(value, str, "lower")).lower()


@filter_()
def upper(value: Any) -> str:
    return str(need(value, str, "upper")).upper()


@filter_()
def startswith(value: Any, prefix: str) -> bool:
    return type(value) is str and value.startswith(prefix)


@filter_()
def endswith(value: Any, suffix: str) -> bool:
    return type(value) is str and value.endswith(suffix)


@filter_()
def replace(value: Any, old: str, new: str) -> str:
    return str(need(value, str, "replace")).replace(old, new)


@lru_cache(maxsize=256)
def _pattern(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


@filter_()
def match(value: Any, regex: str) -> Any:
    """The groups of a full match (a group that took no part is null), or MISSING."""
    if type(value) is not str:
        return MISSING
    found = _pattern(regex).fullmatch(value)
    return list(found.groups()) if found else MISSING


# lists and maps


@filter_()
def length(value: Any) -> int:
    if type(value) not in (list, dict, str):
        raise TypeError(f"`length` needs a list, a map or text, not {kind(value)}")
    return len(value)


@filter_()
def first(value: Any) -> Any:
    return value[0] if need(value, list, "first") else MISSING


@filter_()
def last(value: Any) -> Any:
    return value[-1] if need(value, list, "last") else MISSING


@filter_("sum")
def total(value: Any) -> Any:
    return sum(item for item in need(value, list, "sum") if item is not None)


@filter_("min")
def least(value: Any, *more: Any) -> Any:
    values = [
        item
        for item in (*(value if type(value) is list else [value]), *more)
        if item is not None and item is not MISSING
    ]
    return min(values) if values else MISSING


@filter_("max")
def greatest(value: Any, *more: Any) -> Any:
    values = [
        item
        for item in (*(value if type(value) is list else [value]), *more)
        if item is not None and item is not MISSING
    ]
    return max(values) if values else MISSING


def least_of_two(one: Any, other: Any) -> Any:
    """As `least` of a list of both without what is missing."""
    if type(one) is int:
        if other is MISSING:
            return one
        if type(other) is int:
            return one if one <= other else other
    return least([one, other])


def greatest_of_two(one: Any, other: Any) -> Any:
    """As `greatest` of a list of both without what is missing."""
    if type(one) is int:
        if other is MISSING:
            return one
        if type(other) is int:
            return one if one >= other else other
    return greatest([one, other])


@filter_()
def sort(value: Any) -> list[Any]:
    return sorted(need(value, list, "sort"))


@filter_()
def unique(value: Any) -> list[Any]:
    seen: list[Any] = []
    for item in need(value, list, "unique"):
        if not any(equal(item, other) for other in seen):
            seen.append(item)
    return seen


@filter_()
def reverse(value: Any) -> list[Any]:
    return list(reversed(need(value, list, "reverse")))


@filter_()
def keys(value: Any) -> list[str]:
    return list(need(value, dict, "keys"))


@filter_()
def values(value: Any) -> list[Any]:
    return list(need(value, dict, "values").values())


@filter_()
def items(value: Any) -> list[list[Any]]:
    return [[key, item] for key, item in need(value, dict, "items").items()]


@filter_()
def omit(value: Any, *names: str) -> dict[str, Any]:
    return {key: item for key, item in need(value, dict, "omit").items() if key not in names}


@filter_()
def pick(value: Any, *names: str) -> dict[str, Any]:
    return {key: item for key, item in need(value, dict, "pick").items() if key in names}


@filter_()
def merge(value: Any, other: Any) -> dict[str, Any]:
    base: dict[str, Any] = need(value, dict, "merge")
    return base if other is MISSING or other is None else {**base, **need(other, dict, "merge")}


def _field(item: Any, key: str) -> Any:
    return item.get(key, MISSING) if type(item) is dict else MISSING


@filter_()
def pluck(value: Any, key: str) -> list[Any]:
    found = (_field(item, key) for item in need(value, list, "pluck"))
    return [item for item in found if item is not MISSING]


@filter_()
def where(value: Any, key: str, *wanted: Any) -> list[Any]:
    """Items whose field equals one of the values; without values, those that have the field."""
    rows = need(value, list, "where")
    if not wanted:
        return [item for item in rows if type(item) is dict and key in item]
    if len(wanted) == 1 and type(wanted[0]) is str:
        (text,) = wanted
        return [item for item in rows if type(item) is dict and item.get(key) == text]
    return [item for item in rows if any_equal(_field(item, key), wanted)]


@filter_()
def reject(value: Any, key: str, *unwanted: Any) -> list[Any]:
    """The opposite of `where`."""
    rows = need(value, list, "reject")
    if not unwanted:
        return [item for item in rows if type(item) is not dict or key not in item]
    if len(unwanted) == 1 and type(unwanted[0]) is str:
        (text,) = unwanted
        return [item for item in rows if type(item) is not dict or item.get(key) != text]
    return [item for item in rows if not any_equal(_field(item, key), unwanted)]


@filter_()
def flatten(value: Any) -> list[Any]:
    flat: list[Any] = []
    for item in need(value, list, "flatten"):
        flat.extend(item) if type(item) is list else flat.append(item)
    return flat


@filter_()
def compact(value: Any) -> list[Any]:
    return [item for item in need(value, list, "compact") if not is_empty(item)]


@filter_()
def index(value: Any, key: str, field: str | None = None) -> dict[str, Any]:
    table = {}
    for item in need(value, list, "index"):
        name = _field(item, key)
        entry = item if field is None else _field(item, field)
        if type(name) is str and entry is not MISSING:
            table[name] = entry
    return table


# bytes and addresses

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),(.*)", re.DOTALL)


@filter_()
def data_url(value: Any) -> Any:
    """`{media_type, data}` of a base64 data URL, else MISSING."""
    found = _DATA_URL.fullmatch(value) if type(value) is str and value.startswith("data:") else None
    if found is None or ";base64" not in found.group(2):
        return MISSING
    return {"media_type": found.group(1) or "text/plain", "data": found.group(3)}


@filter_()
def to_data_url(value: Any, media_type: Any) -> str:
    label = media_type if type(media_type) is str else "application/octet-stream"
    return f"data:{label};base64,{need(value, str, 'to_data_url')}"


@filter_("base64")
def to_base64(value: Any) -> str:
    return base64.b64encode(need(value, str, "base64").encode()).decode()


@filter_("unbase64")
def from_base64(value: Any) -> Any:
    """The text in base64, or MISSING where it is no base64 of UTF-8."""
    try:
        return base64.b64decode(need(value, str, "unbase64"), validate=True).decode()
    except ValueError:
        return MISSING


@filter_()
def urlencode(value: Any) -> str:
    from urllib.parse import quote

    return quote(need(value, str, "urlencode"), safe="")


# functions


def new_id(prefix: str, *, ctx: dict[str, Any]) -> str:
    """An identifier unique in the request and the same in a replay of it."""
    ctx["ids"] = count = ctx.get("ids", 0) + 1
    return f"{prefix}{ctx['token']}{count}"


def counted(end: int) -> list[int]:
    return list(range(end))


FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], bool]]] = {"new_id": (new_id, True), "range": (counted, False)}
"""Functions by name, and whether they get the context."""

# seals


@filter_("seal", context=True, missing=True)
def seal(value: Any, kind: str, *, ctx: dict[str, Any]) -> Any:
    return make_seal(value, kind, ctx)


@filter_(context=True)
def unseal(value: Any, *kinds: str, ctx: dict[str, Any]) -> Any:
    return break_seal(value, kinds, ctx)


@filter_()
def envelope(value: Any) -> str:
    return close_envelope(need(value, dict, "envelope"))
