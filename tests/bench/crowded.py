"""The gateway, with streams whose connections are in its memory: `python -m tests.bench.crowded CONFIG PORT MODEL`.

For more streams than the system lets a process have files for. All of a connection but the system's and the event
loop's part of it is there: the protocols on both sides, the client library, the server. What is sent to a provider at
`crowd.INSIDE` is answered here, by the bench's upstream; all else goes the usual way. It reads from its input how many
streams of MODEL there should be (0 ends them all at once), and writes how many there are, and how many have ended.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from nexeon.cli import main as nexeon
from nexeon.gateway import transport
from nexeon.gateway.chunks import Connector
from nexeon.gateway.server import serve
from nexeon.gateway.server.listener import Listener
from nexeon.gateway.server.plain import Front
from tests.bench.crowd import INSIDE, Client, Crowd, held
from tests.bench.upstream import Upstream


class _Socket:
    """What is asked of a connection's socket."""

    family: Final = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    getsockname = getpeername

    def setsockopt(self, *option: object) -> None:
        return

    def fileno(self) -> int:
        return -1


_SOCKET = _Socket()
_KNOWN = {"socket": _SOCKET, "peername": _SOCKET.getpeername(), "sockname": _SOCKET.getsockname()}


class Wire(asyncio.Transport):
    """One end of a connection in memory."""

    __slots__ = ("_closing", "_loop", "_other", "_protocol", "_waiting")

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self._loop = asyncio.get_running_loop()
        self._protocol: Any = protocol
        self._other: Wire
        self._closing = False
        self._waiting: list[bytes] | None = None
        """What came while nobody reads; None while somebody does."""

    @staticmethod
    def pair(one: asyncio.BaseProtocol, two: asyncio.BaseProtocol) -> tuple[Wire, Wire]:
        """Both ends, connected."""
        here, there = Wire(one), Wire(two)
        here._other, there._other = there, here
        one.connection_made(here)
        two.connection_made(there)
        return here, there

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _KNOWN.get(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self._protocol)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._loop.call_soon(self._other._arrived, bytes(data))

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._waiting = [] if self._waiting is None else self._waiting

    def resume_reading(self) -> None:
        waiting, self._waiting = self._waiting, None
        for data in waiting or ():
            self._loop.call_soon(self._arrived, data)

    def is_reading(self) -> bool:
        return self._waiting is None

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lost)
            self._loop.call_soon(self._other._left)

    abort = close

    def _arrived(self, data: bytes) -> None:
        if self._closing:
            return
        if self._waiting is not None:
            self._waiting.append(data)
        elif isinstance(self._protocol, asyncio.BufferedProtocol):
            while data:
                buffer = self._protocol.get_buffer(len(data))
                taken = min(len(buffer), len(data))
                buffer[:taken] = data[:taken]  # type: ignore[index]
                self._protocol.buffer_updated(taken)
                data = data[taken:]
        else:
            self._protocol.data_received(data)

    def _left(self) -> None:
        if not self._closing:
            self._protocol.eof_received()
            self.close()

    def _lost(self) -> None:
        self._protocol.connection_lost(None)


class _Connector(Connector):
    """Goes to the upstream in memory where a connection is to one of the addresses."""

    async def _wrap_create_connection(self, *arguments: Any, addr_infos: Any, **more: Any) -> Any:
        if addr_infos[0][4][0] != INSIDE:
            return await super()._wrap_create_connection(*arguments, addr_infos=addr_infos, **more)
        protocol = arguments[0]()
        return Wire.pair(protocol, Upstream())[0], protocol


class _Crowd(Crowd):
    def __init__(self, serve: Callable[..., Any]) -> None:
        super().__init__(0, partial(held, MODEL))
        self._serve = serve

    async def _connect(self, number: int, client: Client) -> asyncio.Transport:
        return Wire.pair(client, Front(self._serve))[0]


class _Listener(Listener):
    async def start(self) -> None:
        await super().start()
        self._told = asyncio.get_running_loop().create_task(_obey(_Crowd(self._serve)))


async def _obey(crowd: _Crowd) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(partial(asyncio.StreamReaderProtocol, reader), sys.stdin)
    while line := await reader.readline():
        if wanted := int(line):
            await crowd.grow(wanted)
        else:
            crowd.leave()
        print(crowd.count, crowd.ended, flush=True)


if __name__ == "__main__":
    _, CONFIG, PORT, MODEL = sys.argv
    transport.Connector = _Connector  # type: ignore[misc]
    serve.Listener = _Listener  # type: ignore[misc]
    sys.argv[:] = ["nexeon", "serve", "-c", CONFIG, "--port", PORT]
    nexeon()
