"""The gateway as it ships, on a real port, with every provider at the scripted stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import yaml
from conftest import CREDIT, until
from upstream import Upstream

from nexeon.config import load_config
from nexeon.gateway.gateway import Gateway
from nexeon.gateway.server.app import create_app, gateway_of, services_of
from nexeon.mapping import Library, load_library
from nexeon.store import open_store
from nexeon.store.guests import GuestStore
from tests.listening import listen
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "sdk" / "upstreams.yaml"
UPSTREAMS = sorted(yaml.safe_load(MODELS.read_text())["models"])
"""A model for every provider in each of its formats, named PROVIDER:FORMAT."""


@dataclass
class Shipped:
    """`client` sends the guest's key."""

    client: httpx.AsyncClient
    gateway: Gateway
    store: GuestStore
    account: str

    async def spent(self) -> int:
        """Nano-USD taken from the guest so far."""
        async with asyncio.timeout(PATIENCE):
            while (balance := await self.store.balance(self.account)).reserved:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return CREDIT - balance.balance


@cache
def library() -> Library:
    return load_library([ROOT / "mappings"])


@asynccontextmanager
async def shipped(upstream: Upstream, folder: Path, models: dict[str, object] | None = None) -> AsyncIterator[Shipped]:
    """`models`: more of them, as the configuration has them."""
    providers = yaml.safe_load((ROOT / "gateway.yaml").read_text())["providers"]
    local = {
        name: {"base_url": f"{upstream.url}/{name}", "api_key": f"{name}-secret-key", "key_rest": False}
        for name in providers
    }
    file = folder / "local.yaml"
    file.write_text(yaml.safe_dump({"providers": local, "store": {"url": "memory:"}, "models": models or {}}))
    config = load_config([ROOT / "gateway.yaml", MODELS, file], environ={})
    store = GuestStore(await open_store("memory:"))
    account, key = await store.welcome("guest", CREDIT)
    app = create_app(config, library(), store)
    serving, url = await listen(app, config)
    client = httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE)
    try:
        await until(lambda: gateway_of(app).ready)
        yield Shipped(client, gateway_of(app), store, account.id)
    finally:
        await client.aclose()
        await serving.finish()
        await services_of(app).stop()
        await store.close()
