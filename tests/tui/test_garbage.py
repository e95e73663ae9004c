"""Garbage is looked for while nobody types."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from tests.patience import until
from tui import garbage
from tui.garbage import Sweeper


class Knot:
    """Garbage that only a look finds."""

    def __init__(self) -> None:
        self.itself = self


def dropped() -> weakref.ref[Knot]:
    return weakref.ref(Knot())


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    gc.enable()


async def test_garbage_waits_for_a_pause() -> None:
    sweeper = Sweeper()
    assert not gc.isenabled()
    sweeper.settled()
    assert gc.isenabled()
    young = dropped()
    sweeper.heard()
    assert young() is not None
    await until(lambda: young() is None)


async def test_what_was_taken_to_stay_goes_in_a_longer_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "_QUIET", 0.01)
    monkeypatch.setattr(garbage, "_LONG_QUIET", 0.05)
    kept = [Knot()]
    there = weakref.ref(kept[0])
    Sweeper().settled()
    kept.clear()
    gc.collect()
    assert there() is not None
    await until(lambda: there() is None)
