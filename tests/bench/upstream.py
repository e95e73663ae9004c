"""An upstream that costs nothing: canned answers over a raw protocol. `python -m tests.bench.upstream PORT [ADDRESS…]`.

The first part of the path says how it answers: `/json` and `/burst` at once, `/first` with the time in its first text
and 10 ms later the rest, `/paced`, `/slow` and `/held` with an event every 20 ms, 1 s and ten hours. Each event is a
chunk of its own, as providers send them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from tests.bench.answers import ANSWERS, STAMP, TEXTS, events_of
from tests.bench.deployment import SILENCE

REST = 0.01
PACES = {"paced": 0.02, "slow": 1.0, "held": float(SILENCE)}


def _json(body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
EVENTS = {name: events_of(name) for name in ANSWERS}
STAMPED = {name: events_of(name, [STAMP.decode()] * TEXTS) for name in ANSWERS}
WHOLE = {name: _json(answer) for name, answer in ANSWERS.items()}
BURST = {name: HEAD + b"".join(map(_chunk, events)) + LAST for name, events in EVENTS.items()}
FIRST: dict[str, tuple[bytes, bytes]] = {}
"""A stream until its first text, and the rest of it."""

for _name in ANSWERS:
    _events = events_of(_name, [STAMP.decode(), " and no more"])
    _first = next(number for number, event in enumerate(_events) if STAMP in event) + 1
    FIRST[_name] = HEAD + b"".join(map(_chunk, _events[:_first])), b"".join(map(_chunk, _events[_first:])) + LAST


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other, as HTTP clients send them."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._got = bytearray()
        self._missing = 0
        self._target = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
            if self._missing <= 0:
                self._answer()
            return
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._got[:end])
        self._target = head.split(b" ", 2)[1]
        start = head.lower().find(b"\r\ncontent-length:")
        length = int(head[start + 17 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
        self._missing = length - (len(self._got) - end - 4)
        self._got.clear()
        if self._missing <= 0:
            self._answer()

    def _answer(self) -> None:
        self._missing = 0
        way, _, path = self._target.decode().removeprefix("/").partition("/")
        name = next(name for name in ANSWERS if name in path)
        if way == "burst" or (way == "json" and ":stream" in path):
            self._transport.write(BURST[name])
        elif way == "first":
            begin, rest = FIRST[name]
            self._transport.write(begin.replace(STAMP, _now()))
            asyncio.get_running_loop().call_later(REST, self._transport.write, rest)
        elif way in PACES:
            self._transport.write(HEAD)
            self._pace(name, 0, asyncio.get_running_loop().time(), PACES[way])
        else:
            self._transport.write(WHOLE[name])

    def _pace(self, name: str, number: int, when: float, pace: float) -> None:
        if self._transport.is_closing():
            return
        events = STAMPED[name]
        if number == len(events):
            self._transport.write(LAST)
            return
        self._transport.write(_chunk(events[number].replace(STAMP, _now())))
        asyncio.get_running_loop().call_at(when + pace, self._pace, name, number + 1, when + pace, pace)


def _now() -> bytes:
    return b"%020d" % time.monotonic_ns()


async def main(port: int, addresses: list[str]) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, addresses, port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2:] or ["127.0.0.1"]))
