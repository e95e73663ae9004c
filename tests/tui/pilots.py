"""The terminal under Textual's pilot. A module of its own, since every folder of tests has a `conftest`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fakes import NOW
from textual.pilot import Pilot

from nexeon.admin import AdminClient
from tui.app import AdminApp

Open = Callable[..., AbstractAsyncContextManager[Pilot[None]]]


async def settle(pilot: Pilot[None]) -> None:
    """Until every worker has ended and what it posted is handled."""
    for _ in range(3):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete()
    await pilot.pause()


@asynccontextmanager
async def terminal(
    connect: Callable[[], Awaitable[AdminClient]], size: tuple[int, int] = (100, 30), **options: Any
) -> AsyncIterator[Pilot[None]]:
    app = AdminApp(connect, clock=lambda: NOW, **{"welcome": False, **options})
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield pilot
