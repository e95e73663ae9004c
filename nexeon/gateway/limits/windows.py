"""Counting what was taken within a sliding window of time, and what is held right now.

A window is cut into slots; all of the slots that it touches count, the oldest one whole. So no window of the given
length ever holds more than its limit, and what was taken comes free at most one slot late.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from nexeon.errors import NexeonError

HELD: Final = 0.0
"""The `seconds` of a claim that counts until it is settled: calls at once."""

SLOTS: Final = 60
"""That a window is cut into."""

_PRUNE_EVERY: Final = 4096


@dataclass(frozen=True, slots=True)
class Claim:
    """`amount` wanted of `limit` in any `seconds`; `name` is whose counter it is."""

    name: str
    limit: int
    seconds: float
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Level:
    """Where a counter stands: `left` may be taken now, and in `reset` seconds (0: now) it is all free again."""

    claim: Claim
    left: int
    reset: float


@dataclass(slots=True)
class Taken:
    """Claims that were granted together; `settle` them once."""

    claims: Sequence[Claim]
    levels: list[Level]
    marks: list[int] = field(default_factory=list)


class Exceeded(NexeonError):
    """`level` is the counter that has no room; asking again makes sense in `wait` seconds."""

    def __init__(self, level: Level, wait: float) -> None:
        self.level = level
        self.wait = wait
        super().__init__(level.claim.name)


class Windows(Protocol):
    """The counters. One process keeps them in memory; several may share a server's, which `shared` tells."""

    shared: bool

    @property
    def reachable(self) -> bool:
        """Whether the server counts now."""
        ...

    async def take(self, claims: Sequence[Claim]) -> Taken:
        """All of the claims or none. Raises Exceeded for the one that has to wait longest."""
        ...

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        """Puts what was really used in place of each claim's amount, and gives back what was held."""
        ...

    def settle_soon(self, taken: Taken, amounts: Sequence[int]) -> None:
        """The same, for whom nobody waits."""
        ...

    def levels(self, claims: Sequence[Claim]) -> list[Level]:
        """Where the counters stand, with nothing taken, as far as this process knows."""
        ...

    async def close(self) -> None: ...


class MemoryWindows:
    """Implements `Windows`. `take_now` and `settle_now` are the same, for callers that cannot wait."""

    shared = False
    reachable = True

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, parts: int = 1) -> None:
        """Of every limit, one of so many `parts` is let in here, but one at least: the others are other processes'."""
        self._clock = clock
        self._parts = parts
        self._counters: dict[tuple[str, float], _Window | _Held] = {}
        self._takes = 0

    async def take(self, claims: Sequence[Claim]) -> Taken:
        return self.take_now(claims)

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        self.settle_now(taken, amounts)

    def settle_soon(self, taken: Taken, amounts: Sequence[int]) -> None:
        self.settle_now(taken, amounts)

    async def close(self) -> None:
        """Nothing is held that would have to be let go."""

    def take_now(self, claims: Sequence[Claim]) -> Taken:
        now = self._clock()
        self._takes += 1
        if self._takes % _PRUNE_EVERY == 0:
            self._prune(now)
        counters = [self._counter(claim) for claim in claims]
        refused: Exceeded | None = None
        for claim, counter in zip(claims, counters, strict=True):
            wait = counter.wait(now, self._own(claim))
            if wait > 0 and (refused is None or wait > refused.wait):
                refused = Exceeded(self._level(claim, now), wait)
        if refused is not None:
            raise refused
        marks = [counter.add(now, claim.amount) for claim, counter in zip(claims, counters, strict=True)]
        return Taken(claims, [self._level(claim, now) for claim in claims], marks)

    def settle_now(self, taken: Taken, amounts: Sequence[int]) -> None:
        now = self._clock()
        for claim, mark, amount in zip(taken.claims, taken.marks, amounts, strict=True):
            counter = self._counters.get((claim.name, claim.seconds))
            if counter is not None:
                counter.correct(now, mark, claim.amount, amount)

    def levels(self, claims: Sequence[Claim]) -> list[Level]:
        """Where the counters stand, with nothing taken."""
        now = self._clock()
        return [self._level(claim, now) for claim in claims]

    def _own(self, claim: Claim) -> Claim:
        """With this process's part of the limit."""
        if self._parts == 1 or claim.limit <= 0:
            return claim
        return replace(claim, limit=max(claim.limit // self._parts, 1))

    def _level(self, claim: Claim, now: float) -> Level:
        level = self._counter(claim).level(now, self._own(claim))
        return level if level.claim is claim else replace(level, claim=claim)

    def _counter(self, claim: Claim) -> _Window | _Held:
        key = (claim.name, claim.seconds)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Held() if claim.seconds == HELD else _Window(claim.seconds)
        return counter

    def _prune(self, now: float) -> None:
        for key in [key for key, counter in self._counters.items() if counter.idle(now)]:
            del self._counters[key]


class _Held:
    """What is held now."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = 0

    def wait(self, now: float, claim: Claim) -> float:
        return 1.0 if self._held + claim.amount > claim.limit else 0.0

    def add(self, now: float, amount: int) -> int:
        self._held += amount
        return 0

    def correct(self, now: float, mark: int, claimed: int, used: int) -> None:
        self._held = max(self._held - claimed, 0)

    def level(self, now: float, claim: Claim) -> Level:
        return Level(claim, max(claim.limit - self._held, 0), 0.0)

    def idle(self, now: float) -> bool:
        return self._held == 0


class _Window:
    """Amounts by slot; `_last` is the number of the newest slot, `_slots[0]` the oldest that still counts."""

    __slots__ = ("_last", "_slots", "_total", "_width")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / SLOTS
        self._slots = [0] * (SLOTS + 1)
        self._last = 0
        self._total = 0

    def _advance(self, now: float) -> None:
        number = math.floor(now / self._width)
        passed = number - self._last
        if passed <= 0:
            return
        self._last = number
        if passed > SLOTS:
            self._slots = [0] * (SLOTS + 1)
            self._total = 0
        else:
            self._total -= sum(self._slots[:passed])
            self._slots = self._slots[passed:] + [0] * passed

    def wait(self, now: float, claim: Claim) -> float:
        """A claim larger than its limit is let in once nothing else counts: it could never be otherwise."""
        self._advance(now)
        if claim.limit <= 0:
            return self._width * (SLOTS + 1)
        wanted = self._total + min(claim.amount, claim.limit) - claim.limit
        if wanted <= 0:
            return 0.0
        for place, amount in enumerate(self._slots):
            wanted -= amount
            if wanted <= 0:
                return max(self._start(place + 1 + SLOTS) - now, 0.001)
        return self._width * (SLOTS + 1)

    def _start(self, place: int) -> float:
        """When the slot begins that is so many after the oldest one."""
        return (self._last - SLOTS + place) * self._width

    def add(self, now: float, amount: int) -> int:
        self._slots[-1] += amount
        self._total += amount
        return self._last

    def correct(self, now: float, mark: int, claimed: int, used: int) -> None:
        """Less than was claimed is given back where it was taken; more counts from now on."""
        self._advance(now)
        place = SLOTS - (self._last - mark) if used < claimed else SLOTS
        if place >= 0:
            change = max(used - claimed, -self._slots[place])
            self._slots[place] += change
            self._total += change

    def level(self, now: float, claim: Claim) -> Level:
        self._advance(now)
        newest = next((place for place in range(SLOTS, -1, -1) if self._slots[place]), None)
        reset = 0.0 if newest is None else max(self._start(newest + 1 + SLOTS) - now, 0.0)
        return Level(claim, max(claim.limit - self._total, 0), min(reset, claim.seconds))

    def idle(self, now: float) -> bool:
        self._advance(now)
        return self._total == 0
