"""Hypercorn's events for a server with very many connections, each of which waits for its end."""

from __future__ import annotations

import asyncio

from hypercorn.asyncio.worker_context import WorkerContext


class ManyWait:
    """An event of Hypercorn's. Who stops waiting is found at once: asyncio's own looks through all who wait, so that
    100,000 connections that end take as many looks at half of each other."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: set[asyncio.Future[None]] = set()

    async def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        if self._set:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.add(turn)
        try:
            await turn
        finally:
            self._waiting.discard(turn)

    async def set(self) -> None:
        self._set = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)

    def is_set(self) -> bool:
        return self._set


class ManyConnections(WorkerContext):
    """What connections of one listener share."""

    event_class = ManyWait
