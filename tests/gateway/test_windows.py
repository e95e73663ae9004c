"""Sliding windows against a log of everything that was taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexeon.gateway.limits.windows import HELD, Claim, Exceeded, MemoryWindows

STEPS = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 8)), max_size=80)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(STEPS, st.integers(1, 20))
def test_no_window_ever_holds_more_than_its_limit(steps: list[tuple[float, int]], limit: int) -> None:
    clock = Clock()
    windows = MemoryWindows(clock)
    taken: list[tuple[float, int]] = []
    for pause, amount in steps:
        clock.now += pause
        claim = Claim("k", limit, 60, min(amount, limit))
        try:
            windows.take_now([claim])
        except Exceeded as refused:
            recent = sum(size for when, size in taken if when > clock.now - 61)
            if recent + claim.amount <= limit or not 0 < refused.wait <= 61 or refused.level.left >= claim.amount:
                pytest.fail(f"refused too early or for too long: {refused.level}, {refused.wait}")
            clock.now += refused.wait
            windows.take_now([claim])
        taken.append((clock.now, claim.amount))
        for when, _ in taken:
            assert sum(size for other, size in taken if when <= other < when + 60) <= limit


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 30)), min_size=1, max_size=20))
def test_settling_leaves_what_was_used(calls: list[tuple[int, int, float]]) -> None:
    clock = Clock()
    windows = MemoryWindows(clock)
    claims = [Claim("k", 10_000, 3600, claimed) for claimed, _, _ in calls]
    granted = []
    for claim, (_, _, pause) in zip(claims, calls, strict=True):
        granted.append(windows.take_now([claim]))
        clock.now += pause
    for taken, (_, used, _) in zip(granted, calls, strict=True):
        windows.settle_now(taken, [used])
    assert windows.levels([claims[0]])[0].left == 10_000 - sum(used for _, used, _ in calls)
    clock.now += 3700
    assert windows.levels([claims[0]])[0].left == 10_000


def test_all_claims_or_none() -> None:
    windows = MemoryWindows(Clock())
    many, one = Claim("a", 5, 60), Claim("b", 1, 60)
    windows.take_now([many, one])
    with pytest.raises(Exceeded) as refused:
        windows.take_now([many, one])
    assert refused.value.level.claim == one
    assert windows.levels([many])[0].left == 4


def test_what_is_held_counts_until_it_is_given_back() -> None:
    windows = MemoryWindows(Clock())
    claim = Claim("a", 2, HELD)
    first, _ = windows.take_now([claim]), windows.take_now([claim])
    with pytest.raises(Exceeded):
        windows.take_now([claim])
    windows.settle_now(first, [0])
    windows.take_now([claim])


def test_a_claim_beyond_the_limit_goes_through_alone() -> None:
    clock = Clock()
    windows = MemoryWindows(clock)
    windows.take_now([Claim("a", 10, 60, 25)])
    with pytest.raises(Exceeded) as refused:
        windows.take_now([Claim("a", 10, 60, 1)])
    clock.now += refused.value.wait
    windows.take_now([Claim("a", 10, 60, 1)])


def test_idle_counters_are_forgotten() -> None:
    clock = Clock()
    windows = MemoryWindows(clock)
    for number in range(5000):
        windows.take_now([Claim(f"k{number}", 10, 60)])
        clock.now += 0.1
    assert len(windows._counters) < 4500
