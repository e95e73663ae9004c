"""A gateway on a real port, in front of a scripted provider, with two small formats of the tests' own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from upstream import Upstream

from nexeon.config import load_config
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.server.app import create_app, gateway_of, services_of
from nexeon.mapping import load_library
from nexeon.store import Balance, open_store, to_nano
from nexeon.store.guests import GuestStore
from nexeon.store.requests import RequestLog
from tests.listening import listen
from tests.patience import PATIENCE, until

FIXTURES = Path(__file__).parent / "fixtures"
CREDIT = to_nano("1000")


def settings(upstream: str) -> dict[str, Any]:
    """The configuration; money in round numbers: input 1 USD per million, output 2, so 1000 and 2000 nano a token."""
    provider = {
        "base_url": upstream + "/base",
        "formats": ["talk"],
        "auth": {"header": "x-secret", "value": "Key {{ key }}"},
        "headers": {"x-version": "7"},
        "api_key": "provider-secret",
        "dialect": "plain",
        "timeouts": {"connect": 300, "first_byte": 300, "idle": 300},
    }
    price = {"input": 1, "cached_input": 0.5, "output": 2}
    model = {"owned_by": "tests", "created": 1700000000, "price": price, "max_output_tokens": 500}
    return {
        "server": {"port": 0, "keepalive": 0},
        "mappings": [str(FIXTURES / "mappings")],
        "routes": [
            {"path": "/talk", "format": "talk"},
            {"path": "/notes/{model}/stream", "format": "note", "stream": True},
            {"path": "/notes/{model}", "format": "note", "stream": False},
        ],
        "providers": {
            "one": provider,
            "noter": {**provider, "base_url": upstream + "/noter", "formats": ["note"], "api_key": "noter-secret"},
        },
        "models": {
            "plain": {**model, "targets": [{"provider": "one", "model": "plain-up"}]},
            "strict": {**model, "targets": [{"provider": "one", "model": "strict-up"}]},
            "noted": {**model, "targets": [{"provider": "noter", "model": "noted-up"}]},
            "both": {
                **model,
                "targets": [{"provider": "one", "model": "a"}, {"provider": "noter", "model": "b"}],
            },
            "with/slash": {**model, "aliases": ["nick"], "targets": [{"provider": "noter", "model": "s/up"}]},
        },
    }


@dataclass
class Gate:
    """A running gateway. `client` sends the guest's key."""

    client: httpx.AsyncClient
    gateway: Gateway
    upstream: Upstream
    store: GuestStore
    account: str
    key: str
    url: str
    stop: Callable[[], Awaitable[None]]
    log: RequestLog
    extra: dict[str, Any] = field(default_factory=dict)

    async def talk(self, model: str = "plain", **more: Any) -> httpx.Response:
        return await self.client.post("/talk", json={"model": model, "say": [{"who": "user", "text": "hi"}], **more})

    async def spent(self) -> int:
        """Nano-USD taken from the guest so far, once nothing is under way."""
        await self.released()
        return CREDIT - (await self.balance()).balance

    async def released(self) -> None:
        """Waits until no credit is held any more."""
        async with asyncio.timeout(PATIENCE):
            while (await self.balance()).reserved:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def balance(self) -> Balance:
        return await self.store.balance(self.account)

    async def last_charge(self) -> Any:
        return next(entry for entry in await self.store.ledger(self.account) if entry.kind == "charge")


Opener = Callable[..., Awaitable[Gate]]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def opened(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens gateways: `await opened(change, credit=…)`, where `change` alters the settings in place."""
    stops: list[Callable[[], Awaitable[None]]] = []

    async def start(change: Callable[[dict[str, Any]], object] | None = None, *, credit: int = CREDIT) -> Gate:
        value = settings(upstream.url)
        if change is not None:
            change(value)
        file = tmp_path / f"gateway{len(stops)}.yaml"
        file.write_text(yaml.safe_dump(value, sort_keys=False))
        config = load_config([file], environ={})
        library = load_library(config.mappings)
        store = GuestStore(await open_store("memory:"))
        account, key = await store.welcome("guest", credit)
        log = RequestLog(None, bodies=True)
        app = create_app(config, library, store, log=log)
        serving, url = await listen(app, config)
        client = httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE)
        stopped = False

        async def stop() -> None:
            nonlocal stopped
            if stopped:
                return
            stopped = True
            await client.aclose()
            await serving.finish()
            await services_of(app).stop()
            await log.close()
            await store.close()

        stops.append(stop)
        await until(lambda: gateway_of(app).ready)
        return Gate(client, gateway_of(app), upstream, store, account.id, key, url, stop, log)

    yield start
    for stop in stops:
        await stop()


@pytest.fixture
async def gate(opened: Opener) -> Gate:
    return await opened()
