"""Very many streams open at once, from one process and to one process.

Each takes two files of the gateway, and a port of its own at either end: there are some 28,000 for each address, so
clients come from several addresses of this machine, and the upstream is at several.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import deployment
from tests.bench.paced import post

AN_ADDRESS = 12_500
"""Streams that one address has ports for, with some left: the last ones take long to find."""

INSIDE = "127.1.0.1"
"""Where the upstream of streams is whose connections are in the gateway's memory."""

KEYS = 100
"""That streams have, `secret 0` and so on."""

OTHER_FILES = 1_000
"""Files that a process may have open beside those of streams."""

_BEGINNING = 64
"""Streams that are opened at once."""

_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of Linux: the port is chosen for the connection, not for the address."""

_BEGUN = 120.0


@contextlib.contextmanager
def many_files(files: int) -> Iterator[int]:
    """Lets this process, and those that it starts, have so many files open, where the system allows it; how many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(files, int(Path("/proc/sys/fs/nr_open").read_text()))
    for soft, hard in ((most, most), (min(files, before[1]), before[1])):  # only root may raise what the system gave
        if soft < before[0]:
            continue
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, before[1])))
            break
    try:
        yield resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def address(number: int) -> str:
    """One of this machine's, from 0 on."""
    return f"127.0.0.{2 + number}"


def held(model: str, number: int) -> bytes:
    """The request for a stream of a model that answers slowly, with one of so many keys."""
    body = deployment.body("openai.chat", model, stream=True)
    return post(deployment.path("openai.chat", "", stream=True), body, f"secret {number % KEYS}")


class Client(asyncio.Protocol):
    """One stream. `begun` until its first byte came."""

    __slots__ = ("_crowd", "begun")

    def __init__(self, crowd: Crowd, begun: asyncio.Future[None]) -> None:
        self._crowd = crowd
        self.begun: asyncio.Future[None] | None = begun

    def data_received(self, data: bytes) -> None:
        if self.begun is None or self.begun.done():
            return
        if data.startswith(b"HTTP/1.1 200"):
            self.begun.set_result(None)
        else:
            self.begun.set_exception(SystemExit(f"a stream was refused: {data[:300].decode(errors='replace')}"))
        self.begun = None

    def connection_lost(self, error: Exception | None) -> None:
        self._crowd.ended += 1
        if self.begun is not None and not self.begun.done():
            self.begun.set_exception(SystemExit(f"a stream ended before it began: {error}"))


class Crowd:
    """Clients with a stream each: `request` is that of a number. `ended` counts the streams that are over."""

    def __init__(self, port: int, request: Callable[[int], bytes]) -> None:
        self._port = port
        self._request = request
        self._transports: list[asyncio.Transport] = []
        self._turn = asyncio.Semaphore(_BEGINNING)
        self.ended = 0

    @property
    def count(self) -> int:
        return len(self._transports)

    async def grow(self, to: int) -> None:
        """Until so many are open, all begun. Raises SystemExit."""
        await asyncio.gather(*(self._open(number) for number in range(self.count, to)))

    def leave(self) -> None:
        """All at once."""
        for transport in self._transports:
            transport.abort()
        self._transports.clear()

    async def _open(self, number: int) -> None:
        async with self._turn:
            begun = asyncio.get_running_loop().create_future()
            transport = await self._connect(number, Client(self, begun))
            self._transports.append(transport)
            transport.write(self._request(number))
            await asyncio.wait_for(begun, _BEGUN)

    async def _connect(self, number: int, client: Client) -> asyncio.Transport:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((address(number // AN_ADDRESS), 0))
            await loop.sock_connect(sock, ("127.0.0.1", self._port))
            transport, _ = await loop.create_connection(lambda: client, sock=sock)
        except BaseException:
            sock.close()
            raise
        return transport
