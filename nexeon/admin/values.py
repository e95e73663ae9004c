"""What operators give: checked, with an error that says what is wrong and what would be right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast, get_args

from nexeon.errors import AdminError
from nexeon.store.money import to_nano
from nexeon.store.permission import parse_scopes
from nexeon.store.records import Period

_LONGEST = 200


class Keep:
    """The value of an update's parameter that was not given: `None` means "no limit" there."""


KEEP: Final = Keep()


def text(name: str, value: Any, *, empty: bool = False) -> str:
    """One printable line without white space around it."""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        unseen = next((each for each in value if not each.isprintable()), "") if isinstance(value, str) else ""
        why = f" (U+{ord(unseen):04X} is none that can be seen)" if unseen else ""
        raise AdminError(f"{name}: give one line of text, at most {_LONGEST} characters{why}")
    if not value.strip() and not empty:
        raise AdminError(f"{name}: it must not be empty")
    return value.strip()


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise AdminError(f"{name}: give true or false")
    return value


def count(name: str, value: Any, *, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 10**15:
        raise AdminError(f"{name}: give a whole number, at least {least}")
    return value


def limit(name: str, value: Any) -> int | None:
    return None if value is None else count(name, value)


def label(name: str, value: Any) -> str:
    return text(name, value, empty=True)


def weight(name: str, value: Any) -> int:
    return count(name, value, least=1)


def names(name: str, value: Any) -> tuple[str, ...]:
    """A list of words, or one text with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise AdminError(f"{name}: give a list of names")
    return tuple(dict.fromkeys(text(name, part) for part in parts if part != ""))


def scopes(name: str, value: Any) -> tuple[str, ...]:
    given = names(name, value)
    try:
        parse_scopes(given)
    except ValueError as error:
        raise AdminError(f"{name}: {error}") from None
    return given


def period(name: str, value: Any) -> Period:
    """None and "" are a budget for good."""
    for known in get_args(Period):
        if value == known or (value is None and known == ""):
            return cast(Period, known)
    raise AdminError(f"{name}: give day, week or month")


def most_usd(name: str, value: Any) -> int | None:
    """An amount that may be zero, or None for no limit."""
    return None if value is None else usd(name, value, zero=True)


def overdraft(name: str, value: Any) -> int:
    return usd(name, value, zero=True)


def usd(name: str, value: Any, *, signed: bool = False, zero: bool = False) -> int:
    """A decimal string to nano-USD; a JSON number would have gone through a float on its way."""
    if not isinstance(value, str):
        raise AdminError(f'{name}: give USD as a string, such as "12.50"')
    try:
        nano = to_nano(value)
    except ValueError as error:
        raise AdminError(f"{name}: {error}") from None
    if (nano == 0 and not zero) or (nano < 0 and not signed):
        raise AdminError(f"{name}: `{value}` must be {'other than' if signed else 'more than'} zero")
    return nano


def moment(name: str, value: Any) -> float | None:
    """ISO 8601 to Unix seconds; without an offset it is UTC, without a time the day's first moment."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise AdminError(f"{name}: `{value}` is no time in ISO 8601, such as 2030-12-31T18:00:00Z") from None


def seconds(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise AdminError(f"{name}: give seconds, at least 0")
    return float(value)


def iso(when: float | None) -> str | None:
    """Unix seconds to ISO 8601 in UTC."""
    if when is None:
        return None
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


LIMITS: Final = ("rpm", "tpm", "rpd", "tpd", "concurrency")

_CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys(("name", "account"), text),
    **dict.fromkeys(("disabled", "enabled"), flag),
    **dict.fromkeys(("soft_limit", "budget"), most_usd),
    **dict.fromkeys(LIMITS, limit),
    "expires": moment,
    "label": label,
    "models": names,
    "overdraft": overdraft,
    "period": period,
    "scopes": scopes,
    "weight": weight,
}


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """What records are made and changed with, as they keep it; without what is to stay as it is."""
    return {name: _CHECKS[name](name, value) for name, value in given.items() if value is not KEEP}
