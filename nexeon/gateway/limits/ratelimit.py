"""Rate-limit headers, towards clients and from providers, in the names and the notation of a format."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from nexeon.gateway.limits.windows import Level
from nexeon.mapping.wirefacts import LimitFacts, LimitNames

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_FARTHEST: Final = 86_400.0


def limit_headers(
    facts: LimitFacts | None, requests: Level | None, tokens: Level | None, *, now: float | None = None
) -> dict[str, str]:
    """What a client's SDK reads of the tightest limit on requests and of that on tokens; `now` in Unix seconds."""
    headers: dict[str, str] = {}
    if facts is None:
        return headers
    for names, level in ((facts.requests, requests), (facts.tokens, tokens)):
        if names is not None and level is not None:
            headers[names.limit] = str(level.claim.limit)
            headers[names.remaining] = str(level.left)
            headers[names.reset] = (
                _duration(level.reset)
                if facts.reset == "duration"
                else _moment(level.reset, time.time() if now is None else now)
            )
    return headers


def told_wait(facts: LimitFacts | None, headers: Mapping[str, str]) -> float | None:
    """Seconds until what a provider says is used up comes back; None where it says nothing of it."""
    if facts is None:
        return None
    waits = [_wait(facts, names, headers) for names in (facts.requests, facts.tokens) if names is not None]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(facts: LimitFacts, names: LimitNames, headers: Mapping[str, str]) -> float | None:
    text = headers.get(names.reset)
    if text is None or headers.get(names.remaining, "0").strip() != "0":
        return None
    if facts.reset == "duration":
        parts = _PART.findall(text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    return None if seconds is None else min(max(seconds, 0.0), _FARTHEST)


def _duration(seconds: float) -> str:
    """`6m0s`, `1s`, `250ms`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"


def _moment(seconds: float, now: float) -> str:
    return datetime.fromtimestamp(now + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
