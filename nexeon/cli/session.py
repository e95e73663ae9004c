"""One command's conversation with the admin service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from nexeon.cli.options import given

if TYPE_CHECKING:
    from nexeon.admin.client import AdminClient
    from nexeon.admin.provider_keys import Probe
    from nexeon.config import Config
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

        config = options.config()
        client = await connect_running(config.store.url, socket=config.admin.socket)
        if client is None:
            return None
        try:
            return await client.call(method, **params)
        finally:
            await client.close()

    return asyncio.run(run())


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

        if options.url:
            client = connect_http(options.url, options.token)
        else:
            config = options.config()
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
