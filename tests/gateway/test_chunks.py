"""Chunks that arrive together are read together, and an answer is none the other for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from hypothesis import given, settings
from hypothesis import strategies as st

from nexeon.gateway.chunks import Chunks, Connector

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = st.sampled_from(
    [b"data: {}\n\n", b"x", b"a\r\nb", b"\r\n5\r\nhello\r\n", b"0\r\n\r\n", b"y" * 300, HEAD, b"\n\r"]
)
ODD = [
    b"5;name=value\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"5_\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"5\r\nhelloXX",
    b"5\nhello\n",
    b"\r\n",
    b"00000000000005\r\nhello\r\n",
    b"fffffffffffffffff\r\nhello\r\n",
]


def chunk(body: bytes, form: str = "%x") -> bytes:
    return (form % len(body)).encode() + b"\r\n" + body + b"\r\n"


class Transport(asyncio.Transport):
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...


def understood(reads: list[bytes]) -> tuple[Any, ...]:
    """What the client library makes of an answer: its body, whether that ended, what failed."""
    loop = asyncio.new_event_loop()
    try:
        handler = ResponseHandler(loop)
        handler.transport = Transport()
        handler.set_response_params(read_bufsize=2**20)
        for read in reads:
            handler.data_received(read)
        if not handler._buffer:
            return type(handler.exception()).__name__, str(handler.exception())
        message, payload = handler._buffer[0][0]
        failed = payload.exception()
        if failed is not None:
            payload.set_exception(None)  # type: ignore[arg-type]
        body = payload.read_nowait()
        return message.code, message.headers, body, payload.is_eof(), type(failed).__name__, handler.should_close
    finally:
        loop.close()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in itertools.pairwise([0, *sorted(set(places)), len(data)])]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_an_answer_stays_what_it_is(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["%x", "%X", "%04x"]))
    parts = [chunk(body, form) for body in data.draw(st.lists(BODY, max_size=12))]
    if data.draw(st.integers(0, 3)) == 0:
        parts.insert(data.draw(st.integers(0, len(parts))), data.draw(st.sampled_from(ODD)))
    head = data.draw(
        st.sampled_from([HEAD, HEAD.replace(b"200 OK", b"429 "), HEAD.replace(b"Transfer-Encoding: chunked", b"a: b")])
    )
    end = data.draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nchecksum: 1\r\n\r\n", b"", b"7\r\nhal"]))
    whole = head + b"".join(parts) + end
    reads = cut(whole, data.draw(st.lists(st.integers(1, len(whole) - 1), max_size=8)))
    chunks = Chunks()
    assert understood([chunks.join(read) for read in reads]) == understood(reads)


def test_an_answer_cut_at_any_byte_stays_what_it_is() -> None:
    whole = HEAD + b"".join(map(chunk, [b"data: 1\n\n", b"data: 22\n\n", b"z" * 20, b"data: 3\n\n"])) + b"0\r\n\r\n"
    wanted = understood([whole])
    assert wanted[2] == b"data: 1\n\ndata: 22\n\n" + b"z" * 20 + b"data: 3\n\n"
    for place in range(1, len(whole)):
        chunks = Chunks()
        assert understood([chunks.join(read) for read in cut(whole, [place])]) == wanted, place


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_told_the_same_wherever_it_is_cut(odd: bytes) -> None:
    whole = HEAD + b"".join([chunk(b"data: 1\n\n"), chunk(b"data: 2\n\n"), odd, chunk(b"y" * 30), chunk(b"z" * 9)])
    for place in range(len(HEAD), len(whole)):
        chunks = Chunks()
        reads = cut(whole, [place])
        assert understood([chunks.join(read) for read in reads]) == understood(reads), place


def test_whole_chunks_become_one() -> None:
    chunks = Chunks()
    bodies = [b"data: %d\n\n" % number for number in range(200)]
    read = b"".join(map(chunk, bodies))
    half = chunk(b"x" * 100)
    assert chunks.join(HEAD + read + half[:50]) == HEAD + chunk(b"".join(bodies)) + half[:50]
    assert chunks.join(half[50:] + read) == half[50:] + chunk(b"".join(bodies))
    assert chunks.join(chunk(b"alone")) == chunk(b"alone")
    assert chunks.join(read + b"0\r\n\r\n") == chunk(b"".join(bodies)) + b"0\r\n\r\n"


async def test_the_client_library_reads_them_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [b"data: %d\n\n" % number for number in range(200)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(HEAD + b"".join(map(chunk, bodies)) + b"0\r\n\r\n")
        writer.close()

    fed: list[bytes] = []
    original = aiohttp.StreamReader.feed_data

    def feed(self: aiohttp.StreamReader, data: bytes, size: int = 0) -> bool:
        fed.append(data)
        return original(self, data, size)

    monkeypatch.setattr(aiohttp.StreamReader, "feed_data", feed)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with aiohttp.ClientSession(connector=Connector()) as session:
        for _ in range(3):  # the first over a new connection
            async with session.get(url) as response:
                assert await response.read() == b"".join(bodies)
    server.close()
    assert len(fed) < len(bodies)
