"""Hypercorn's connections, with an end of our own: nothing that a client has sent before the end is lost.

Hypercorn's own end closes the listening socket with whoever waits in its queue, and idle connections at the moment at
which a balancer may be sending on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from functools import partial
from typing import Any, Final

import hypercorn.config
from hypercorn.utils import wrap_app
from quart import Quart

from nexeon.gateway.server.connection import Connection
from nexeon.gateway.server.plain import Front
from nexeon.gateway.server.stall import Patience
from nexeon.gateway.server.waiting import ManyConnections

_ATTACH_FILTER: Final = 26
"""SO_ATTACH_FILTER of Linux, which Python's socket module does not name."""

HANDSHAKE: Final = 0.05
"""Seconds in which connections that have begun are complete; the system does not tell of those that are not."""

_DEAF: Final = b"".join(
    struct.pack("HBBI", *step)
    for step in (
        (0x30, 0, 0, 13),  # the flags of a TCP packet
        (0x54, 0, 0, 0x12),  # SYN and ACK of them
        (0x15, 0, 1, 0x02),  # only the first packet of a connection has SYN without ACK
        (0x06, 0, 0, 0),  # it is dropped,
        (0x06, 0, 0, 0xFFFFFFFF),  # all others pass
    )
)
"""A filter that lets no connection begin, and those that have begun go on (Linux's classic BPF)."""

_UNSENT: Final = 128 * 1024
"""Bytes that the system may hold for a client that does not read, beyond what is on its way."""


class Listener:
    """Serves an app on a listening socket, from `start` to `finish`."""

    def __init__(
        self,
        app: Quart,
        settings: hypercorn.config.Config,
        sock: socket.socket,
        patience: Patience | None = None,
        *,
        handshake: float = HANDSHAKE,
    ) -> None:
        """Without `patience` a client may read as late as it likes. `handshake`: seconds in which connections become
        complete that have begun when the socket closes; 0 where no client comes from elsewhere."""
        self._app = app
        self._patience = patience or Patience()
        self._settings = settings
        self._handshake = handshake
        self._socket = sock
        hold_back(sock)
        self._context = ManyConnections(None)
        self._wrapped = wrap_app(app, settings.wsgi_max_body_size, "asgi")
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.WriteTransport] = {}
        self._late: list[asyncio.Task[Any]] = []
        self._empty = asyncio.Event()

    async def start(self) -> None:
        """Accepts connections once the app has started."""
        await self._app.startup()
        self._server = await asyncio.get_running_loop().create_server(
            partial(Front, self._serve), sock=self._socket.dup(), backlog=self._settings.backlog
        )

    async def stop_accepting(self) -> None:
        """New connections are refused from here on; those that wait in the socket's queue are served still."""
        if self._server is None:
            return
        deafen(self._socket)
        self._server.close()
        self._server = None
        self._socket.setblocking(False)
        try:
            self._empty_queue()
            if self._handshake:
                await asyncio.sleep(self._handshake)
                self._empty_queue()
        finally:
            self._socket.close()
        if self._late:
            await asyncio.wait(self._late)

    def _empty_queue(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._socket.accept()
                self._late.append(loop.create_task(self._take(accepted)))

    async def close_idle(self) -> None:
        """Connections end as soon as they have nothing to answer."""
        await self._context.terminated.set()

    @property
    def open(self) -> int:
        """Connections."""
        return len(self._connections)

    async def empty(self) -> None:
        """Returns when no connection is open any more."""
        while self._connections:
            self._empty.clear()
            await self._empty.wait()

    def drop_unread(self) -> None:
        """Ends the connections of clients that do not take what was written for them."""
        for transport in list(self._connections.values()):
            if transport.get_write_buffer_size():
                transport.abort()

    async def finish(self) -> None:
        """Ends what is still open, and the app."""
        await self.stop_accepting()
        self.drop_unread()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._app.shutdown()

    async def _take(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):
            accepted.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(partial(Front, self._serve), accepted)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        front = writer.transport.get_protocol()
        assert task is not None
        assert isinstance(front, Front)
        self._connections[task] = writer.transport
        try:
            await Connection(front, self._patience, self._wrapped, self._settings, self._context, reader, writer)
        finally:
            del self._connections[task]
            if not self._connections:
                self._empty.set()


def hold_back(sock: socket.socket) -> None:
    """Connections of a listening socket take little at a time. The system would take megabytes for each client that
    does not read, and what has gone by has been read from the provider, and is kept here until the answer is over."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def deafen(sock: socket.socket) -> bool:
    """Lets a listening socket overhear who knocks, where the system can and lets us. Whether it does.

    Between the last connection taken from its queue and its close another one may come in, be reset, and with it a
    request that was sent: a balancer must not try that elsewhere. Who was not heard knocks again and is refused then,
    which every balancer takes elsewhere.
    """
    if sys.platform != "linux":
        return False
    steps = ctypes.create_string_buffer(_DEAF, len(_DEAF))
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_DEAF) // 8, ctypes.addressof(steps)))
        return True
    return False
