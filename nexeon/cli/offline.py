"""`serve --sandbox`: every provider is the offline upstream, and a guest with credit may ask any model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import click

from nexeon.config import Config
from nexeon.sandbox import SandboxServer
from nexeon.store import Store, to_nano
from nexeon.store.guests import GuestStore

_CREDIT: Final = "100"
_CHAT: Final = "/v1/chat/completions"


class Offline:
    """An overlay for `nexeon.gateway.serve`: nothing of it outlives the process."""

    def __init__(self) -> None:
        self._server = SandboxServer()
        self._config: Config | None = None
        self._secret = ""

    async def start(self, config: Config) -> Config:
        base = await self._server.start()
        providers = {
            name: replace(provider, base_url=f"{base}/{name}", api_key="offline", proxy=None)
            for name, provider in config.providers.items()
        }
        self._config = replace(config, providers=providers)
        return self._config

    async def wrap(self, store: Store) -> Store:
        guests = GuestStore(store)
        account, self._secret = await guests.welcome("sandbox", to_nano(_CREDIT))
        click.echo(f"sandbox account {account.id} with {_CREDIT} USD, key {self._secret}", err=True)
        return guests

    async def listening(self, url: str) -> None:
        """The one line of stdout."""
        click.echo(self._curl(url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")))

    async def stop(self) -> None:
        await self._server.stop()

    def _curl(self, url: str) -> str:
        assert self._config is not None
        model = next(iter(self._config.models), None)
        if model is None or not any(route.path == _CHAT for route in self._config.routes):
            return f"curl {url}/v1/models -H 'Authorization: Bearer {self._secret}'"
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello!"}]})
        return (
            f"curl {url}{_CHAT} -H 'Content-Type: application/json' "
            f"-H 'Authorization: Bearer {self._secret}' -d '{body}'"
        )
