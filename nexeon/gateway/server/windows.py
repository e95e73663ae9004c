"""Streams of HTTP/2 whose client has let their windows run out: nothing is written for them, while the connection goes
on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import h2.errors
import h2.exceptions
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer

from nexeon.gateway.server import stall
from nexeon.gateway.server.stall import LOOKS, Patience, Stall

_OFF: Final = 5.0
"""Seconds between two looks at whether it is to be looked."""


@dataclass(slots=True)
class _Watched:
    """A stream that has something to send; `taken` bytes of it have left since it is watched."""

    buffer: StreamBuffer
    since: float
    taken: int = 0
    seen: int = 0


async def watch_windows(protocol: H2Protocol, patience: Patience, time: Callable[[], float]) -> None:
    """Until it is cancelled; a stream of which nothing is taken for too long is reset."""
    watched: dict[int, _Watched] = {}
    while True:
        seconds = patience.seconds()
        await asyncio.sleep(seconds / LOOKS if seconds else _OFF)
        now = time()
        waiting = {id: buffer for id, buffer in protocol.stream_buffers.items() if buffer.buffer} if seconds else {}
        watched = {id: each for id, each in watched.items() if waiting.get(id) is each.buffer}
        for id, buffer in waiting.items():
            each = watched.get(id)
            if each is None:
                watched[id] = _watched(buffer, now)
            elif each.taken > each.seen or _window(protocol, id) > 0:  # it waits for its turn on the connection
                each.seen, each.since = each.taken, now
            elif now - each.since >= seconds:
                patience.stalled("window")
                await _reset(protocol, id, seconds)


def _watched(buffer: StreamBuffer, now: float) -> _Watched:
    made = _Watched(buffer, now)
    pop = buffer.pop

    async def counted(max_length: int) -> bytes:
        data = await pop(max_length)
        made.taken += len(data)
        return data

    buffer.pop = counted  # type: ignore[method-assign]
    return made


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
