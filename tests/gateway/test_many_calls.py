"""What keeps a gateway with very many calls under way from stopping for all of them at once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from nexeon.errors import RequestError
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.server.drain import while_some_end
from nexeon.gateway.server.garbage import Sparing
from nexeon.gateway.server.waiting import ManyWait
from nexeon.gateway.settle import Settler


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


async def test_the_first_streams_go_on_before_the_last_ones_are_cut() -> None:
    cut: list[int] = []
    seen: list[int] = []
    streams = [SimpleNamespace(cut=lambda error: cut.append(1)) for _ in range(5)]
    gateway: Any = SimpleNamespace(waiting=set(), streams=streams)
    asyncio.get_running_loop().call_soon(lambda: seen.append(len(cut)))
    await Gateway.cut(gateway, RequestError(503, "unavailable", "over"), 2)
    assert len(cut) == 5
    assert seen == [2]


class Doors:
    """Connections of which one ends each time somebody waits for all, but for the last ones."""

    def __init__(self, count: int, stuck: int) -> None:
        self.open = count
        self._stuck = stuck

    async def empty(self) -> None:
        if self.open > self._stuck:
            self.open -= 1
        if self.open:
            await asyncio.Event().wait()


@pytest.mark.parametrize("stuck", [0, 3])
async def test_the_end_waits_for_as_long_as_connections_end(stuck: int) -> None:
    doors: Any = Doors(20, stuck)
    await while_some_end(doors, 0.001)
    assert doors.open == stuck


async def test_charges_are_waited_for_as_long_as_some_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    settler: Any = Settler(*[None] * 3)  # type: ignore[arg-type]
    waits: list[float] = []
    turns = [asyncio.Event() for _ in range(4)]
    tasks = [settler._spawn(turn.wait()) for turn in turns]

    async def wait(waited_for: set[asyncio.Task[None]], timeout: float) -> tuple[set[asyncio.Task[None]], Any]:
        """As asyncio's, when the time is over: of the first three one each time has been made, the last one never."""
        waits.append(timeout)
        waited_for = {*waited_for}
        if len(waits) <= 3:
            turns[len(waits) - 1].set()
            await tasks[len(waits) - 1]
        return {task for task in waited_for if task.done()}, None

    monkeypatch.setattr(asyncio, "wait", wait)
    await settler.drain(10)
    assert waits == [10] * 4
    assert settler._tasks == {tasks[3]}
    turns[3].set()
    await tasks[3]
