"""Every way in which a call can end, piped and translated, with and without usage told: what it costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Gate, Opener, until
from scripts import COST, SAID, resets, says
from upstream import Call

from nexeon.gateway.services import shutting_down
from tests.patience import PATIENCE

INPUT, OUTPUT = 1000, 2000
"""Nano-USD a token."""

USAGE = {"usage": {"in": 10, "out": 5}}
TEXT = {"text": "x" * 40}
PIPE, TRANSLATION = "/talk", "/notes/plain/stream?as=sse"


@dataclass(frozen=True)
class End:
    """How the provider's stream goes on after some text, and whether the charge is then estimated."""

    then: Callable[[Call], Awaitable[None]]
    estimated: bool = True
    leaves: bool = False
    drains: bool = False


async def finishes(call: Call) -> None:
    await call.event({"end": "stop"})
    await call.event(b"[END]")
    await call.end_stream()


async def closes(call: Call) -> None:
    await call.end_stream()


async def breaks(call: Call) -> None:
    await asyncio.sleep(0.05)
    call.reset()


async def fails(call: Call) -> None:
    await call.event({"oops": {"kind": "overloaded", "say": "full"}})
    await call.end_stream()


async def refuses_the_key(call: Call) -> None:
    await call.event({"oops": {"kind": "authentication", "say": "bad key"}})
    await call.end_stream()


async def pauses(call: Call) -> None:
    await call.wait_left()


async def babbles(call: Call) -> None:
    await call.event(b"{not json")
    await call.event({"end": "stop"})
    await call.event(b"[END]")
    await call.end_stream()


async def puzzles(call: Call) -> None:
    await call.event({"strange": True})
    await call.event({"end": "stop"})
    await call.event(b"[END]")
    await call.end_stream()


ENDS = {
    "finish": End(finishes, estimated=False),
    "cut": End(closes),
    "reset": End(breaks),
    "error event": End(fails),
    "key refused": End(refuses_the_key),
    "silence": End(pauses),
    "client gone": End(pauses, leaves=True),
    "drain": End(pauses, drains=True),
    "no JSON": End(babbles, estimated=False),
    "no mapping": End(puzzles, estimated=False),
}


@pytest.mark.parametrize("tells", [True, False], ids=["usage", "no usage"])
@pytest.mark.parametrize("path", [PIPE, TRANSLATION], ids=["pipe", "translation"])
@pytest.mark.parametrize("end", ENDS)
async def test_after_some_text(opened: Opener, end: str, path: str, tells: bool) -> None:
    row = ENDS[end]

    async def script(call: Call) -> None:
        await call.begin_stream()
        await call.event(TEXT)
        if tells:
            await call.event(USAGE)
        await asyncio.sleep(0.05)
        await row.then(call)

    def heard() -> bool:
        """Whether the gateway has read all that the charge is told of."""
        calls = gate.gateway.calls.values()
        return any(call.produced > 0 and (not tells or call.usage.get("output") == 5) for call in calls)

    gate = await opened(silent if end == "silence" else patient)
    gate.upstream.plays(script)
    await ask(gate, path, row, heard)
    spent = await gate.spent()
    charge = await gate.last_charge()
    fatal = path == TRANSLATION and end in ("no JSON", "no mapping")
    assert charge.estimated == (row.estimated or not tells or fatal)
    output = 5 if tells and not charge.estimated else 10
    assert charge.usage["output"] == output, "told, or what came where that is more"
    assert charge.usage["input"] == 10 if tells else 1 < charge.usage["input"] < 40
    assert spent == charge.usage["input"] * INPUT + output * OUTPUT
    assert gate.gateway.pool.states()["config:one"]["running"] == 0


NOTHING = {
    "status": says({"oops": {"kind": "x", "say": "no"}}, 500),
    "error in 200": says({"error": {"code": 1}, "oops": {"kind": "overloaded", "say": "full"}}),
    "reset": resets,
    "html": says(b"<html>", kind="text/html"),
    "silence": pauses,
}


@pytest.mark.parametrize("gone", [False, True], ids=["client waits", "client gone"])
@pytest.mark.parametrize("headers", [False, True], ids=["before headers", "after headers"])
@pytest.mark.parametrize("path", [PIPE, TRANSLATION], ids=["pipe", "translation"])
@pytest.mark.parametrize("end", [*NOTHING, "cut", "error event", "key refused", "first event"])
async def test_before_any_text(opened: Opener, end: str, path: str, headers: bool, gone: bool) -> None:
    async def script(call: Call) -> None:
        if end in NOTHING and not headers:
            return await NOTHING[end](call)
        await call.begin_stream()
        if end == "first event":
            await call.event({"id": "talk_1"})
        then = {"cut": closes, "error event": fails, "key refused": refuses_the_key}
        return await then.get(end, pauses if end in ("silence", "first event") else breaks)(call)

    gate = await opened(once if end in ("silence", "first event") and not gone else patient)
    gate.upstream.plays(script)
    await ask(gate, path, End(script, leaves=gone))
    assert await gate.spent() == 0
    assert gate.gateway.pool.states()["config:one"]["running"] == 0


async def test_text_that_came_with_what_ended_it_was_told_to_nobody(opened: Opener) -> None:
    async def script(call: Call) -> None:
        await call.begin_stream()
        await call.chunk(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (TEXT, {"strange": 1})))
        await call.end_stream()

    gate = await opened(patient)
    gate.upstream.plays(script)
    answer = await gate.client.post(TRANSLATION, json={"lines": ["hi"]})
    assert answer.status_code == 502
    assert await gate.spent() == 0


@pytest.mark.parametrize("path", ["/talk", "/notes/plain"], ids=["pipe", "translation"])
@pytest.mark.parametrize("end", ["whole", "no usage", "broken", "no mapping", *NOTHING])
async def test_answers_in_one_piece(opened: Opener, end: str, path: str) -> None:
    async def half(call: Call) -> None:
        await call.raw(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        call.reset()

    scripts = {
        "whole": says(SAID),
        "no usage": says({name: value for name, value in SAID.items() if name != "usage"}),
        "broken": half,
        "no mapping": says([1]),
        **NOTHING,
    }
    gate = await opened(once if end == "silence" else patient)
    gate.upstream.plays(scripts[end])
    body: dict[str, Any] = (
        {"lines": ["hi"]} if path != "/talk" else {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
    )
    await gate.client.post(path, json=body)
    spent = await gate.spent()
    if end == "whole":
        assert spent == COST
    elif end == "no usage":
        assert (await gate.last_charge()).estimated
        assert spent > 0
    else:
        assert spent == 0


def once(value: dict[str, Any]) -> None:
    value["retry"] = {"attempts": 1}
    value["providers"]["one"]["timeouts"] = {"connect": 5, "first_byte": 0.3, "idle": 0.3}


def patient(value: dict[str, Any]) -> None:
    value["retry"] = {"attempts": 1}


def silent(value: dict[str, Any]) -> None:
    patient(value)
    value["providers"]["one"]["timeouts"] = {"connect": 30, "first_byte": 30, "idle": 0.3}


async def ask(gate: Gate, path: str, end: End, heard: Callable[[], bool] | None = None) -> None:
    """Until the stream is over, or the client leaves: once the gateway has heard enough, where that is told."""
    body: dict[str, Any] = {"lines": ["hi"]}
    if path == PIPE:
        body = {"model": "plain", "stream": True, "say": [{"who": "user", "text": "hi"}]}

    async def read() -> None:
        async with gate.client.stream("POST", path, json=body) as answer:
            async for _ in answer.aiter_bytes():
                seen.set()

    seen = asyncio.Event()
    asking = asyncio.create_task(read())
    await until(lambda: gate.upstream.calls or asking.done())
    if end.drains:
        await seen.wait()
        await until(heard or seen.is_set)
        for stream in list(gate.gateway.streams):
            stream.cut(shutting_down())
    if end.leaves and heard is not None:
        await seen.wait()
        await until(heard)
        asking.cancel()
    elif end.leaves:
        waiting = asyncio.create_task(seen.wait())
        await asyncio.wait({asking, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
        await asyncio.sleep(0.1 if seen.is_set() else 0)
        waiting.cancel()
        asking.cancel()
    await asyncio.wait({asking}, timeout=PATIENCE)
    await asyncio.gather(asking, return_exceptions=True)
