"""Reading an answer piece by piece: whoever waits may be interrupted and read on, and what came before an end is
given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import aiohttp
import httpx
import pytest

from nexeon.errors import RequestError
from nexeon.gateway.reader import Reader
from nexeon.gateway.transport import Answer, DirectAnswer, HTTPXAnswer
from nexeon.gateway.upstream import Upstream, UpstreamFailure
from tests.patience import PATIENCE, until

BROKEN = aiohttp.ClientPayloadError("broken")


class Source:
    """An answer whose pieces the test gives: None is its end, an error breaks it."""

    def __init__(self, kind: str) -> None:
        self.pieces: asyncio.Queue[Any] = asyncio.Queue()
        self.content = aiohttp.StreamReader(Mock(connected=True), 2**16, loop=asyncio.get_running_loop())
        self.closed = False
        if kind == "direct":
            response = SimpleNamespace(content=self.content, status=200, headers={}, release=self._released)
            self.answer: Answer = DirectAnswer(response, memoryview(bytearray(1)))  # type: ignore[arg-type]
        else:
            self.answer = HTTPXAnswer(httpx.Response(200, stream=_Stream(self)))
        self._direct = kind == "direct"

    def give(self, piece: bytes | Exception | None) -> None:
        if not self._direct:
            self.pieces.put_nowait(piece)
        elif piece is None:
            self.content.feed_eof()
        elif isinstance(piece, Exception):
            self.content.set_exception(piece)
        else:
            self.content.feed_data(piece)

    def _released(self) -> None:
        self.closed = True
        self.content.set_exception(aiohttp.ClientConnectionError("closed"))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, source: Source) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._source.pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self._source.closed = True


@pytest.fixture(params=["direct", "httpx"])
async def source(request: pytest.FixtureRequest) -> Source:
    return Source(request.param)


def reader_of(source: Source, *, keepalive: float = 0, idle: float = 10 * PATIENCE) -> Reader:
    upstream = Mock(spec=Upstream, provider=SimpleNamespace(timeouts=SimpleNamespace(idle=idle)))
    upstream.silent.return_value = UpstreamFailure("silent", timeout=True)
    upstream.broken.side_effect = lambda error: UpstreamFailure("broken")
    return Reader(upstream, source.answer, keepalive=keepalive)


async def test_pieces_come_in_order_and_then_the_end(source: Source) -> None:
    reader = reader_of(source)
    for piece in (b"one", b"two"):
        source.give(piece)
        assert await reader.read() == piece
    source.give(None)
    assert await reader.read() is None
    assert await reader.read() is None
    await until(lambda: source.closed)


async def test_silence_interrupts_the_waiting_and_loses_nothing(source: Source) -> None:
    reader = reader_of(source, keepalive=0.02)
    assert [await reader.read() for _ in range(3)] == [b"", b"", b""]
    source.give(b"late")
    while (piece := await reader.read()) == b"":
        pass
    assert piece == b"late"
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    reader.stop()


async def test_a_provider_that_is_silent_for_too_long_has_failed(source: Source) -> None:
    reader = reader_of(source, idle=0.02)
    with pytest.raises(UpstreamFailure, match="silent"):
        await reader.read()
    await until(lambda: source.closed)


async def test_what_came_before_a_break_is_given(source: Source) -> None:
    reader = reader_of(source)
    source.give(b"one")
    source.give(BROKEN)
    assert await reader.read() == b"one"
    with pytest.raises(UpstreamFailure, match="broken"):
        await reader.read()
    await until(lambda: source.closed)


async def test_an_interrupted_reader_tells_the_error_and_closes(source: Source) -> None:
    reader = reader_of(source)
    waiting = asyncio.ensure_future(reader.read())
    await asyncio.sleep(0.01)
    reader.interrupt(RequestError(503, "unavailable", "the gateway stops"))
    with pytest.raises(RequestError, match="the gateway stops"):
        await waiting
    await until(lambda: source.closed)


async def test_a_stopped_reader_ends_whoever_waits(source: Source) -> None:
    reader = reader_of(source)
    waiting = asyncio.ensure_future(reader.read())
    await asyncio.sleep(0.01)
    reader.stop()
    assert await asyncio.wait_for(waiting, PATIENCE) is None
    await until(lambda: source.closed)


async def test_who_waits_can_be_cancelled(source: Source) -> None:
    reader = reader_of(source)
    waiting = asyncio.ensure_future(reader.read())
    await asyncio.sleep(0.01)
    reader.interrupt(RequestError(503, "unavailable", "too late"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    reader.stop()
    await until(lambda: source.closed)


async def test_a_loop_that_ends_leaves_no_connection_behind(source: Source) -> None:
    reader = reader_of(source)
    source.give(b"all")
    assert await reader.read() == b"all"
    reader.leave()
    await asyncio.sleep(0)
    assert reader._leaving is not None
    reader._leaving.cancel()
    await until(lambda: source.closed)


async def test_an_answer_that_is_complete_gives_its_connection_a_moment_to_end(source: Source) -> None:
    reader = reader_of(source)
    source.give(b"all")
    assert await reader.read() == b"all"
    reader.leave()
    reader.stop()
    await asyncio.sleep(0.01)
    assert not source.closed
    source.give(None)
    await until(lambda: source.closed)
