"""The end of the server: not ready any more, then nothing new, then what is running, then nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Final

from nexeon.gateway.server.listener import Listener
from nexeon.gateway.services import Services

_ON_THE_WAY: Final = 0.5
"""Seconds in which the request of a connection that was just made should have come."""

_LAST_WORDS: Final = 1.0
"""Seconds after the drain for streams to tell their clients that they are cut, again after each in which one has."""

LAST_CALLS: Final = 10.0
"""Seconds after the drain for charges that are still being made."""

_log = logging.getLogger("nexeon.gateway")


class Ending:
    """How the server is told to end. `begun` is set once it is, `hurry` once nobody wants to wait for it."""

    def __init__(self, begun: asyncio.Event | None = None) -> None:
        self.begun = begun or asyncio.Event()
        self.hurry = asyncio.Event()
        self.lingers = False

    def gently(self) -> None:
        """SIGTERM: a balancer gets time to notice. Again: at once."""
        self._told(lingers=True)

    def now(self) -> None:
        """SIGINT: what is running finishes. Again: at once."""
        self._told(lingers=False)

    def _told(self, *, lingers: bool) -> None:
        if self.begun.is_set():
            self.hurry.set()
        self.lingers = lingers
        self.begun.set()


async def drain(listener: Listener, services: Services, ending: Ending) -> None:
    """Lets connections go by `server.linger` and requests finish within `server.drain`; cuts what is left."""
    server = services.current.config.server
    services.draining = True
    if ending.lingers and server.linger > 0:
        await _first(listener.empty(), ending.hurry.wait(), timeout=server.linger)
    await listener.stop_accepting()
    if ending.lingers:
        await _first(listener.empty(), ending.hurry.wait(), timeout=_ON_THE_WAY)
    await listener.close_idle()
    if services.running:
        _log.info("waiting up to %g s for %d requests", server.drain, services.running)
    await _first(listener.empty(), ending.hurry.wait(), timeout=server.drain)
    if services.running:
        _log.warning("%d requests are cut", services.running)
    await services.cut()
    await while_some_end(listener, _LAST_WORDS)
    listener.drop_unread()
    await while_some_end(listener, LAST_CALLS)


async def while_some_end(listener: Listener, seconds: float) -> None:
    """Until no connection is open, or none has ended for so many seconds: very many take longer than that."""
    before = listener.open + 1
    while listener.open < before:
        before = listener.open
        await _first(listener.empty(), timeout=seconds)


async def _first(*waits: Awaitable[Any], timeout: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
