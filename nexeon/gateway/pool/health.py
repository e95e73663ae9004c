"""How targets fare: how fast they answered of late, and which ones are left alone because they keep failing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from nexeon.config import Breaker, Target

_WEIGHT: Final = 0.3
"""Of the newest answer in the moving average."""

_STALE: Final = 120.0
"""Seconds after which a latency is not known any more: the slow must get another chance."""


@dataclass(slots=True)
class _Latency:
    """A moving average, and when it was last measured."""

    seconds: float
    measured: float


@dataclass(slots=True)
class _Record:
    failures: int = 0
    opened: float | None = None
    trial: bool = False
    latencies: dict[bool, _Latency] = field(default_factory=dict)


class TargetHealth:
    """A circuit is closed; open after so many failures in a row; half open once its time is over: one call tries."""

    def __init__(self, breaker: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self._breaker = breaker
        self._clock = clock
        self._records: dict[tuple[str, str, str | None], _Record] = {}

    def adopt(self, breaker: Breaker, targets: Iterable[Target]) -> None:
        """Goes by another configuration's rule, and forgets every target but its own."""
        self._breaker = breaker
        known = {_key(target) for target in targets}
        self._records = {key: record for key, record in self._records.items() if key in known}

    def open(self, target: Target) -> bool:
        """Whether the target should be left alone now."""
        record = self._records.get(_key(target))
        if record is None or record.opened is None:
            return False
        return record.trial or self._clock() - record.opened < self._breaker.seconds

    def begins(self, target: Target) -> None:
        """A call goes out to the target."""
        record = self._records.get(_key(target))
        if record is not None and record.opened is not None:
            record.trial = True

    def answered(self, target: Target, seconds: float, *, stream: bool = False) -> None:
        """It answered, after so long: with the whole answer, or with the first bytes of a stream."""
        record = self._of(target)
        now = self._clock()
        record.failures, record.opened, record.trial = 0, None, False
        known = record.latencies.get(stream)
        if known is None or now - known.measured > _STALE:
            record.latencies[stream] = _Latency(seconds, now)
        else:
            known.seconds += _WEIGHT * (seconds - known.seconds)
            known.measured = now

    def failed(self, target: Target) -> None:
        """It failed, or did not answer in time."""
        record = self._of(target)
        record.failures += 1
        record.trial = False
        if self._breaker.failures and record.failures >= self._breaker.failures:
            record.opened = self._clock()

    def spared(self, target: Target) -> None:
        """The call ended in a way that tells nothing about the target."""
        record = self._records.get(_key(target))
        if record is not None:
            record.trial = False

    def latency(self, target: Target, *, stream: bool = False) -> float | None:
        """Seconds until its answers, or its streams' first bytes, came of late; None where that is not known."""
        record = self._records.get(_key(target))
        known = record.latencies.get(stream) if record is not None else None
        return known.seconds if known is not None and self._clock() - known.measured <= _STALE else None

    def circuits(self) -> dict[tuple[str, str], bool]:
        """(provider, upstream model) → whether its circuit is open; for targets that have been called."""
        now = self._clock()
        return {
            key[:2]: record.opened is not None and now - record.opened < self._breaker.seconds
            for key, record in self._records.items()
        }

    def states(self) -> dict[tuple[str, str, str | None], dict[str, Any]]:
        """By (provider, upstream model, format): `{"open", "failures", "latency"}`, in a row and in seconds (None where
        that is not known); for targets that have been called."""
        now = self._clock()
        found: dict[tuple[str, str, str | None], dict[str, Any]] = {}
        for key, record in self._records.items():
            fresh = [each for each in record.latencies.values() if now - each.measured <= _STALE]
            found[key] = {
                "open": record.opened is not None and now - record.opened < self._breaker.seconds,
                "failures": record.failures,
                "latency": max(fresh, key=lambda each: each.measured).seconds if fresh else None,
            }
        return found

    def _of(self, target: Target) -> _Record:
        return self._records.setdefault(_key(target), _Record())


def _key(target: Target) -> tuple[str, str, str | None]:
    return target.provider, target.model, target.format
