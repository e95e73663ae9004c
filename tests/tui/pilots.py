"""The terminal under Textual's pilot. A module of its own, since every folder of tests has a `conftest`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from fakes import NOW
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from nexeon.admin import AdminClient
from tui.app import AdminApp

Open = Callable[..., AbstractAsyncContextManager[Pilot[None]]]


async def settle(pilot: Pilot[None]) -> None:
    """Until every worker has ended and what it posted is handled. (A question that took another's place ended that.)"""
    for _ in range(3):
        await pilot.pause(0)  # until every message there is now is handled
        for worker in list(pilot.app.workers):
            with suppress(WorkerCancelled):
                await worker.wait()
    await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    """One after the other, each with all that comes of it; with a colon it is an action of the app."""
    for key in keys:
        await (pilot.app.run_action(key[1:]) if key.startswith(":") else pilot.press(key))
        await settle(pilot)


async def call(pilot: Pilot[None], method: str, **params: Any) -> Any:
    """An operation of the admin service, by the app's own connection."""
    return await pilot.app.link.call(method, **params)  # type: ignore[attr-defined]


def fill(pilot: Pilot[None], **values: str) -> None:
    """The fields of the form in front."""
    for name, value in values.items():
        pilot.app.screen.line(name).answer = value  # type: ignore[attr-defined]


@asynccontextmanager
async def terminal(
    connect: Callable[[], Awaitable[AdminClient]],
    size: tuple[int, int] = (100, 30),
    *,
    toasts: bool = False,
    **options: Any,
) -> AsyncIterator[Pilot[None]]:
    app = AdminApp(connect, clock=lambda: NOW, **{"welcome": False, **options})
    async with app.run_test(size=size, notifications=toasts) as pilot:
        await settle(pilot)
        yield pilot
