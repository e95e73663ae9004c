"""Tool loops with thinking on, over HTTP, for every client format and every provider in each of its formats, against a
stand-in that is as strict about seals as the providers are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from loop_clients import CLIENTS, LoopClient
from shipped import UPSTREAMS, shipped
from strict import ANSWER, Strict
from upstream import Upstream

CALLS = [("weather", {"city": "Äa"}), ("weather", {"city": "b"}), ("now", {})]


def streaming(stream: bool) -> str:
    return "sse" if stream else "json"


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("stream", [False, True], ids=streaming)
@pytest.mark.parametrize("format", CLIENTS)
async def test_a_tool_loop_keeps_its_seals(
    upstream: Upstream, tmp_path: Path, format: str, stream: bool, keeps: bool
) -> None:
    strict = Strict(ids=not keeps)  # whoever drops seals needs at least a name for the call
    upstream.plays(strict)

    async def loop(model: str) -> tuple[str, list[Any]]:
        client = CLIENTS[format](gate.client, model, stream=stream, keeps=keeps)
        return await client.ask("What is the weather?") + await client.ask("And now?"), client.calls

    async with shipped(upstream, tmp_path) as gate:
        loops = await asyncio.gather(*[loop(model) for model in UPSTREAMS], return_exceptions=True)
    wanted = (ANSWER + ANSWER, CALLS + CALLS)
    wrong = {model: end for model, end in zip(UPSTREAMS, loops, strict=True) if end != wanted}
    assert not wrong, "\n".join(f"{model}: {end!r}" for model, end in wrong.items())
    assert strict.refusals == []


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("stream", [False, True], ids=streaming)
@pytest.mark.parametrize("format", CLIENTS)
async def test_a_conversation_may_change_its_provider(
    upstream: Upstream, tmp_path: Path, format: str, stream: bool, keeps: bool
) -> None:
    """Each question goes to another provider; what the earlier ones sealed is left out, and their calls stay."""
    strict = Strict(foreign=True)
    upstream.plays(strict)

    async def wander(first: int) -> str:
        client: LoopClient = CLIENTS[format](gate.client, UPSTREAMS[first], stream=stream, keeps=keeps)
        text = await client.ask("What is the weather?")
        for step in (1, 4):
            client.model = UPSTREAMS[(first + step) % len(UPSTREAMS)]
            text += await client.ask("And now?")
        client.model = UPSTREAMS[first]
        return text + await client.ask("And here?")

    async with shipped(upstream, tmp_path) as gate:
        ends = await asyncio.gather(*[wander(first) for first in range(len(UPSTREAMS))], return_exceptions=True)
    wrong = {model: end for model, end in zip(UPSTREAMS, ends, strict=True) if end != ANSWER * 4}
    assert not wrong, "\n".join(f"{model}: {end!r}" for model, end in wrong.items())
    assert strict.refusals == []
