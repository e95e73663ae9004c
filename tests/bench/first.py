"""How long the first text of a stream is on its way: the upstream writes the time into it, the client looks at its
clock when it comes. Streams come one after the other on one connection."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.bench.paced import post

STREAMS = 250
_WARM = 50
_STAMP = re.compile(rb"\d{20}")
_SILENCE = 30.0


@dataclass(frozen=True)
class First:
    """Milliseconds."""

    p50: float
    p99: float


class _Client(asyncio.Protocol):
    """Asks again as soon as a stream has ended."""

    def __init__(self, request: bytes, done: asyncio.Future[list[int]]) -> None:
        self._request = request
        self._done = done
        self._delays: list[int] = []
        self._waiting = True
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop has a class of its own
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._waiting:
            stamp = next((int(found) for found in _STAMP.findall(data) if int(found)), None)
            if stamp is not None:
                self._waiting = False
                self._delays.append(now - stamp)
        self._tail = (self._tail + data)[-5:]
        if self._tail != b"0\r\n\r\n":
            return
        if self._waiting:
            self._fail("a stream ended without its first text")
        elif len(self._delays) == STREAMS + _WARM:
            self._done.set_result(self._delays[_WARM:])
        else:
            self._waiting, self._tail = True, b""
            self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection ended: {error}")

    def _fail(self, words: str) -> None:
        if not self._done.done():
            self._done.set_exception(SystemExit(words))


async def _measure(port: int, request: bytes) -> First:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[int]] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Client(request, done), "127.0.0.1", port)
    try:
        delays = await asyncio.wait_for(done, _SILENCE + STREAMS / 10)
    finally:
        transport.close()
    cuts = statistics.quantiles(delays, n=100)
    return First(cuts[49] / 1e6, cuts[98] / 1e6)


def measure(port: int, path: str, body: Mapping[str, Any], key: str) -> First:
    """Raises SystemExit where a stream has no first text."""
    return uvloop.run(_measure(port, post(path, body, key)))
