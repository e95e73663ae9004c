"""Reading a stream so that silence can be noticed and a client that leaves can stop it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from nexeon.errors import NexeonError
from nexeon.gateway.deadline import Deadline, Late
from nexeon.gateway.transport import TRANSPORT_ERRORS, Answer, Listener, close
from nexeon.gateway.upstream import Upstream

_LAST_WORDS: Final = 2.0
"""Seconds that a connection gets to reach its end after the answer is complete."""


class Reader:
    """The pieces of one streamed answer.

    `read` gives all that has come since the last call, joined; b"" where the client has been given nothing (`spoke`)
    for `keepalive` seconds (0: never); None at the end. It raises UpstreamFailure where the connection breaks or
    nothing comes within the provider's idle limit while it is waited for. `stop` drops the connection and may be called
    at any time, from any task. What nobody reads holds the provider back.
    """

    __slots__ = (
        "_answer", "_ended", "_failure", "_hears", "_idle", "_keepalive", "_leaving", "_listener", "_loop", "_silence",
        "_since", "_tap", "_timer", "_upstream", "_waiting", "_woken",
    )  # fmt: skip

    def __init__(
        self,
        upstream: Upstream,
        answer: Answer,
        *,
        keepalive: float,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        """`tap` is given what `read` gives."""
        self._loop = asyncio.get_running_loop()
        self._tap = tap
        self._upstream = upstream
        self._answer = answer
        self._idle = upstream.provider.timeouts.idle
        self._keepalive = keepalive or float("inf")
        self._ended = self._woken = self._hears = False
        self._failure: NexeonError | None = None
        self._listener: Listener | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._silence = self._loop.time()
        self._since: float | None = None

    async def read(self) -> bytes | None:
        data: bytes | None
        while not self._ended:
            now = self._loop.time()
            if self._since is None:
                self._since = now
            late = now - self._since >= self._idle
            if late or self._failure is not None:
                data = self._answer.rest()
                if late and not data:
                    self._failure = self._failure or self._upstream.silent()
            elif now - self._silence >= self._keepalive:
                self._silence = now
                return b""
            else:
                if self._timer is None:
                    self._arm(now)
                data = await self._next()
                if data is None:
                    continue
            self._since = None
            if not data:
                self.stop()
                break
            if self._tap is not None:
                self._tap(data)
            return data
        if self._failure is not None:
            raise self._failure
        return None

    def spoke(self) -> None:
        """The client was given something: its silence begins anew."""
        self._silence = self._loop.time()

    def listen(self, listener: Listener) -> None:
        """What comes while `read` waits is the listener's first, which must not raise: `read` gives only what it leaves
        of that. The client is given what it takes."""
        self._listener = listener
        self._answer.listen(self._heard)

    def stop(self) -> None:
        """Ends the reading and closes the connection."""
        self._deaf()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._ended:
            self._ended = True
            self._answer.drop()

    def interrupt(self, error: NexeonError) -> None:
        """Makes `read` raise the error once it has given what came before."""
        self._failure = error
        self._hears = False
        self._wake()

    def leave(self) -> None:
        """Nothing more is wanted: the connection goes back to the pool if its end comes soon, else it is dropped."""
        if self._ended or self._answer.is_over():
            self.stop()
            return
        self._deaf()
        self._ended = True
        self._leaving = self._loop.create_task(self._leave())

    async def _next(self) -> bytes | None:
        """What has come; b"" at the end, None where the waiting was ended by `_wake`."""
        task = self._waiting = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        self._hears = True
        try:
            return await self._answer.read()
        except asyncio.CancelledError:
            if not self._woken or task.uncancel() > cancelling:
                raise
            return None
        except TRANSPORT_ERRORS as error:
            if not self._ended:
                self._failure = self._failure or self._upstream.broken(error)
                self.stop()
            return None
        finally:
            self._waiting = None
            self._woken = self._hears = False

    def _heard(self, data: bytes) -> int:
        if not self._hears or self._listener is None:
            return 0
        taken = self._listener(data)
        if taken:
            self._since = self._silence = self._loop.time()
            if self._tap is not None:
                self._tap(data[:taken])
        return taken

    def _deaf(self) -> None:
        if self._listener is not None:
            self._listener = None
            self._answer.listen(None)

    async def _leave(self) -> None:
        try:
            with contextlib.suppress(Late, *TRANSPORT_ERRORS), Deadline(_LAST_WORDS):
                while await self._answer.read():
                    pass
        except asyncio.CancelledError:  # the loop ends
            self._answer.drop()
            raise
        await close(self._answer)

    def _wake(self) -> None:
        if self._waiting is not None and not self._woken:
            self._woken = True
            self._hears = False
            self._waiting.cancel()

    def _arm(self, now: float) -> None:
        when = min((self._since or now) + self._idle, self._silence + self._keepalive)
        self._timer = self._loop.call_later(max(when - now, 0.001), self._tick)

    def _tick(self) -> None:
        """What comes and goes does not touch the timer: it looks at the clock when it fires."""
        self._timer = None
        if self._waiting is None or self._since is None:
            return
        now = self._loop.time()
        if now - self._since >= self._idle or now - self._silence >= self._keepalive:
            self._wake()
        else:
            self._arm(now)
