"""Hypercorn's connection as the gateway uses it: idle ones end, busy ones do not, and what belongs together leaves
together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import hypercorn.asyncio
from hypercorn.config import Config

from nexeon.gateway.server.connection import install
from tests.gateway.conftest import until

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
Handler = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def served(keep_alive: float, handler: Handler) -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Task[None]]]:
    """The port, what ends the server, and the server."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": kind + ".complete"})
                if kind == "lifespan.shutdown":
                    return
        await handler(send)

    install()
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = config.errorlog = None
    config.keep_alive_timeout = keep_alive
    ending, ready = asyncio.Event(), asyncio.Event()

    async def until_ended() -> None:
        ready.set()
        await ending.wait()

    task = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=until_ended))
    await ready.wait()
    try:
        yield port, ending, task
    finally:
        ending.set()
        await asyncio.wait({task}, timeout=10)


async def at_once(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


async def after_a_while(send: Any) -> None:
    await asyncio.sleep(0.5)
    await at_once(send)


async def test_an_idle_connection_ends_after_its_time_and_a_used_one_begins_anew() -> None:
    async with served(0.4, at_once) as (port, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun = asyncio.get_running_loop().time()
        for _ in range(3):
            await asyncio.sleep(0.2)
            writer.write(REQUEST)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - begun >= 0.9
        writer.close()


async def test_a_busy_connection_does_not_end() -> None:
    async with served(0.1, after_a_while) as (port, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_idle_connections_do_not_hold_up_the_end_of_the_server() -> None:
    async with served(60, at_once) as (port, ending, task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
        ending.set()
        await asyncio.wait_for(task, 2)
        assert await reader.read() == b""
        writer.close()


async def test_a_connection_that_the_client_closed_leaves_nothing_behind() -> None:
    async with served(60, at_once) as (port, _, _):
        before = len(asyncio.all_tasks())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
        writer.close()
        await until(lambda: len(asyncio.all_tasks()) == before)


async def test_head_and_body_leave_in_one_write(monkeypatch: Any) -> None:
    written: list[bytes] = []
    original = asyncio.StreamWriter.write

    def write(self: asyncio.StreamWriter, data: bytes) -> None:
        written.append(bytes(data))
        original(self, data)

    async with served(60, at_once) as (port, _, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        monkeypatch.setattr(asyncio.StreamWriter, "write", write)
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
        writer.close()
    assert [data[:12] for data in written] == [REQUEST[:12], b"HTTP/1.1 200"]
    assert written[1].endswith(b"\r\n\r\nok")
