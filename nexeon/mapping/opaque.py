"""Whether a mapping looks at a value, or only passes it on: found out by running it with a value that cannot be read.

The very code that is compiled runs, with other helpers: whatever reads an Opaque value (compares, measures, cuts or
looks it up) raises Touched. So a run that ends went a way that no other value in its place would change.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, NoReturn

from nexeon.mapping.missing import MISSING
from nexeon.mapping.operators import item

_COPY: Final = "__opaque__"
_MOST: Final = 2000


class Touched(Exception):
    """The mapping read an opaque value."""


def _touch(*_: Any, **__: Any) -> NoReturn:
    raise Touched


class OpaqueText(str):
    """Text of which nothing is known but that it is not empty."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, str) and other:
            raise Touched
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = __len__ = __contains__ = __getitem__ = __iter__ = _touch
    __add__ = __mod__ = __mul__ = __lt__ = __le__ = __gt__ = __ge__ = _touch
    __format__ = __str__ = strip = isascii = isidentifier = _touch


class OpaqueNumber(int):
    """An integer of which nothing is known."""

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _touch
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __floordiv__ = __truediv__ = _touch
    __mod__ = __neg__ = __index__ = __int__ = __float__ = __str__ = __format__ = _touch


OPAQUE: Final = (OpaqueText, OpaqueNumber)


def opaque(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled function with helpers that raise Touched where they would read an opaque value."""
    if not isinstance(function, FunctionType):
        return _touch
    names = function.__globals__
    copy = names.get(_COPY)
    if copy is None:
        copy = names[_COPY] = _guarded_names(names)
    found: Callable[..., Any] = copy.get(function.__name__, _touch)
    return found


def _guarded_names(names: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for name, value in names.items():
        if isinstance(value, FunctionType) and value.__globals__ is names:
            made = FunctionType(value.__code__, copy, value.__name__, value.__defaults__, value.__closure__)
            made.__kwdefaults__ = value.__kwdefaults__
            copy[name] = made
        elif name == "type":
            copy[name] = _kind
        elif name == "item":
            copy[name] = _item
        elif name in _THROUGH or isinstance(value, type) or not callable(value):
            copy[name] = value
        else:
            copy[name] = _guarded(value)
    return copy


_THROUGH: Final = frozenset(
    {"equal", "is_empty", "each", "pairs", "nothing", "merge_into", "present_items", "present_fields", "Refusal"}
    | {"without", "filter_omit", "filter_pick", "filter_default", "filter_merge"}
)
"""Helpers that only pass values on, or compare with `==`, which an opaque value looks after itself."""


def _item(value: Any, key: Any) -> Any:
    if type(key) in OPAQUE:
        raise Touched
    return item(value, key)


def _kind(value: Any) -> type[Any]:
    kind = type(value)
    return str if kind is OpaqueText else int if kind is OpaqueNumber else kind


def _guarded(helper: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if holds_opaque((arguments, named)):
            raise Touched
        return helper(*arguments, **named)

    return call


def holds_opaque(value: Any) -> bool:
    """Whether an opaque value stands anywhere in it. Raises Touched where that would take too long to find out."""
    stack = [value]
    seen = 0
    while stack:
        one = stack.pop()
        seen += 1
        if seen > _MOST:
            raise Touched
        kind = type(one)
        if kind in OPAQUE:
            return True
        if kind is dict:
            stack += one.values()
        elif kind is list or kind is tuple:
            stack += one
    return False


def listed(result: Any) -> list[Any]:
    """What a stream's section gave, as a list."""
    if type(result) is list:
        return result
    return [] if result is MISSING or result is None else [result]
