"""A provider that does exactly what a test says, byte by byte, over a real loopback connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Script = Callable[["Call"], Awaitable[None]]


@dataclass
class Call:
    """One request as it came, and the way to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader
    left: asyncio.Event = field(default_factory=asyncio.Event)
    done: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, body: Any, status: int = 200, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    async def begin_stream(self, kind: str = "text/event-stream") -> None:
        await self.raw(f"HTTP/1.1 200 X\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        await self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def event(self, body: Any, name: str | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.chunk((f"event: {name}\n".encode() if name else b"") + b"data: " + data + b"\n\n")

    async def end_stream(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        """The connection breaks: the peer reads ECONNRESET."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def wait_left(self) -> None:
        """Returns once the gateway has closed the connection."""
        await self.left.wait()


class Upstream:
    """Calls the scripts one after another, the last one again and again; `calls` are those that came."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.scripts: list[Script] = []
        self.errors: list[BaseException] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.url = ""
        self.connections = 0

    def plays(self, *scripts: Script) -> None:
        self.scripts = list(scripts)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not self.errors, self.errors

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while (call := await _read_call(reader, writer)) is not None:
                self.calls.append(call)
                script = self.scripts[min(len(self.calls), len(self.scripts)) - 1]
                watch = asyncio.create_task(_watch(reader, call))
                try:
                    await script(call)
                except ConnectionError:  # it may be told before the watch is
                    call.left.set()
                    raise
                finally:
                    call.done = True
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.close()


async def _watch(reader: asyncio.StreamReader, call: Call) -> None:
    """The gateway never sends ahead, so whatever can be read now is the end."""
    with contextlib.suppress(ConnectionError):
        await reader.read(1)
    call.left.set()


async def _read_call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(method, path, headers, body, writer, reader)
