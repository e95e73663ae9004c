"""Streams of HTTP/2 whose client has let their windows run out: nothing is written for them, while the connection goes
on. They hold whoever answers back, and are reset after a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import h2.errors
import h2.exceptions
from hypercorn.protocol import h2 as hypercorn_h2
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BUFFER_LOW_WATER, BufferCompleteError, H2Protocol, StreamBuffer
from hypercorn.typing import Event as IOEvent

from nexeon.gateway.server import stall
from nexeon.gateway.server.stall import LOOKS, Patience, Stall

_OFF: Final = 5.0
"""Seconds between two looks at whether it is to be looked."""


class Buffer(StreamBuffer):
    """What a stream has to send; `taken` bytes of it have left.

    Hypercorn's own one lets more in at every look that finds the window spent, without any bound.
    """

    def __init__(self, event_class: type[IOEvent]) -> None:
        super().__init__(event_class)
        self.taken = 0

    async def push(self, data: bytes) -> None:
        if self._complete:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        if len(self.buffer) >= BUFFER_HIGH_WATER:
            await self._paused.clear()
            await self._paused.wait()

    async def pop(self, max_length: int) -> bytes:
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        self.taken += len(data)
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


hypercorn_h2.StreamBuffer = Buffer  # type: ignore[misc]


@dataclass(slots=True)
class _Watched:
    """A stream that has something to send, of which nothing beyond `taken` has left `since`."""

    buffer: Buffer
    since: float
    taken: int


async def watch_windows(protocol: H2Protocol, patience: Patience, time: Callable[[], float]) -> None:
    """Until it is cancelled; a stream of which nothing is taken for too long is reset."""
    watched: dict[int, _Watched] = {}
    while True:
        seconds = patience.seconds()
        await asyncio.sleep(seconds / LOOKS if seconds else _OFF)
        now = time()
        buffers = protocol.stream_buffers.items() if seconds else ()
        waiting = {id: buffer for id, buffer in buffers if buffer.buffer and isinstance(buffer, Buffer)}
        watched = {id: each for id, each in watched.items() if waiting.get(id) is each.buffer}
        for id, buffer in waiting.items():
            each = watched.get(id)
            if each is None:
                watched[id] = _Watched(buffer, now, buffer.taken)
            elif buffer.taken > each.taken or _window(protocol, id) > 0:  # it waits for its turn on the connection
                each.taken, each.since = buffer.taken, now
            elif now - each.since >= seconds:
                patience.stalled("window")
                await _reset(protocol, id, seconds)


def _window(protocol: H2Protocol, id: int) -> int:
    try:
        return protocol.connection.local_flow_control_window(id)
    except h2.exceptions.ProtocolError:  # it has ended
        return 0


async def _reset(protocol: H2Protocol, id: int, seconds: float) -> None:
    stream = protocol.streams.get(id)
    if stream is not None:
        own = Stall()
        own.seconds = seconds
        stall.put(stream.scope, own)
    with contextlib.suppress(h2.exceptions.ProtocolError):
        protocol.connection.reset_stream(id, h2.errors.ErrorCodes.CANCEL)
    await protocol._flush()
    await protocol._close_stream(id)
    await protocol.stream_buffers[id].close()
    protocol.priority.unblock(id)
    await protocol.has_data.set()
