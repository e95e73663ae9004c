"""What expressions compile to: operators, paths and loops over values of any type, missing ones included."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, Final

from nexeon.mapping.missing import MISSING


def kind(value: Any) -> str:
    """The value's type in the language's own words."""
    if value is MISSING:
        return "missing"
    names = {dict: "a map", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def text(value: Any) -> str:
    """A scalar as text; maps and lists have none."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (int, float):
        return str(value)
    raise TypeError(f"{kind(value)} is no text (`| json` makes it so)")


def concat(*parts: Any) -> Any:
    """Text put together; MISSING where a part is missing or null."""
    for part in parts:
        if part is MISSING or part is None:
            return MISSING
    return "".join([part if type(part) is str else str(part) if type(part) is int else text(part) for part in parts])


def equal(a: Any, b: Any) -> bool:
    """Deep equality in which booleans are not numbers."""
    if type(a) is str:  # the usual case: text equals text only, as Python has it
        return bool(a == b)
    if type(a) is bool or type(b) is bool:
        return a is b
    if type(a) is list and type(b) is list:
        return len(a) == len(b) and all(map(equal, a, b))
    if type(a) is dict and type(b) is dict:
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


def any_equal(value: Any, wanted: Iterable[Any]) -> bool:
    if type(value) is str:  # the usual case: text equals text only, as Python has it
        return value in wanted
    return any(equal(value, one) for one in wanted)


def contains(container: Any, value: Any) -> bool:
    """`value in container`: a key of a map, an item of a list, a part of text."""
    if container is MISSING or container is None or value is MISSING:
        return False
    if type(container) is dict:
        return type(value) is str and value in container
    if type(container) is str:
        return type(value) is str and value in container
    if type(container) is list:
        return any_equal(value, container)
    raise TypeError(f"`in` needs a list, a map or text, not {kind(container)}")


def item(value: Any, key: Any) -> Any:
    """`value[key]`, MISSING where there is none."""
    if type(value) is dict:
        return value.get(key, MISSING) if type(key) is str else MISSING
    if type(value) is list and type(key) is int:
        return value[key] if -len(value) <= key < len(value) else MISSING
    return MISSING


def lookup(table: dict[Any, Any], key: Any) -> Any:
    """A table's entry."""
    return MISSING if type(key) in (dict, list) else table.get(key, MISSING)


def cut(value: Any, start: int | None, stop: int | None) -> Any:
    """`value[start:stop]`."""
    if value is MISSING or value is None:
        return MISSING
    if type(value) not in (list, str):
        raise TypeError(f"a slice needs a list or text, not {kind(value)}")
    return value[start:stop]


def is_empty(value: Any) -> bool:
    return value is MISSING or value is None or (type(value) in (str, list, dict) and not value)


def each(value: Any) -> Iterable[Any]:
    """What `$for` goes over."""
    if type(value) is list:
        return value
    if value is MISSING or value is None:
        return ()
    raise TypeError(f"`$for` needs a list, not {kind(value)}")


def pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    """What `$for` with two names goes over."""
    if type(value) is dict:
        return list(value.items())
    if type(value) is list:
        return enumerate(value)
    if value is MISSING or value is None:
        return ()
    raise TypeError(f"`$for` needs a map or a list, not {kind(value)}")


_NUMBERS: Final = frozenset((int, float))


def _arithmetic(sign: str, operate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(a: Any, b: Any) -> Any:
        if type(a) in _NUMBERS and type(b) in _NUMBERS:
            if sign in "/%" and b == 0:
                raise TypeError("division by zero")
            return operate(a, b)
        if a is MISSING or a is None or b is MISSING or b is None:
            return MISSING
        if sign == "+" and type(a) is type(b) and type(a) in (list, str):
            return a + b
        raise TypeError(f"`{sign}` cannot take {kind(a)} and {kind(b)}")

    return apply


add = _arithmetic("+", operator.add)
subtract = _arithmetic("-", operator.sub)
multiply = _arithmetic("*", operator.mul)
divide = _arithmetic("/", operator.truediv)
floor_divide = _arithmetic("//", operator.floordiv)
modulo = _arithmetic("%", operator.mod)


def _ordering(sign: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def apply(a: Any, b: Any) -> bool:
        if (type(a) in _NUMBERS and type(b) in _NUMBERS) or (type(a) is str and type(b) is str):
            return compare(a, b)
        if a is MISSING or a is None or b is MISSING or b is None:
            return False
        raise TypeError(f"`{sign}` cannot compare {kind(a)} and {kind(b)}")

    return apply


less = _ordering("<", operator.lt)
at_most = _ordering("<=", operator.le)
more = _ordering(">", operator.gt)
at_least = _ordering(">=", operator.ge)


def negate(value: Any) -> Any:
    if value is MISSING or value is None:
        return MISSING
    if type(value) in _NUMBERS:
        return -value
    raise TypeError(f"`-` cannot take {kind(value)}")
