"""Connections as the gateway serves them: what is plain is answered as Hypercorn answers it, idle ones end, busy ones
do not, and what belongs together leaves together."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from hypercorn.config import Config
from quart import Quart

from nexeon.gateway.server import plain
from nexeon.gateway.server.connection import Connection
from nexeon.gateway.server.listener import Listener
from tests.patience import PATIENCE, until

PLAIN = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
IDLE = 10 * PATIENCE
"""Seconds that a connection may be idle: none is for so long, unless the clock leaps."""

LAYERS = ("nexeon", "hypercorn", "h11", "asyncio", "uvloop", "_asyncio")
"""The modules of what a connection is made of."""

TIMES = 5

Handler = Callable[[Any, Any, Any], Awaitable[None]]

either = pytest.mark.parametrize("request_", [PLAIN, CHUNKED], ids=["plain", "chunked"])


class App(Quart):
    """Answers with a handler of ASGI."""

    def __init__(self, handler: Handler) -> None:
        super().__init__("nexeon", static_folder=None)
        self.handler = handler

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handler(scope, receive, send)


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[tuple[int, Listener]]:
    """The port, and who listens there."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    config = Config()
    config.accesslog = config.errorlog = None
    config.keep_alive_timeout = IDLE
    listener = Listener(App(handler), config, sock, handshake=0)
    await listener.start()
    try:
        yield sock.getsockname()[1], listener
    finally:
        await listener.finish()


async def whole_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def at_once(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


async def tells_all(scope: Any, receive: Any, send: Any) -> None:
    """What it was asked, as an answer of the kind that the path says."""
    body = await whole_body(receive)
    told = repr([scope["method"], scope["path"], scope["raw_path"], scope["query_string"], scope["headers"], body])
    kind = scope["path"].strip("/").partition("/")[0]
    if kind == "fails":
        raise ValueError("a failure")
    headers = [(b"X-Kind", kind.encode())]
    if kind == "injects":
        headers.append((b"x-said", b"a\r\nset-cookie: b"))
    if kind in ("whole", "short", "long"):
        size = len(told) + {"whole": 0, "short": 3, "long": -3}[kind]
        headers.append((b"Content-Length", str(size).encode()))
    if kind == "closes":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 204 if kind == "empty" else 200, "headers": headers})
    if kind == "empty":
        await send({"type": "http.response.body", "body": b""})
        return
    half = len(told) // 2
    await send({"type": "http.response.body", "body": told[:half].encode(), "more_body": True})
    await send({"type": "http.response.body", "body": told[half:].encode(), "more_body": kind == "cut"})


async def asked(port: int, *parts: bytes) -> bytes:
    """All that comes back for what is sent in these parts, until the server closes or has nothing more to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(all_of(reader))
    with contextlib.suppress(ConnectionError):
        for part in (*parts, b"GET /closes HTTP/1.1\r\nhost: x\r\n\r\n"):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
    raw = await reading
    writer.close()
    return re.sub(rb"date: [^\r]*\r\n", b"", raw)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Until the server closes, which may leave something of the client unread."""
    raw = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1 << 16):
            raw += piece
    return raw


HEAD = (
    b"POST /%s?q=1&r=%%20 HTTP/1.1\r\nHost: a.test\r\nX-Mixed:  two words \t\r\nx-empty:\r\nContent-Length: 5\r\n\r\n"
)
ODD = {
    "GET": b"GET /whole/%C3%A9%2F?x HTTP/1.1\r\nhost: x\r\n\r\n",
    "DELETE": b"DELETE /whole HTTP/1.1\r\nhost: x\r\nconnection: Keep-Alive\r\n\r\n",
    "HEAD": b"HEAD /whole HTTP/1.1\r\nhost: x\r\n\r\n",
    "OPTIONS": b"OPTIONS /whole HTTP/1.1\r\nhost: x\r\n\r\n",
    "the old protocol": b"POST /whole HTTP/1.0\r\nhost: x\r\n\r\n",
    "a closing client": b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "no host": b"GET /whole HTTP/1.1\r\naccept: x\r\n\r\n",
    "two hosts": b"GET /whole HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
    "two lengths": b"POST /whole HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "the same length twice": b"POST /whole HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab",
    "a length and chunks": CHUNKED.replace(b"host", b"content-length: 2\r\nhost"),
    "a signed length": b"POST /whole HTTP/1.1\r\nhost: x\r\ncontent-length: +2\r\n\r\nab",
    "no number": b"POST /whole HTTP/1.1\r\nhost: x\r\ncontent-length: two\r\n\r\nab",
    "a folded header": b"GET /whole HTTP/1.1\r\nhost: x\r\nx-a: 1\r\n 2\r\n\r\n",
    "a space before the colon": b"GET /whole HTTP/1.1\r\nhost : x\r\n\r\n",
    "a control": b"GET /whole HTTP/1.1\r\nhost: x\r\nx-a: a\x00b\r\n\r\n",
    "line feeds": b"GET /whole HTTP/1.1\nhost: x\n\n",
    "a line feed in a header": b"GET /whole HTTP/1.1\r\nhost: x\r\nx-a: a\nx-b: b\r\n\r\n",
    "chunks": b"POST /whole HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a wait for the go-ahead": b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab",
    "high bytes": b"GET /whole HTTP/1.1\r\nhost: x\r\nx-a: \xe9\r\n\r\n",
    "an unfinished head": b"GET /whole HTTP/1.1\r\nhost",
    "nonsense": b"\x16\x03\x01nonsense\r\n\r\n",
    "empty lines first": b"\r\n\r\nGET /whole HTTP/1.1\r\nhost: x\r\n\r\n",
}
KINDS = ("whole", "stream", "empty", "short", "long", "cut", "fails", "injects", "closes")
ASKED = {
    **{f"{kind}, whole": [HEAD % kind.encode() + b"hello"] for kind in KINDS},
    "head and body": [HEAD % b"whole", b"hello"],
    "a body in pieces": [HEAD % b"whole" + b"h", b"e", b"llo"],
    "a head in pieces": [(HEAD % b"whole")[:9], (HEAD % b"whole")[9:] + b"hello"],
    "two at once": [(HEAD % b"whole" + b"hello") * 2],
    "one and a half": [(HEAD % b"stream" + b"hello") + (HEAD % b"whole")[:30], (HEAD % b"whole")[30:] + b"hello"],
    "an odd one between": [HEAD % b"whole" + b"hello", ODD["chunks"], HEAD % b"stream" + b"hello"],
    "an odd one at once": [HEAD % b"whole" + b"hello" + ODD["chunks"] + HEAD % b"stream" + b"hello"],
    **{name: [raw] for name, raw in ODD.items()},
}


@pytest.mark.parametrize("parts", ASKED.values(), ids=ASKED)
async def test_what_is_plain_is_answered_as_hypercorn_answers_it(parts: list[bytes], monkeypatch: Any) -> None:
    async with served(tells_all) as (port, _):
        ours = await asyncio.wait_for(asked(port, *parts), PATIENCE)
        monkeypatch.setattr(plain, "read_head", lambda data: None)
        assert ours == await asyncio.wait_for(asked(port, *parts), PATIENCE)


def test_what_is_plain_and_what_is_not() -> None:
    assert plain.read_head(HEAD % b"whole" + b"hello") is not None
    for name in ("GET", "DELETE", "high bytes"):
        assert plain.read_head(ODD[name]) is not None, name
    for name in ODD.keys() - {"GET", "DELETE", "high bytes"}:
        assert plain.read_head(ODD[name]) is None, name


@either
async def test_a_client_that_leaves_is_told_of(request_: bytes) -> None:
    left = asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        assert await whole_body(receive) == b""
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    async with served(waits) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        await writer.drain()
        writer.close()
        await asyncio.wait_for(left.wait(), PATIENCE)


async def test_a_body_that_nobody_reads_holds_the_client_back() -> None:
    read = asyncio.Event()
    size = 32 * 1024 * 1024

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await read.wait()
        assert len(await whole_body(receive)) == size
        await at_once(scope, receive, send)

    async with served(waits) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
        drained = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0.2)
        assert not drained.done()
        read.set()
        await asyncio.wait_for(drained, PATIENCE)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_slow_client_holds_an_answer_back() -> None:
    written = 0

    async def floods(scope: Any, receive: Any, send: Any) -> None:
        nonlocal written
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1024):
            await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
            written += 1
        await send({"type": "http.response.body", "body": b""})

    async with served(floods) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(PLAIN)
        await asyncio.sleep(0.3)
        assert written < 1024
        while await reader.read(1 << 20):
            if written == 1024:
                break
        writer.close()


@pytest.fixture
async def leap(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Awaitable[None]]:
    """Moves the loop's clock on by so many seconds; what is due by then has happened."""
    loop = asyncio.get_running_loop()
    now, leapt = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: now() + leapt)

    async def leaps(seconds: float) -> None:
        nonlocal leapt
        leapt += seconds
        for _ in range(10):
            await asyncio.sleep(0)

    return leaps


@either
async def test_an_idle_connection_ends_after_its_time_and_a_used_one_begins_anew(request_: bytes, leap: Any) -> None:
    async with served(at_once) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            await leap(0.6 * IDLE)
            writer.write(request_)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        await leap(1.1 * IDLE)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()


@either
async def test_a_busy_connection_does_not_end(request_: bytes, leap: Any) -> None:
    async def after_a_while(scope: Any, receive: Any, send: Any) -> None:
        await leap(3 * IDLE)
        await at_once(scope, receive, send)

    async with served(after_a_while) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        writer.close()


@either
async def test_idle_connections_do_not_hold_up_the_end_of_the_server(request_: bytes) -> None:
    async with served(at_once) as (port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        await reader.readuntil(b"ok")
        await listener.close_idle()
        await asyncio.wait_for(listener.empty(), PATIENCE)
        assert await reader.read() == b""
        writer.close()


@either
async def test_a_busy_connection_ends_with_its_answer_at_the_end_of_the_server(request_: bytes) -> None:
    begun, on = asyncio.Event(), asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await on.wait()
        await at_once(scope, receive, send)

    async with served(waits) as (port, listener):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        await begun.wait()
        await listener.close_idle()
        on.set()
        assert (await reader.read()).endswith(b"ok")
        await asyncio.wait_for(listener.empty(), PATIENCE)
        writer.close()


@either
async def test_a_connection_that_the_client_closed_leaves_nothing_behind(request_: bytes) -> None:
    async with served(at_once) as (port, _):
        before = len(asyncio.all_tasks())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        await reader.readuntil(b"ok")
        writer.close()
        await until(lambda: len(asyncio.all_tasks()) == before)


async def in_two_pieces(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@either
@pytest.mark.parametrize(("handler", "end"), [(at_once, b"\r\n\r\nok"), (in_two_pieces, b"\r\n0\r\n\r\n")])
async def test_what_is_said_at_once_leaves_in_one_write(
    request_: bytes, handler: Handler, end: bytes, monkeypatch: Any
) -> None:
    written: list[bytes] = []
    original = Connection._put

    def put(self: Connection, data: bytes) -> None:
        written.append(data)
        original(self, data)

    monkeypatch.setattr(Connection, "_put", put)
    async with served(handler) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        await reader.readuntil(end)
        writer.close()
    assert [data[:12] for data in written] == [b"HTTP/1.1 200"]
    assert written[0].endswith(end)


async def leaving(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def answered_or_left(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/waits":
        await leaving(receive)
        return
    await whole_body(receive)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def talk(port: int, parts: list[bytes], *, reset: bool) -> None:
    """In a thread, without a loop: what a client leaves behind is not to be counted."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        for part in parts:
            client.sendall(part)
            if b"/waits" in part:
                continue
            got = b""
            while not got.endswith(b"ok"):
                got += client.recv(4096)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "parts", [[], [PLAIN], [PLAIN] * 3, [CHUNKED, PLAIN], [PLAIN.replace(b"/", b"/waits", 1)]],
    ids=["silent", "plain", "kept alive", "by Hypercorn", "left"],
)  # fmt: skip
def test_a_connection_leaves_no_garbage(parts: list[bytes], reset: bool) -> None:
    """What is closed is gone at once: to look for it among all objects takes as long as many requests."""

    async def garbage() -> Counter[str]:
        """By type: of connections, not what other threads of the test run leave."""
        async with served(answered_or_left) as (port, listener):

            async def often(times: int) -> None:
                for _ in range(times):
                    await asyncio.to_thread(talk, port, parts, reset=reset)
                await until(lambda: not listener._connections)
                for _ in range(10):  # what the loop has still to do for them
                    await asyncio.sleep(0)

            await often(2)
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            await often(TIMES)
            gc.collect()
            gc.set_debug(0)
            kinds = [type(each) for each in gc.garbage]
            gc.garbage.clear()
            return Counter(each.__qualname__ for each in kinds if each.__module__.startswith(LAYERS))

    try:
        found = uvloop.run(garbage())
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert [name for name, count in found.items() if count >= TIMES] == []
