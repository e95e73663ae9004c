"""A thread that does one thing after another for an event loop. An executor does the same with futures, locks and
conditions for each, which take three times as long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

Work = Callable[[], object]
Done = Callable[[BaseException | None], object]


class Worker:
    """The thread begins with the first work, and ends with `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[tuple[Work, asyncio.AbstractEventLoop, Done] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def do(self, work: Work, done: Done) -> None:
        """Begins `work` after what was begun before it. The running loop, where it still runs then, calls `done` with
        what `work` raised, or None. Not after `close`."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._queue.put((work, asyncio.get_running_loop(), done))

    async def did(self, work: Work) -> None:
        """Waits until it is done, and raises what it raised; it goes on for a caller that is cancelled."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if over.done():
                return
            if error is None:
                over.set_result(None)
            else:
                over.set_exception(error)

        self.do(work, done)
        await over

    def close(self) -> None:
        """Waits until all is done."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (begun := self._queue.get()) is not None:
            work, loop, done = begun
            error = None
            try:
                work()
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # a loop that was closed hears of nothing
                loop.call_soon_threadsafe(done, error)
            del begun, work, loop, done, error
