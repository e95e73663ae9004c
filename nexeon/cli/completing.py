"""What a shell offers for an argument: names of the configuration, and of what is administered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from nexeon.cli.options import Given, given
from nexeon.errors import NexeonError

if TYPE_CHECKING:
    from nexeon.config import Config

Complete = Callable[[click.Context, click.Parameter, str], list[str]]

_MOST: Final = 100
"""Names that are offered at once."""

_SCOPES: Final = ("read", "endpoint:", "provider:", "ip:")


def _configured(names: Callable[[Config], Iterable[str]]) -> Complete:
    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            found = names(given(ctx).config())
        except NexeonError:
            return []
        return [name for name in dict.fromkeys(found) if name.startswith(incomplete)]

    return complete


complete_models = _configured(lambda config: config.models)
complete_providers = _configured(lambda config: config.providers)
complete_formats = _configured(lambda config: [route.format for route in config.routes])


def _one_of(*words: str) -> Complete:
    return lambda ctx, parameter, incomplete: [word for word in words if word.startswith(incomplete)]


complete_periods = _one_of("day", "week", "month")
complete_groups = _one_of("day", "account", "key", "model", "provider")
complete_scopes = _one_of(*_SCOPES)


def _administered(method: str, name: str, *, searched: bool = True) -> Complete:
    """Of the gateway that runs, or of the store while nobody holds it: who presses Tab does not wait for that."""

    async def ask(options: Given, config: Config | None, params: dict[str, Any]) -> Any:
        from nexeon.admin.client import connect, connect_http

        if config is None:
            client = connect_http(options.url, options.token)
        else:
            client = await connect(config.store.url, socket=config.admin.socket, config=config, wait=0)
        try:
            return (await client.call(method, **params))["items"]
        finally:
            await client.close()

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        params: dict[str, Any] = {"limit": _MOST} if searched else {}
        if searched and incomplete:
            params["search"] = incomplete
        try:
            options = given(ctx)
            config = None if options.url else options.config()
            engine, _, folder = config.store.url.partition(":") if config is not None else ("", "", "")
            if engine == "tinydb" and not Path(folder).exists():  # asking would make it
                return []
            items = asyncio.run(ask(options, config, params))
        except NexeonError:
            return []
        # A shell takes a line for a word, and a tab for its end.
        names = (each[name] if each[name] and each[name].isprintable() else each["id"] for each in items)
        ids = (each["id"] for each in items if incomplete)
        return [word for word in dict.fromkeys((*names, *ids)) if word.startswith(incomplete)]

    return complete


complete_accounts = _administered("accounts.list", "name")
complete_keys = _administered("keys.list", "name")
complete_provider_keys = _administered("provider_keys.list", "label", searched=False)
