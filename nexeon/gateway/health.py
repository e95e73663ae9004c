"""How targets fare: how fast they answered of late, and which ones are left alone because they keep failing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nexeon.config import Breaker, Target

_WEIGHT: Final = 0.3
"""Of the newest answer in the moving average."""

_STALE: Final = 120.0
"""Seconds after which a latency is not known any more: the slow must get another chance."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    opened: float | None = None
    trial: bool = False
    latency: float = 0.0
    measured: float | None = None


class TargetHealth:
    """A circuit is closed; open after so many failures in a row; half open once its time is over: one call tries."""

    def __init__(self, breaker: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self._breaker = breaker
        self._clock = clock
        self._records: dict[tuple[str, str, str | None], _Record] = {}

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

    def answered(self, target: Target, seconds: float) -> None:
        """It answered, after so long."""
        record = self._of(target)
        now = self._clock()
        record.failures, record.opened, record.trial = 0, None, False
        fresh = record.measured is None or now - record.measured > _STALE
        record.latency = seconds if fresh else record.latency + _WEIGHT * (seconds - record.latency)
        record.measured = now

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

    def latency(self, target: Target) -> float | None:
        """Seconds until its answers came of late; None where that is not known."""
        record = self._records.get(_key(target))
        if record is None or record.measured is None or self._clock() - record.measured > _STALE:
            return None
        return record.latency

    def circuits(self) -> dict[tuple[str, str], bool]:
        """(provider, upstream model) → whether its circuit is open; for targets that have been called."""
        now = self._clock()
        return {
            key[:2]: record.opened is not None and now - record.opened < self._breaker.seconds
            for key, record in self._records.items()
        }

    def _of(self, target: Target) -> _Record:
        return self._records.setdefault(_key(target), _Record())


def _key(target: Target) -> tuple[str, str, str | None]:
    return target.provider, target.model, target.format
