"""Time limits for what happens all the time: one timer for all of them, where a timer each costs ten times as much."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final
from weakref import WeakKeyDictionary

_COARSE: Final = 0.02
"""Seconds by which a limit may be late."""


class Late(Exception):
    """The time was over."""


class Deadline:
    """Cancels what the current task waits for after so many seconds and raises Late in its place.

    `push` begins the time anew; for use in `with`, inside a task.
    """

    __slots__ = ("_cancelling", "_clock", "_passed", "_seconds", "_task", "when")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._passed = False

    def __enter__(self) -> Deadline:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._clock = _clock()
        self.when = self._clock.loop.time() + self._seconds
        self._clock.add(self)
        return self

    def push(self) -> None:
        self.when = self._clock.loop.time() + self._seconds

    def expire(self) -> None:
        self._passed = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.live.discard(self)
        if self._passed and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise Late from None


class _Clock:
    """The deadlines of one event loop, and the timer of the next one."""

    __slots__ = ("_timer", "_when", "live", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.live: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0

    def add(self, deadline: Deadline) -> None:
        self.live.add(deadline)
        if self._timer is None or deadline.when < self._when:
            self._arm(deadline.when)

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._when = when
        self._timer = self.loop.call_at(when, self._tick)

    def _tick(self) -> None:
        """What was pushed on did not touch the timer: it is looked at when the timer fires."""
        self._timer = None
        now = self.loop.time()
        for deadline in [one for one in self.live if one.when <= now]:
            self.live.discard(deadline)
            deadline.expire()
        if self.live:
            self._arm(max(min(one.when for one in self.live), now + _COARSE))


_clocks: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clock] = WeakKeyDictionary()


def _clock() -> _Clock:
    loop = asyncio.get_running_loop()
    clock = _clocks.get(loop)
    if clock is None:
        clock = _clocks[loop] = _Clock(loop)
    return clock
