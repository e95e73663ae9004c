"""Tool loops with thinking on, over HTTP, for every client format and every provider in each of its formats, against a
stand-in that is as strict about seals as the providers are."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import hypercorn.asyncio
import pytest
import yaml
from conftest import CREDIT, until
from loop_clients import CLIENTS, LoopClient
from strict import ANSWER, Strict
from upstream import Upstream

from nexeon.config import load_config
from nexeon.gateway.app import create_app, gateway_of
from nexeon.gateway.serve import hypercorn_config
from nexeon.mapping import Library, load_library
from nexeon.store import open_store
from nexeon.store.guests import GuestStore

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "sdk" / "upstreams.yaml"
UPSTREAMS = sorted(yaml.safe_load(MODELS.read_text())["models"])
CALLS = [("weather", {"city": "Äa"}), ("weather", {"city": "b"}), ("now", {})]

Opener = Callable[[Strict], Awaitable[httpx.AsyncClient]]


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library([ROOT / "mappings"])


@pytest.fixture
async def opened(library: Library, upstream: Upstream, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the shipped gateway, with every provider at the stand-in."""
    ending = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []
    closing: list[Callable[[], Awaitable[None]]] = []

    async def start(strict: Strict) -> httpx.AsyncClient:
        upstream.plays(strict)
        providers = yaml.safe_load((ROOT / "gateway.yaml").read_text())["providers"]
        local = {name: {"base_url": f"{upstream.url}/{name}", "api_key": f"{name}-secret-key"} for name in providers}
        file = tmp_path / "local.yaml"
        file.write_text(yaml.safe_dump({"providers": local, "store": {"url": "memory:"}}))
        config = load_config([ROOT / "gateway.yaml", MODELS, file], environ={})
        store = GuestStore(await open_store("memory:"))
        _, key = await store.welcome("guest", CREDIT)
        app = create_app(config, library, store)
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = hypercorn_config(config)
        settings.bind = [f"fd://{listener.detach()}"]
        settings.graceful_timeout = 0.2
        tasks.append(asyncio.create_task(hypercorn.asyncio.serve(app, settings, shutdown_trigger=ending.wait)))
        client = httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=20)
        closing.extend([client.aclose, lambda: asyncio.wait_for(gateway_of(app).stop(), 20), store.close])
        await until(lambda: gateway_of(app).ready)
        return client

    yield start
    ending.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    for close in closing:
        await close()


def streaming(stream: bool) -> str:
    return "sse" if stream else "json"


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("stream", [False, True], ids=streaming)
@pytest.mark.parametrize("format", CLIENTS)
async def test_a_tool_loop_keeps_its_seals(opened: Opener, format: str, stream: bool, keeps: bool) -> None:
    strict = Strict(ids=not keeps)  # whoever drops seals needs at least a name for the call
    http = await opened(strict)

    async def loop(model: str) -> tuple[str, list[Any]]:
        client = CLIENTS[format](http, model, stream=stream, keeps=keeps)
        return await client.ask("What is the weather?") + await client.ask("And now?"), client.calls

    loops = await asyncio.gather(*[loop(model) for model in UPSTREAMS], return_exceptions=True)
    wanted = (ANSWER + ANSWER, CALLS + CALLS)
    wrong = {model: end for model, end in zip(UPSTREAMS, loops, strict=True) if end != wanted}
    assert not wrong, "\n".join(f"{model}: {end!r}" for model, end in wrong.items())
    assert strict.refusals == []


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("stream", [False, True], ids=streaming)
@pytest.mark.parametrize("format", CLIENTS)
async def test_a_conversation_may_change_its_provider(opened: Opener, format: str, stream: bool, keeps: bool) -> None:
    """Each question goes to another provider; what the earlier ones sealed is left out, and their calls stay."""
    strict = Strict(foreign=True)
    http = await opened(strict)

    async def wander(first: int) -> str:
        client: LoopClient = CLIENTS[format](http, UPSTREAMS[first], stream=stream, keeps=keeps)
        text = await client.ask("What is the weather?")
        for step in (1, 4):
            client.model = UPSTREAMS[(first + step) % len(UPSTREAMS)]
            text += await client.ask("And now?")
        client.model = UPSTREAMS[first]
        return text + await client.ask("And here?")

    ends = await asyncio.gather(*[wander(first) for first in range(len(UPSTREAMS))], return_exceptions=True)
    wrong = {model: end for model, end in zip(UPSTREAMS, ends, strict=True) if end != ANSWER * 4}
    assert not wrong, "\n".join(f"{model}: {end!r}" for model, end in wrong.items())
    assert strict.refusals == []
