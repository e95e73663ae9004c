"""How many requests are under way at once: more than that wait in a short queue, and what does not fit there is told to
come again, before its body is read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from nexeon.config import Overload
from nexeon.errors import RequestError
from nexeon.gateway.observe.metrics import Metrics

_SMALL: Final = 64 * 1024
"""Bytes of a body that need no room of their own: it does not wait behind large ones that come slowly."""

_LEAST: Final = 1.0
"""Seconds after which a client that is turned away may come again, at least."""


@dataclass(slots=True)
class _Waiting:
    size: int
    turn: asyncio.Future[None]


class Admission:
    """`beside` counts what is under way without having entered. One `leave` for each `enter` or `wait`."""

    def __init__(self, settings: Overload, metrics: Metrics, beside: Callable[[], int] = lambda: 0) -> None:
        self.settings = settings
        self._metrics = metrics
        self._beside = beside
        self._queue: deque[_Waiting] = deque()
        self.running = 0
        self.bytes = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def enter(self, size: int) -> bool:
        """Whether a request with a body of so many bytes may go on at once."""
        if (self._queue and not self._passes(size)) or not self._fits(size):
            return False
        self.running += 1
        self.bytes += size
        return True

    async def wait(self, size: int) -> None:
        """Returns when it is this request's turn. Raises RequestError 503 where that takes too long."""
        settings = self.settings
        if len(self._queue) >= settings.queue:
            raise self._refusal("full")
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._next()
        try:
            async with asyncio.timeout(settings.wait):
                await waiting.turn
        except TimeoutError:
            if not waiting.turn.done() or waiting.turn.cancelled():
                self._queue.remove(waiting)
                raise self._refusal("late") from None
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self.leave(size)
            else:
                self._queue.remove(waiting)
            raise

    def leave(self, size: int) -> None:
        """The request has ended."""
        self.running -= 1
        self.bytes -= size
        if self._queue:
            self._next()

    def measured(self, before: int, size: int) -> None:
        """A body that was counted as so many bytes has been read."""
        self.bytes += size - before
        if self._queue:
            self._next()

    def _next(self) -> None:
        while self._queue and self._fits(self._queue[0].size):
            self._let_in(self._queue.popleft())
        if self._queue and self._has_turn():  # the first one waits for bytes, which small ones do not
            for waiting in [waiting for waiting in self._queue if waiting.size <= _SMALL]:
                if not self._has_turn():
                    break
                self._queue.remove(waiting)
                self._let_in(waiting)

    def _let_in(self, waiting: _Waiting) -> None:
        self.running += 1
        self.bytes += waiting.size
        waiting.turn.set_result(None)

    def _passes(self, size: int) -> bool:
        """Whether a body of so many bytes may overtake those that wait: where all of these wait for bytes."""
        return size <= _SMALL and self._has_turn()

    def _has_turn(self) -> bool:
        return self.running + self._beside() < self.settings.running

    def _fits(self, size: int) -> bool:
        most = self.settings.bodies
        return self._has_turn() and (size <= _SMALL or self.bytes + size <= most or self.bytes < _SMALL)

    def _refusal(self, reason: str) -> RequestError:
        self._metrics.shed(reason)
        return RequestError(
            503,
            "overloaded",
            "the gateway has too much to do at the moment",
            code="overloaded",
            retry_after=max(_LEAST, self.settings.wait),
        )


def declared_size(headers: Mapping[str, str], most: int) -> int | None:
    """Bytes of a body that is still to come; None where its head does not say."""
    length = headers.get("content-length", "")
    return min(int(length), most) if length.isascii() and length.isdigit() else None
