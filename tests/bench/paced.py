"""Many open streams with an event every 20 ms: CPU per event, and how long one takes on its way."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.bench.harness import cpu, memory

_STAMP = re.compile(rb"\d{20}")
_AT_ONCE = 8
_OPENED = 120.0


@dataclass(frozen=True)
class Paced:
    """Microseconds of CPU per event, milliseconds from an event's sending to its arrival, MB while streams are open."""

    events: int
    seconds: float
    cpu: float
    p50: float
    p99: float
    memory: float


class _Reader(asyncio.Protocol):
    """One stream. `begun` once its first byte came."""

    def __init__(self, request: bytes, delays: list[int]) -> None:
        self._request = request
        self._delays = delays
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.begun.done():
            self._begin(data)
        self._delays += [now - int(stamp) for stamp in _STAMP.findall(data) if int(stamp)]

    def _begin(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 200"):
            self.begun.set_result(None)
        else:
            self.begun.set_exception(SystemExit(f"a stream was refused: {data[:300].decode(errors='replace')}"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(SystemExit(f"a stream ended before it began: {error}"))


def post(path: str, body: Mapping[str, Any], key: str) -> bytes:
    """A request as it is sent."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


@asynccontextmanager
async def opened(port: int, request: bytes, streams: int) -> AsyncIterator[list[int]]:
    """So many streams, all begun; nanoseconds that each event was on its way, as they come."""
    loop = asyncio.get_running_loop()
    delays: list[int] = []
    transports: list[asyncio.Transport] = []
    begun = []
    try:
        for number in range(streams):
            transport, reader = await loop.create_connection(lambda: _Reader(request, delays), "127.0.0.1", port)
            transports.append(transport)
            begun.append(reader.begun)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0.003)
        await asyncio.wait_for(asyncio.gather(*begun), _OPENED)
        yield delays
    finally:
        for transport in transports:
            transport.close()


async def _measure(port: int, request: bytes, pid: int, streams: int, seconds: float) -> Paced:
    async with opened(port, request, streams) as delays:
        await asyncio.sleep(0.5)
        delays.clear()
        before = cpu(pid)
        await asyncio.sleep(seconds)
        spent, size = cpu(pid) - before, memory(pid)
        taken = list(delays)
    if not taken:
        raise SystemExit("no event of a paced stream arrived")
    cuts = statistics.quantiles(taken, n=100)
    return Paced(len(taken), seconds, spent / len(taken) * 1e6, cuts[49] / 1e6, cuts[98] / 1e6, size)


def measure(
    port: int, path: str, body: Mapping[str, Any], key: str, pid: int, *, streams: int, seconds: float = 2.5
) -> Paced:
    """A stream with an event every 20 ms lasts for 4 s, so `seconds` is at most 3 there. Raises SystemExit."""
    return uvloop.run(_measure(port, post(path, body, key), pid, streams, seconds))
