"""One command's conversation with the admin service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nexeon.cli.options import Given, given
from nexeon.cli.output import tell

if TYPE_CHECKING:
    from nexeon.admin.client import AdminClient
    from nexeon.admin.provider_keys import Probe
    from nexeon.config import Config
    from nexeon.errors import ConfigError
    from nexeon.store.sqlite import Place

T = TypeVar("T")


def call(method: str, /, **params: Any) -> Any:
    """Runs one operation of the admin service. Raises NexeonError."""
    return with_client(lambda client: client.call(method, **params))


def asked_of_running(method: str, /, **params: Any) -> Any | None:
    """The same of a gateway that runs, without a look at the store; None where none does."""
    options = given()
    if options.url:
        return call(method, **params)

    async def run() -> Any | None:
        from nexeon.admin.client import connect_running
        from nexeon.errors import ConfigError

        try:
            config = options.config()
        except ConfigError as error:
            client = await _running_without(options, error)
        else:
            running = await connect_running(config.store.url, socket=config.admin.socket)
            if running is None:
                return None
            client = running
        try:
            return await client.call(method, **params)
        finally:
            await client.close()

    return asyncio.run(run())


async def _running_without(options: Given, error: ConfigError) -> AdminClient:
    """The gateway that runs where the files say, though they cannot be used: it goes on with what it has taken up.
    Raises the error where none does."""
    from nexeon.admin.client import connect_running
    from nexeon.config import load_place

    place = load_place(options.files or None)
    client = await connect_running(place.store.url, socket=place.admin.socket) if place is not None else None
    if client is None:
        raise error
    for problem in error.problems:
        tell(f"nexeon: {problem}")
    tell("nexeon: the gateway that runs is asked; it goes on with the configuration that it has")
    return client


def listing(method: str, /, *, most: int | None = None, **params: Any) -> list[dict[str, Any]]:
    """Every item of a listing operation, or the first `most`."""

    async def collect(client: AdminClient) -> list[dict[str, Any]]:
        from nexeon.admin.client import pages

        items: list[dict[str, Any]] = []
        async for item in pages(client, method, **params):
            if len(items) == most:
                break
            items.append(item)
        return items

    return with_client(collect)


async def erase(place: Place, account: str) -> None:
    """Deletes what an account has kept in a store's place."""
    from nexeon.gateway.erase import erase_in  # slow to import, and seldom asked for

    await erase_in(place, account)


def with_client(work: Callable[[AdminClient], Awaitable[T]], *, probe: Callable[[Config], Probe] | None = None) -> T:
    """`probe` makes what tries provider keys, for when this process holds the store itself."""
    options = given()

    async def run() -> T:
        from nexeon.admin.client import connect, connect_http
        from nexeon.errors import ConfigError

        if options.url:
            client = connect_http(options.url, options.token)
        else:
            try:
                config = options.config()
            except ConfigError as error:
                client = await _running_without(options, error)
            else:
                client = await connect(
                    config.store.url,
                    socket=config.admin.socket,
                    config=config,
                    probe=probe(config) if probe else None,
                    erase=erase,
                )
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(run())
