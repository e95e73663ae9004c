"""Figures, amounts and times as people read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

NONE: Final = "–"
_UNITS: Final = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


def exact(usd: str | None) -> str:
    """Every digit, with at least two decimals: `12.5` → `12.50`."""
    if usd is None:
        return NONE
    amount = Decimal(usd)
    text = f"{amount:,f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def money(usd: str | None) -> str:
    """Short: two decimals from 1 USD on, below that three digits that count."""
    if usd is None:
        return NONE
    amount = Decimal(usd)
    if amount == 0 or abs(amount) >= 1:
        return f"{amount:,.2f}"
    places = max(2, 2 - amount.adjusted())
    return f"{amount:.{min(places, 9)}f}"


def count(number: float | None) -> str:
    """Four characters or so: `999`, `1.2k`, `35k`, `4.1M`."""
    if number is None:
        return NONE
    for size, unit in _UNITS:
        if abs(number) >= size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if abs(scaled) < 10 else f"{scaled:.0f}{unit}"
    return f"{number:.1f}" if number != int(number) and abs(number) < 100 else f"{number:.0f}"


def seconds(value: float | None) -> str:
    """`84 ms`, `1.2 s`, `3 min`, `2 h`, `5 d`."""
    if value is None:
        return NONE
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    for size, unit in ((86_400, "d"), (3600, "h")):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value / 60:.0f} min"


def moment(iso: str | None) -> datetime | None:
    return None if iso is None else datetime.fromisoformat(iso)


def ago(iso: str | None, now: float) -> str:
    """How long before `now` (Unix seconds): `12 s ago`; `in 3 h` for what is to come."""
    when = moment(iso)
    if when is None:
        return NONE
    passed = now - when.timestamp()
    return f"{seconds(round(passed))} ago" if passed >= 0 else f"in {seconds(round(-passed))}"


def day(iso: str | None) -> str:
    return NONE if iso is None else iso[:10]


def clock(iso: str | None, now: float) -> str:
    """The time in UTC, with the date where it is not `now`'s day."""
    when = moment(iso)
    if when is None:
        return NONE
    when = when.astimezone(UTC)
    today = datetime.fromtimestamp(now, UTC).date()
    return f"{when:%H:%M:%S}" if when.date() == today else f"{when:%m-%d %H:%M}"


def gauge(share: float, width: int = 10) -> str:
    """A bar of blocks for a share from 0 to 1."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return bar.ljust(width, "·")


def clip(text: Any, width: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def tail(text: str, width: int) -> str:
    """The same, from the end, which tells most of a path."""
    return text if len(text) <= width else "…" + text[len(text) - max(width - 1, 0) :]


def indented(value: Any) -> str:
    """As JSON, two spaces to a level. (`json` takes 20 ms for a whole configuration.)"""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # what orjson is too strict for: integers beyond 64 bits, keys that are numbers
        return json.dumps(value, indent=2, ensure_ascii=False)
