"""Hypercorn's connection with less to do for each request: no task and no lock of its own, one write for what is sent
together."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData

_HELD: Final = 64 * 1024
"""Bytes that may wait for the end of the loop's turn."""


def install() -> None:
    """Makes Hypercorn use it; there is no option for that."""
    run.TCPServer = Connection  # type: ignore[attr-defined, assignment]


class Connection(TCPServer):
    """A client's connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._idle = _Idle(self)
        self.idle_task = self._idle  # type: ignore[assignment]
        self._held: list[bytes] = []
        self._size = 0

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        finally:
            self._idle.end()

    async def protocol_send(self, event: Event) -> None:
        if type(event) is not RawData:
            self._flush()
            await super().protocol_send(event)
            return
        data = event.data
        if not data:
            return
        self._held.append(data)
        self._size += len(data)
        if self._size > _HELD:
            self._flush()
        elif len(self._held) == 1:
            self.loop.call_soon(self._flush)
        if self.writer.transport.get_write_buffer_size() > _HELD:
            try:
                await self.writer.drain()
            except (ConnectionError, RuntimeError):
                await self.protocol.handle(Closed())

    def _flush(self) -> None:
        held = self._held
        if held:
            self._held = []
            self._size = 0
            if not self.writer.is_closing():
                self.writer.write(held[0] if len(held) == 1 else b"".join(held))

    async def _close(self) -> None:
        self._flush()
        await super()._close()


class _Idle:
    """Closes a connection that was idle for too long, or is idle when the server ends: one task for its life,
    where Hypercorn begins and cancels one with every request."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seconds: float = connection.config.keep_alive_timeout
        self._terminated = connection.context.terminated
        self._since: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def restart(self, task_group: Any, action: object) -> None:
        self._since = self._connection.loop.time()
        if self._task is None:
            self._task = self._connection.loop.create_task(self._watch())

    async def stop(self) -> None:
        self._since = None

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        time = self._connection.loop.time
        while True:
            since = self._since
            wait = self._seconds if since is None else since + self._seconds - time()
            if wait <= 0:
                break
            try:
                async with asyncio.timeout(wait):
                    await self._terminated.wait()
                break
            except TimeoutError:
                continue
        if self._since is not None:  # one that is busy closes after its answer
            await self._connection._initiate_server_close()
