"""`nexeon serve --sandbox`: every provider's address becomes the offline upstream's; a guest with credit may call."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any, Final

import click

from nexeon.config import Config, Route
from nexeon.data import data_path
from nexeon.errors import AdminError
from nexeon.sandbox import SandboxServer
from nexeon.store.guests import GuestStore
from nexeon.store.money import NANO
from nexeon.store.protocol import Store

_GUEST: Final = "sandbox"
_CREDIT: Final = 1000 * NANO
_HELLO: Final = "Say hello in one sentence."


class Sandbox:
    """Stands between the configuration and the server for the life of the process."""

    def __init__(self) -> None:
        self._upstream = SandboxServer()
        self._config: Config | None = None
        self._url = ""
        self._account = ""
        self._key = ""

    async def start(self, config: Config) -> Config:
        """The configuration with offline providers. They need no key; what is configured must not be sent there."""
        try:
            url = await self._upstream.start()
        except OSError as error:
            raise AdminError(f"the offline upstream cannot listen: {error.strerror or error}") from error
        self._url = url
        return self.over(config)

    def over(self, config: Config) -> Config:
        """The same for another configuration, once started."""
        providers = {
            name: replace(
                provider,
                base_url=f"{self._url}/{name}",
                api_key=_GUEST,
                api_key_variable=None,
                keys=(),
                key_rest=False,
                proxy=None,
                probe="/models",
            )
            for name, provider in config.providers.items()
        }
        self._config = replace(config, providers=providers)
        return self._config

    async def wrap(self, store: Store) -> Store:
        """The store's own keys work beside the guest's."""
        guests = GuestStore(store)
        account, self._key = await guests.welcome(_GUEST, _CREDIT)
        self._account = account.id
        return guests

    async def listening(self, url: str) -> None:
        """Prints the guest, and a line that can be pasted."""
        click.echo(f"account {self._account}")
        click.echo(f"key {self._key}")
        if self._config is not None:
            click.echo(curl(self._config, url, self._key))

    async def stop(self) -> None:
        await self._upstream.stop()


def curl(config: Config, url: str, key: str) -> str:
    """A call of the first model on the first route that takes messages; without either, the list of models."""
    route = next(filter(_takes_messages, config.routes), None)
    model = next(iter(config.models), None)
    words = [
        "curl",
        "-sS",
        url + (route.path if route and model else "/v1/models"),
        "-H",
        f"Authorization: Bearer {key}",
    ]
    if route and model:
        body: dict[str, Any] = {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": _HELLO}]}
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return shlex.join(words)


def _takes_messages(route: Route) -> bool:
    """By the format's own schema: what a request looks like is a fact of the data."""
    file = data_path("schemas") / "formats" / route.format / "request.json"
    if "{" in route.path or not file.is_file():
        return False
    schema = json.loads(file.read_bytes())
    return "messages" in schema.get("properties", {}) and "model" in schema["properties"]
