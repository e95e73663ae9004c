"""Every engine, for the contract suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from nexeon.store.memory import MemoryStore
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.protocol import Store
from nexeon.store.secrets import VARIABLE
from nexeon.store.tinydb_engine import TinyStore

from ..servers import schema_url


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Opener = Callable[[Path, Clock], Awaitable[Store]]


async def _memory(folder: Path, clock: Clock) -> Store:
    return MemoryStore(clock=clock)


async def _tinydb(folder: Path, clock: Clock) -> Store:
    return await TinyStore.open(folder, clock=clock)


async def _postgres(folder: Path, clock: Clock) -> Store:
    return await PostgresStore.open(await schema_url(folder), clock=clock)


@pytest.fixture(autouse=True)
def no_housekeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is swept behind a test's back, however long it takes."""
    monkeypatch.setattr("nexeon.store.postgres.engine._HOUSEKEEPING", 1e9)
    monkeypatch.setattr("nexeon.store.tinydb_engine.HOUSEKEEPING", 1e9)


ENGINES: dict[str, Opener] = {"memory": _memory, "tinydb": _tinydb, "postgres": _postgres}


@pytest.fixture(autouse=True)
def secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What provider keys are encrypted with, where no folder holds one."""
    monkeypatch.setenv(VARIABLE, "a secret that only tests know")


@pytest.fixture(params=sorted(ENGINES))
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    opened = await ENGINES[request.param](tmp_path / "store", clock)
    yield opened
    await opened.close()
