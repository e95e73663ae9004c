"""The offline upstream as a server on a loopback port."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType

from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from nexeon.sandbox.app import create_app

_FOREVER = 10**9


class SandboxServer:
    """The offline upstream, served by Hypercorn in the running event loop.

    `async with SandboxServer() as base_url:` or `start()` and `stop()`. `port` 0 takes any free one. `served` counts
    the requests that came, `active` those that are being answered: a client that leaves makes it fall at once.
    """

    served: int
    active: int

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self._host = host
        self._port = port
        self.served = 0
        self.active = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Starts to serve; gives the base URL, `http://127.0.0.1:PORT`. Raises `OSError` where the port is taken."""
        listener = socket.create_server((self._host, self._port), backlog=1024)
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.accesslog = None
        config.errorlog = None
        config.keep_alive_timeout = _FOREVER
        config.keep_alive_max_requests = _FOREVER
        config.graceful_timeout = 0.2
        config.backlog = 1024
        self._stopping.clear()
        self._app = create_app()
        self._task = asyncio.create_task(
            serve(self._counted, config, shutdown_trigger=self._stopping.wait, mode="asgi")
        )
        return f"http://{self._host}:{self._port}"

    async def _counted(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.served += 1
        self.active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.active -= 1

    async def stop(self) -> None:
        """Stops; what is still being answered is cut off after a moment. Does nothing where it does not serve."""
        if self._task is None:
            return
        self._stopping.set()
        task, self._task = self._task, None
        await task

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
