"""Reading a stream in a task of its own, so that silence can be noticed and a client that leaves can stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from nexeon.errors import NexeonError
from nexeon.gateway.transport import TRANSPORT_ERRORS, Answer, close
from nexeon.gateway.upstream import Upstream

_AHEAD: Final = 16
"""Pieces that may wait for a slow client before reading stops: back-pressure reaches the provider."""

_LAST_WORDS: Final = 2.0
"""Seconds that a connection gets to reach its end after the answer is complete."""


class Reader:
    """The pieces of one streamed answer.

    `read` gives all that has come since the last call, joined; b"" where the client has been given nothing (`spoke`)
    for `keepalive` seconds (0: never); None at the end. It raises UpstreamFailure where the connection breaks or
    nothing comes within the provider's idle limit. `stop` drops the connection and may be called at any time, from any
    task.
    """

    __slots__ = (
        "_chunks", "_discard", "_ended", "_failure", "_heard", "_idle", "_keepalive", "_loop", "_response", "_room",
        "_running", "_silence", "_stopped", "_tap", "_task", "_timer", "_upstream",
        "_waiter",
    )  # fmt: skip

    def __init__(
        self,
        upstream: Upstream,
        response: Answer,
        *,
        keepalive: float,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        """`tap` is given what `read` gives."""
        self._loop = asyncio.get_running_loop()
        self._tap = tap
        self._upstream = upstream
        self._response = response
        self._idle = upstream.provider.timeouts.idle
        self._keepalive = keepalive or float("inf")
        self._chunks: list[bytes] = []
        self._ended = False
        self._failure: NexeonError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = self._silence = self._loop.time()
        self._running = self._stopped = self._discard = False
        self._task = self._loop.create_task(self._run())

    async def read(self) -> bytes | None:
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            now = self._loop.time()
            if now - self._heard >= self._idle:
                self.stop()
                raise self._upstream.silent()
            if now - self._silence >= self._keepalive:
                self._silence = now
                return b""
            self._waiter = self._loop.create_future()
            if self._timer is None:
                self._arm(now)
            await self._waiter
        chunks = self._chunks
        self._chunks = []
        if self._room is not None and not self._room.done():
            self._heard = self._loop.time()  # the wait was ours, not the provider's
            self._room.set_result(None)
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._tap is not None:
            self._tap(data)
        return data

    def spoke(self) -> None:
        """The client was given something: its silence begins anew."""
        self._silence = self._loop.time()

    def stop(self) -> None:
        """Ends the reading and closes the connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stopped = True
        if self._running:  # one that never ran would not close the connection
            self._task.cancel()

    def interrupt(self, error: NexeonError) -> None:
        """Ends the reading, and makes `read` raise the error once it has given what came before."""
        self._failure = error
        self.stop()
        self._wake()

    def leave(self) -> None:
        """Nothing more is wanted: the connection goes back to the pool if its end comes soon, else it is dropped."""
        if not self._ended:
            self._chunks.clear()
            self._discard = True
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(_LAST_WORDS, self.stop)

    async def _run(self) -> None:
        self._running = True
        try:
            if self._stopped:
                return
            async for chunk in self._response.aiter_bytes():
                if not chunk or self._discard:
                    continue
                self._heard = self._loop.time()
                self._chunks.append(chunk)
                self._wake()
                if len(self._chunks) >= _AHEAD:
                    self._room = self._loop.create_future()
                    await self._room
        except TRANSPORT_ERRORS as error:
            self._failure = self._failure or self._upstream.broken(error)
        finally:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._wake()
            await close(self._response)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _arm(self, now: float) -> None:
        when = min(self._heard + self._idle, self._silence + self._keepalive)
        self._timer = self._loop.call_later(max(when - now, 0.001), self._tick)

    def _tick(self) -> None:
        """What comes and goes does not touch the timer: it looks at the clock when it fires."""
        self._timer = None
        now = self._loop.time()
        if now - self._heard >= self._idle or now - self._silence >= self._keepalive:
            self._wake()
        elif not self._ended:
            self._arm(now)
