"""What the scripted provider does in the tests."""

from __future__ import annotations

import asyncio
from typing import Any

from upstream import Call, Script

SAID = {"id": "talk_abc", "text": "hello", "end": "stop", "usage": {"in": 10, "out": 5}, "model": "plain-up"}
NOTED = {"note": "hello", "cut": False, "tokens": [10, 5]}
COST = 10 * 1000 + 5 * 2000
"""Nano-USD of either."""

EVENTS: list[Any] = [{"id": "talk_abc"}, {"text": "hel"}, {"text": "lo"}, {"end": "stop"}]
USAGE = {"usage": {"in": 10, "out": 5}}


def says(
    body: Any = SAID, status: int = 200, headers: dict[str, str] | None = None, kind: str = "application/json"
) -> Script:
    async def script(call: Call) -> None:
        await call.answer(body, status, headers, kind)

    return script


def streams(*events: Any, end: bytes | None = b"[END]", pause: float = 0.0) -> Script:
    async def script(call: Call) -> None:
        await call.begin_stream()
        for event in events:
            await call.event(event)
            if pause:
                await asyncio.sleep(pause)
        if end is not None:
            await call.event(end)
        await call.end_stream()

    return script


def talks() -> Script:
    """A whole answer in either mode, as a provider of the format gives it."""

    async def script(call: Call) -> None:
        if call.json.get("stream"):
            usage = [USAGE] if call.json.get("options", {}).get("usage") else []
            await streams(*EVENTS, *usage)(call)
        else:
            await call.answer(SAID)

    return script


def notes() -> Script:
    async def script(call: Call) -> None:
        if "/stream" in call.path:
            events = [{"type": "begin"}, {"type": "words", "words": "hel"}, {"type": "words", "words": "lo"}]
            await streams(*events, {"type": "finish", "tokens": [10, 5]}, end=None)(call)
        else:
            await call.answer(NOTED)

    return script


async def resets(call: Call) -> None:
    call.reset()


async def hangs(call: Call) -> None:
    await call.wait_left()
