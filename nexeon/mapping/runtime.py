"""What compiled mappings call, and how a failure finds its place in the YAML and in the data."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator
from types import FunctionType, TracebackType
from typing import Any, Final

from nexeon.errors import MappingFailure
from nexeon.mapping import functions, operators, reshape
from nexeon.mapping.filtering import INLINED, OTHERWISE
from nexeon.mapping.missing import EMPTY, MISSING
from nexeon.mapping.opaque import Touched, opaque
from nexeon.mapping.pytree import RUNS
from nexeon.wire.json import dumps

PLAIN: Final = "plain_code"
"""What compiled code calls its functions as the compiler wrote them, before they were made faster: marshalled."""
_PLAIN_NAMES: Final = "plain_names"
_FAILURES: Final = (TypeError, ValueError, RecursionError, ArithmeticError, AttributeError, KeyError)
_LONGEST_LOST: Final = 64
"""Reports of dropped parts beyond this many are not kept: the header is bounded anyway."""


class Refusal(Exception):
    """`$fail`, or a `$match` that does not list the value."""


def unlisted(value: Any, what: str, known: str) -> Refusal:
    """The refusal of a `$match` without `$else`."""
    expected = f" (known: {known})" if known else ""
    if value is MISSING:
        return Refusal(f"`{what}` is missing{expected}")
    shown = dumps(value).decode(errors="replace")
    return Refusal(f"unsupported `{what}` {shown if len(shown) <= 60 else shown[:57] + '…'}{expected}")


def lose(ctx: dict[str, Any], reason: str, data: tuple[Any, ...]) -> None:
    """`$drop`: the innermost data in sight tells the place, once the function has returned."""
    lost = ctx["lost"]
    if len(lost) < _LONGEST_LOST:
        lost.append((reason, data))


def nothing(value: Any) -> bool:
    """What a `key?:` drops."""
    return value is MISSING or (type(value) in (dict, list) and not value)


def merge_into(target: dict[str, Any], part: Any) -> None:
    """One part of `$merge`."""
    if type(part) is dict:
        target.update(part)
    elif part is not MISSING and part is not None:
        raise TypeError(f"`$merge` needs maps, not {operators.kind(part)}")


def present_items(items: list[Any]) -> list[Any]:
    return [item for item in items if item is not MISSING]


def present_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not MISSING}


def namespace() -> dict[str, Any]:
    """The globals of compiled code: only these, no builtins beyond `type` and the types that tests name."""
    names: dict[str, Any] = {
        "__builtins__": {},
        "type": type,
        "str": str,
        "int": int,
        "float": float,
        "bool": bool,
        "list": list,
        "dict": dict,
        "len": len,
        "MISSING": MISSING,
        "EMPTY": EMPTY,
        "SIZED": (str, list, dict),
        "SEVERAL": object(),
        "HOLDERS": (dict, list),
        "NUMBERS": (int, float),
        "Refusal": Refusal,
        "unlisted": unlisted,
        "lose": lose,
        "nothing": nothing,
        "merge_into": merge_into,
        "present_items": present_items,
        "present_fields": present_fields,
    }
    helpers = ("concat", "text", "equal", "contains", "item", "lookup", "cut", "is_empty", "each", "pairs", "negate")
    sums = ("add", "subtract", "multiply", "divide", "floor_divide", "modulo", "less", "at_most", "more", "at_least")
    names |= {name: getattr(operators, name) for name in helpers + sums}
    names[RUNS] = reshape.runs_apart
    names |= {f"filter_{name}": function for name, function in functions.FILTERS.items()}
    # the same, once what is usual has been tried
    names |= {"of_two_min": functions.least_of_two, "of_two_max": functions.greatest_of_two}
    names |= {"without": functions.FILTERS["omit"], "lookup_other": operators.lookup}
    names |= {OTHERWISE + name: functions.FILTERS[name] for name in INLINED}
    names |= {OTHERWISE + name: getattr(operators, name) for name in ("less", "at_most", "more", "at_least")}
    names |= {f"builtin_{name}": function for name, (function, _) in functions.FUNCTIONS.items()}
    return names


class Transform:
    """One compiled template, called as `transform(value, ctx)`.

    Raises MappingFailure with the mapping's line and the data's path. What `$drop` lost is in `ctx["dropped"]`.
    """

    __slots__ = ("file", "function", "root")

    def __init__(self, function: Callable[..., Any], file: str, root: str) -> None:
        self.function = function
        self.file = file
        self.root = root

    def __call__(self, value: Any, ctx: dict[str, Any]) -> Any:
        ids, doubts = ctx["ids"], len(ctx["doubts"])
        try:
            result = self.function(value, ctx)
        except (Refusal, *_FAILURES) as error:
            ctx["ids"] = ids
            del ctx["doubts"][doubts:]
            result = self._plainly(error, value, ctx)
        if ctx["lost"]:
            dropped = ctx["dropped"]
            for reason, data in ctx["lost"]:
                place = next((path for part in data if (path := find_path(value, part))), "")
                dropped.append(f"{place}: {reason}" if place else reason)
            ctx["lost"] = []
        return result

    def opaque(self, value: Any, ctx: dict[str, Any]) -> Any:
        """The result for a value with opaque parts (`nexeon.mapping.opaque`). Raises Touched where it would read them,
        fails, or does anything but give a result."""
        before = len(ctx["lost"]), len(ctx["dropped"]), ctx["ids"]
        try:
            result = opaque(self.function)(value, ctx)
        except (Refusal, *_FAILURES) as error:
            raise Touched from error
        if (len(ctx["lost"]), len(ctx["dropped"]), ctx["ids"]) != before:
            raise Touched
        return result

    def _plainly(self, error: Exception, value: Any, ctx: dict[str, Any]) -> Any:
        """What the function as the compiler wrote it gives: it knows the place where it fails."""
        plain = plain_function(self.function)
        if plain is None:
            raise self._failure(error, value) from None
        ctx["lost"] = []
        try:
            return plain(value, ctx)
        except (Refusal, *_FAILURES) as exact:
            raise self._failure(exact, value) from None

    def _failure(self, error: Exception, value: Any) -> MappingFailure:
        line, path = 0, ""
        for frame, number in reversed(list(_frames(error.__traceback__))):
            if frame.f_code.co_filename != self.file:
                continue
            line = line or number
            found = [find_path(value, local) for local in frame.f_locals.values() if type(local) in (dict, list)]
            path = max((one for one in found if one), key=len, default="")
            if path:
                break
        message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return MappingFailure(message, file=self.file, line=line, path=path)


def plain_function(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """The function before it was made faster, where it was."""
    if not isinstance(function, FunctionType):
        return None
    names = function.__globals__
    if PLAIN not in names:
        return None
    plain = names.get(_PLAIN_NAMES)
    if plain is None:
        plain = namespace() | {name: value for name, value in names.items() if name.startswith("table_")}
        exec(marshal.loads(names[PLAIN]), plain)  # made by us from an allow-list of nodes
        names[_PLAIN_NAMES] = plain
    found: Callable[..., Any] = plain[function.__name__]
    return found


def _frames(traceback: TracebackType | None) -> Iterator[tuple[Any, int]]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def find_path(root: Any, wanted: Any) -> str:
    """Where that very object stands in the data, as `a.b[0]`; nothing for the root itself or a stranger."""
    if type(wanted) not in (dict, list) or wanted is root or not wanted:
        return ""
    stack: list[tuple[Any, str]] = [(root, "")]
    while stack:
        value, path = stack.pop()
        if value is wanted:
            return path
        if type(value) is dict:
            stack += [
                (child, f"{path}.{key}" if path else str(key))
                for key, child in value.items()
                if type(child) in (dict, list)
            ]
        elif type(value) is list:
            stack += [(child, f"{path}[{number}]") for number, child in enumerate(value) if type(child) in (dict, list)]
    return ""
