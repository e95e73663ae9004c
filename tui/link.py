"""The app's connection to the admin service, in a thread of its own, so that no answer holds up the screen.

The store's own client works in the calling process; with 100,000 keys a call takes long enough to be felt in the
UI's event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar

from nexeon.admin import AdminClient
from nexeon.errors import AdminUnreachable, NexeonError

T = TypeVar("T")
State = Literal["connecting", "refused", "up", "lost"]
"""`refused`: somebody is there who does not serve us, as without the right token."""

Connect = Callable[[], Awaitable[AdminClient]]


class Link:
    """An AdminClient that connects at its first call.

    `changed` is called in the loop of the caller whenever `state` has changed. `where` and `place` are the client's;
    before there is one, they are "" each.
    """

    def __init__(self, connect: Connect, changed: Callable[[], None]) -> None:
        self.state: State = "connecting"
        self.reached = False
        """Whether anything was ever answered."""
        self.where: Literal["", "gateway", "store"] = ""
        self.place = ""
        self._connect = connect
        self._changed = changed
        self._client: AdminClient | None = None
        self._opening: asyncio.Lock | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)
        self._thread.start()

    async def call(self, method: str, /, **params: Any) -> Any:
        """Raises AdminError (AdminUnreachable), StoreError, and what connecting raises."""
        try:
            answer = await self._there(self._call(method, params))
        except AdminUnreachable:
            self._is("lost")
            raise
        except NexeonError:
            if not self.reached:
                self._is("refused")
            raise
        self.reached = True
        self._is("up")
        return answer

    async def close(self) -> None:
        if self._loop.is_closed():
            return
        await self._there(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    def _is(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._changed()

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # In the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _call(self, method: str, params: dict[str, Any]) -> Any:
        client = self._client or await self._open()
        return await client.call(method, **params)

    async def _open(self) -> AdminClient:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._client is None:
                # Whoever asked first may give up; the others still wait for it.
                self._client = await asyncio.shield(asyncio.ensure_future(self._connect()))
                self.where, self.place = self._client.where, self._client.place
        return self._client

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_default_executor()
