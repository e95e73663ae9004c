"""Many open streams with an event every 20 ms: CPU per event, and how long one takes on its way."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.bench.harness import cpu, memory

_STAMP = re.compile(rb"\d{20}")


@dataclass(frozen=True)
class Paced:
    """Microseconds of CPU per event, milliseconds from an event's sending to its arrival, MB while streams are open."""

    events: int
    cpu: float
    p50: float
    p99: float
    memory: float


class _Reader(asyncio.Protocol):
    """One stream."""

    def __init__(self, request: bytes, delays: list[int], done: asyncio.Future[None]) -> None:
        self._request = request
        self._delays = delays
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        self._delays += [now - int(stamp) for stamp in _STAMP.findall(data) if int(stamp)]

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def _measure(port: int, request: bytes, pid: int, streams: int, seconds: float) -> Paced:
    loop = asyncio.get_running_loop()
    delays: list[int] = []
    transports = []
    for number in range(streams):
        done = loop.create_future()
        transport, _ = await loop.create_connection(lambda done=done: _Reader(request, delays, done), "127.0.0.1", port)  # type: ignore[misc]
        transports.append(transport)
        if number % 8 == 7:
            await asyncio.sleep(0.003)
    await asyncio.sleep(0.5)
    delays.clear()
    before = cpu(pid)
    await asyncio.sleep(seconds)
    spent, count, size = cpu(pid) - before, len(delays), memory(pid)
    for transport in transports:
        transport.close()
    if not count:
        raise SystemExit("no event of a paced stream arrived")
    cuts = statistics.quantiles(delays, n=100)
    return Paced(count, spent / count * 1e6, cuts[49] / 1e6, cuts[98] / 1e6, size)


def measure(
    port: int, path: str, body: Mapping[str, Any], key: str, pid: int, *, streams: int, seconds: float = 2.5
) -> Paced:
    """A stream lasts for 4 s, so `seconds` is at most 3."""
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return uvloop.run(_measure(port, head.encode() + data, pid, streams, seconds))
