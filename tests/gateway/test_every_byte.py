"""A stream that ends at each of its bytes, in every way that a stream can end: what it costs."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from conftest import Gate, Opener
from scripts import COST, EVENTS, USAGE
from upstream import Call

PIECES = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in (*EVENTS, USAGE)] + [b"data: [END]\n\n"]
WHOLE = b"".join(PIECES)
INPUT, OUTPUT = 1000, 2000
"""Nano-USD a token."""


def costs(way: str, path: str, cut: int, size: int) -> tuple[int, bool]:
    """Of what came before the cut: the charge, and whether it is estimated. `size` is the request's, in bytes.

    A proper end and what comes after the cut complete an event that lacks its blank line only. A piece of an event at
    a proper end is a fault to who must translate it, and none to who passes it on.
    """
    whole = before = text = 0
    told = finished = False
    for piece in PIECES:
        before, whole = whole, whole + len(piece)
        if whole > cut + (2 if way in ("end", "error") else 0):
            break
        event = piece[len(b"data: ") :].strip()
        if event == b"[END]":
            return COST, False
        text += len(json.loads(event).get("text", ""))
        told |= b'"usage"' in event
        finished |= b'"end"' in event
    if not text:
        return 0, False
    if told:
        torn = path != "/talk" and cut - before >= len("data")
        return COST, torn or not (finished and way == "end")
    return (size // 4 + 1) * INPUT + -(-text // 4) * OUTPUT, True


def once(value: dict[str, Any]) -> None:
    value["retry"] = {"attempts": 1}
    value["breaker"] = {"failures": 0}


def impatient(value: dict[str, Any]) -> None:
    once(value)
    value["providers"]["one"]["timeouts"] = {"connect": 5, "first_byte": 5, "idle": 0.5}


def body(path: str, cut: int) -> bytes:
    say = f"cut at {cut:03}"
    translated = {"lines": [say]}
    return json.dumps(
        {"model": "plain", "stream": True, "say": [{"who": "user", "text": say}]} if path == "/talk" else translated
    ).encode()


def place(request: bytes | str) -> int:
    """Where the stream that answers this request is to end."""
    found = re.search(r"cut at (\d+)", request if isinstance(request, str) else request.decode())
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("path", ["/talk", "/notes/plain/stream?as=sse"])
@pytest.mark.parametrize("way", ["reset", "end", "error", "left", "silence"])
async def test_a_stream_that_ends_anywhere_costs_what_came(opened: Opener, way: str, path: str) -> None:
    gate = await opened(impatient if way == "silence" else once)
    sent = {cut: asyncio.Event() for cut in range(len(WHOLE) + 1)}

    async def ends(call: Call) -> None:
        cut = place(call.body)
        await call.begin_stream()
        if cut:
            await call.chunk(WHOLE[:cut])
        sent[cut].set()
        if way in ("left", "silence"):
            await call.wait_left()
            return
        # What was sent is read before the connection breaks.
        await asyncio.sleep(0.1)
        if way == "reset":
            call.reset()
        elif way == "end":
            await call.end_stream()
        else:
            await call.chunk(b'\n\ndata: {"oops": {"say": "no more", "status": 500}}\n\n')
            await call.end_stream()

    gate.upstream.plays(ends)
    cuts = iter(sent)

    async def client() -> None:
        for cut in cuts:
            await ask(gate, path, body(path, cut), sent[cut] if way == "left" else None)

    await asyncio.gather(*(client() for _ in range(64)))
    await gate.released()
    table: dict[int, tuple[int, bool]] = {}
    for record in await gate.log.list(limit=1000):
        shown = await gate.log.show(record["id"])
        table[place(shown["request"])] = (shown["cost"] or 0, shown["estimated"])
    expected = {cut: costs(way, path, cut, len(body(path, cut))) for cut in sent}
    assert {cut: (table.get(cut), cost) for cut, cost in expected.items() if table.get(cut) != cost} == {}
    assert await gate.spent() == sum(cost for cost, _ in expected.values())


async def ask(gate: Gate, path: str, raw: bytes, leave: asyncio.Event | None) -> None:
    """Reads to the end, or leaves once the provider has sent all that it will."""
    headers = {"content-type": "application/json"}

    async def read() -> None:
        async with gate.client.stream("POST", path, content=raw, headers=headers) as answer:
            async for _ in answer.aiter_bytes():
                pass

    reading = asyncio.create_task(read())
    if leave is not None:
        await leave.wait()
        await asyncio.sleep(0.2)
        reading.cancel()
    done = await asyncio.gather(reading, return_exceptions=True)
    assert leave is not None or done == [None]
