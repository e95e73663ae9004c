"""Hypercorn's connection with less to do for each request: what is plain is answered without its layers, the rest
without a task and a lock of its own, and what is sent together leaves in one write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import h11
from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import AppWrapper

from nexeon.gateway.deadline import Deadline, Late
from nexeon.gateway.server import stall
from nexeon.gateway.server.plain import UNSENT, Front
from nexeon.gateway.server.stall import LOOKS, Patience, Stall, Taken
from nexeon.gateway.server.windows import watch_windows


class Connection(TCPServer):
    """A client's connection. `busy` while Hypercorn answers, or has begun to read."""

    def __init__(
        self,
        front: Front,
        patience: Patience,
        app: AppWrapper,
        settings: Config,
        context: WorkerContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._stall = Stall()
        super().__init__(app, asyncio.get_running_loop(), settings, context, stall.state(self._stall), reader, writer)
        self._front = front
        self._patience = patience
        self.transport = writer.transport
        self._taken = Taken(writer.transport)
        self._windows: asyncio.Task[None] | None = None
        self._idle = _Idle(self)
        self.idle_task = self._idle  # type: ignore[assignment]
        self._held: list[bytes] = []
        self._size = 0
        self._unread = 0
        self.busy = False

    async def run(self) -> None:
        try:
            await super().run()
        finally:  # what refers to each other would stay until somebody looks for garbage
            self._front.detach()
            for name in ("protocol", "_idle", "idle_task"):
                vars(self).pop(name, None)
            if (error := self.reader.exception()) is not None:
                error.__traceback__ = None

    # What Hypercorn answers

    async def _read_data(self) -> None:
        self._front.attach(self)
        try:
            while not self.reader.at_eof():
                try:
                    data = await self.reader.read(MAX_RECV)
                except OSError:
                    break
                self._unread -= len(data)
                await self.protocol.handle(RawData(data))
                if self._windows is None and isinstance(self.protocol.protocol, H2Protocol):
                    self._windows = self.loop.create_task(
                        watch_windows(self.protocol.protocol, self._patience, self.loop.time)
                    )
            await self.protocol.handle(Closed())
        finally:
            self._idle.end()
            if self._windows is not None:
                self._windows.cancel()

    async def protocol_send(self, event: Event) -> None:
        if type(event) is not RawData:
            self._flush()
            await super().protocol_send(event)
            if type(event) is Updated:
                self.busy = not (event.idle and self._has_read_all())
            return
        if not event.data:
            return
        self.hold(event.data)
        if self.writer.transport.get_write_buffer_size() > UNSENT and not await self._drained():
            await self.protocol.handle(Closed())

    def expect(self, size: int) -> None:
        """So many bytes are Hypercorn's to read."""
        self.busy = True
        self._unread += size

    def _has_read_all(self) -> bool:
        """Whether nothing of a next request has come to Hypercorn."""
        protocol = self.protocol.protocol
        if self._unread or not isinstance(protocol, H11Protocol):
            return False
        return isinstance(protocol.connection, h11.Connection) and protocol.connection.trailing_data == (b"", False)

    # What is answered without it

    def ends(self) -> dict[str, Any]:
        """What ASGI says of the connection."""
        protocol = self.protocol
        return {
            "scheme": "http", "client": protocol.client, "server": protocol.server, "state": protocol.state.copy()
        }  # fmt: skip

    def own_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What stands in every answer."""
        return _own_headers(self.config, int(time.time()))

    def answer(self, work: Callable[[], Awaitable[None]]) -> None:
        """In a task; `goes_on` or `end` when it is done."""
        self._idle.pause()
        self._task_group.spawn(work)

    async def call(self, scope: Any, receive: Any, send: Any) -> None:
        """The app; what it fails with is logged."""
        try:
            await self.app(scope, receive, send, self.loop.run_in_executor, self.loop.call_soon)
        except Exception:
            await self.config.log.exception("Error in ASGI Framework")

    def write(self, data: bytes) -> None:
        """With what is held."""
        if self._held:
            self._held.append(data)
            self._flush()
        else:
            self._put(data)

    async def drain(self) -> None:
        """Waits until the client has read most of what was written, or is gone."""
        await self._drained()

    def goes_on(self) -> bool:
        """Waits for a next request, where one may come still."""
        if self.context.terminated.is_set():
            return False
        self._idle.begin()
        return True

    async def end(self) -> None:
        """Closes the connection."""
        await self.protocol_send(Closed())

    # Both

    def hold(self, data: bytes) -> None:
        """Writes at the end of the loop's turn, with what else comes until then."""
        self._held.append(data)
        self._size += len(data)
        if self._size > UNSENT:
            self._flush()
        elif len(self._held) == 1:
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        held = self._held
        if held:
            self._held = []
            self._size = 0
            self._put(held[0] if len(held) == 1 else b"".join(held))

    def _put(self, data: bytes) -> None:
        transport = self.transport
        if not transport.is_closing():
            self._taken.written += len(data)
            transport.write(data)

    async def _drained(self) -> bool:
        """The same as `drain`: whether the client is there still."""
        try:
            return await self._waited(self.writer.drain)
        except (ConnectionError, RuntimeError):
            return False

    async def _waited(self, wait: Callable[[], Awaitable[object]]) -> bool:
        """Waits, now and then anew, for what ends once the client takes something. One that takes nothing for too long
        is cut off: False."""
        seconds = self._patience.seconds()
        if not seconds:
            await wait()
            return True
        self._taken.begin(self.loop.time())
        while True:
            try:
                with Deadline(seconds / LOOKS):
                    await wait()
                return True
            except Late:
                if self._looked(seconds):
                    return False

    def _looked(self, seconds: float) -> bool:
        """Cuts off a client that has taken nothing for as long. Whether it was."""
        transport = self.writer.transport
        if self._taken.look(self.loop.time()) < seconds:
            return False
        self._stall.seconds = seconds
        self._patience.stalled("connection")
        transport.abort()
        return True

    async def _initiate_server_close(self) -> None:
        await super()._initiate_server_close()
        await self._left()

    async def _close(self) -> None:
        self._flush()
        self.writer.close()
        await self._left()
        await super()._close()

    async def _left(self) -> None:
        """Waits until a connection that closes has got rid of its last bytes, which a client may never take."""
        if not self._patience.seconds() or not self.writer.transport.get_write_buffer_size():
            return
        closed = asyncio.ensure_future(self.writer.wait_closed())
        await self._waited(lambda: asyncio.wait({closed}))
        await asyncio.gather(closed, return_exceptions=True)


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
        self.begin()

    async def stop(self) -> None:
        self.pause()

    def begin(self) -> None:
        self._since = self._connection.loop.time()
        if self._task is None:
            self._task = self._connection.loop.create_task(self._watch())

    def pause(self) -> None:
        self._since = None

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

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


@lru_cache(maxsize=4)
def _own_headers(settings: Config, second: int) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(settings.response_headers("h11"))
