"""Figures of the last minutes, second by second, from the log of requests: read on when somebody looks, at no cost to
the requests themselves."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from nexeon.admin.views import View
from nexeon.store.money import to_usd
from nexeon.store.requests import RequestLog

LONGEST: Final = 3600
"""Seconds that are kept, and that one look may span."""

_AT_ONCE: Final = 5000
_MOST: Final = 50_000
"""Records that one look reads at most; the figures of a busier hour are complete a look later."""


@dataclass(slots=True)
class Second:
    """What ended in one second; `spend` in nano-USD, `first` are seconds until answers began, `parts` are
    [requests, errors, tokens, nano-USD] by (model, provider)."""

    requests: int = 0
    errors: int = 0
    input: int = 0
    output: int = 0
    spend: int = 0
    first: list[float] = field(default_factory=list)
    parts: dict[tuple[str, str], list[int]] = field(default_factory=dict)


class Traffic:
    """Of one log. `figures` may raise StoreUnavailable."""

    def __init__(self, log: RequestLog, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._clock = clock
        self._last: int | None = None
        self._from = math.inf
        self._looked = 0.0
        self._seconds: dict[int, Second] = {}
        self._turn = asyncio.Lock()

    async def figures(self, span: int, points: int) -> View:
        """The last `span` seconds in `points` parts of equal length, oldest first, and what made them up."""
        async with self._turn:
            now = self._clock()
            await self._catch_up(now, span)
        return self._view(now, span, points)

    async def _catch_up(self, now: float, span: int) -> None:
        if now - self._looked > LONGEST or self._from > now - span:
            # Nobody looked for long, or not so far back.
            self._last, self._from, self._seconds = None, now - span, {}
        for _ in range(_MOST // _AT_ONCE):
            rows, self._last = await self._log.follow(self._last, self._from, _AT_ONCE)
            for row in rows:
                self._take(row)
            if len(rows) < _AT_ONCE:
                break
        self._looked = now
        oldest = now - LONGEST
        for second in [each for each in self._seconds if each < oldest]:
            del self._seconds[second]
        self._from = max(self._from, oldest)

    def _take(self, row: dict[str, Any]) -> None:
        second = self._seconds.setdefault(int(row.get("ended") or row.get("started") or 0), Second())
        usage, steps = row.get("usage") or {}, row.get("steps") or {}
        failed = int((row.get("status") or 0) >= 400 or bool(row.get("error")))
        given = sum(_count(usage, name) for name in ("input", "cached_input", "cache_write", "cache_write_1h"))
        made = _count(usage, "output")
        spend = row.get("cost") or 0
        second.requests += 1
        second.errors += failed
        second.input += given
        second.output += made
        second.spend += spend
        if not failed and "answered" in steps:
            second.first.append(steps["answered"])
        part = second.parts.setdefault((row.get("model") or "", row.get("provider") or ""), [0, 0, 0, 0])
        part[:] = (part[0] + 1, part[1] + failed, part[2] + given + made, part[3] + spend)

    def _view(self, now: float, span: int, points: int) -> View:
        length = span / points
        # The part that runs is not whole yet, and would look like a fall; whole parts stay the same from look to look.
        end = now // length * length
        start = end - span
        slots: list[list[Second]] = [[] for _ in range(points)]
        parts: dict[tuple[str, str], list[int]] = {}
        for second, found in self._seconds.items():
            if start <= second < end:
                slots[min(int((second - start) / length), points - 1)].append(found)
                for name, counted in found.parts.items():
                    kept = parts.setdefault(name, [0, 0, 0, 0])
                    kept[:] = [one + other for one, other in zip(kept, counted, strict=True)]
        firsts = [sorted(first for second in slot for first in second.first) for slot in slots]
        every = sorted(first for slot in firsts for first in slot)
        whole = [second for slot in slots for second in slot]
        return {
            "span": span,
            "seconds": length,
            "requests": [_rate([each.requests for each in slot], length) for slot in slots],
            "errors": [_rate([each.errors for each in slot], length) for slot in slots],
            "input_tokens": [_rate([each.input for each in slot], length) for slot in slots],
            "output_tokens": [_rate([each.output for each in slot], length) for slot in slots],
            "spend": [_rate([each.spend for each in slot], length) / 10**9 for slot in slots],
            "first_p50": [_quantile(slot, 0.5) for slot in firsts],
            "first_p95": [_quantile(slot, 0.95) for slot in firsts],
            "total": {
                "requests": sum(second.requests for second in whole),
                "errors": sum(second.errors for second in whole),
                "tokens": sum(second.input + second.output for second in whole),
                "spend": to_usd(sum(second.spend for second in whole)),
                "first_p50": _quantile(every, 0.5),
                "first_p95": _quantile(every, 0.95),
            },
            "models": _ranked(parts, 0, "model"),
            "providers": _ranked(parts, 1, "provider"),
        }


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if type(value) is int else 0


def _rate(counts: list[int], length: float) -> float:
    """A second."""
    return round(sum(counts) / length, 3)


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None


def _ranked(parts: dict[tuple[str, str], list[int]], place: int, name: str) -> list[View]:
    """By model or provider, the busiest first."""
    sums: dict[str, list[int]] = {}
    for key, counted in parts.items():
        kept = sums.setdefault(key[place], [0, 0, 0, 0])
        kept[:] = [one + other for one, other in zip(kept, counted, strict=True)]
    return [
        {name: key, "requests": counted[0], "errors": counted[1], "tokens": counted[2], "spend": to_usd(counted[3])}
        for key, counted in sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
        if key
    ]
