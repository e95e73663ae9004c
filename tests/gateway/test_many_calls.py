"""What keeps a gateway with very many calls under way from stopping for all of them at once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from nexeon.gateway.server.garbage import Sparing
from nexeon.gateway.server.waiting import ManyWait


class Knot:
    """Refers to itself, so that only a look for garbage finds it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def running() -> Iterator[list[int]]:
    """So many calls, which a test may change; nothing is looked for but what it asks for."""
    calls = [0]
    sparing = Sparing(lambda: calls[0], most=10)
    gc.collect()
    gc.disable()
    sparing.begin()
    yield calls
    sparing.end()
    gc.unfreeze()
    gc.enable()


def test_all_is_looked_at_while_few_calls_run(running: list[int]) -> None:
    running[0] = 10
    before = gc.get_freeze_count()
    seen = weakref.ref(Knot())
    assert seen() is not None
    gc.collect()
    assert seen() is None
    assert gc.get_freeze_count() == before


def test_what_many_calls_have_made_is_left_alone(running: list[int]) -> None:
    running[0] = 11
    before = gc.get_freeze_count()
    seen = weakref.ref(Knot())
    gc.collect()
    assert seen() is not None
    assert gc.get_freeze_count() > before
    young = weakref.ref(Knot())
    gc.collect(1)
    assert young() is None  # new objects are looked at as ever


def test_it_is_looked_for_once_few_calls_run_again(running: list[int]) -> None:
    running[0] = 11
    seen = weakref.ref(Knot())
    kept: Any = Knot()
    gc.collect()
    running[0] = 3
    gc.collect()
    assert seen() is None
    assert gc.get_freeze_count() > 0  # what was there before is left out again
    count = gc.get_freeze_count()
    gc.collect()
    assert gc.get_freeze_count() <= count
    assert kept.itself is kept


async def test_all_who_wait_go_on_and_who_leaves_is_forgotten() -> None:
    event = ManyWait()
    waits = [asyncio.create_task(event.wait()) for _ in range(5)]
    await asyncio.sleep(0)
    waits[2].cancel()
    await asyncio.gather(waits[2], return_exceptions=True)
    assert not event.is_set()
    assert len(event._waiting) == 4
    await event.set()
    assert event.is_set()
    await asyncio.gather(*waits[:2], *waits[3:])
    assert not event._waiting
    await event.wait()
    await event.clear()
    assert not event.is_set()
