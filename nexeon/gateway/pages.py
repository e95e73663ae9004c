"""The endpoints that are no format's: the key's account, health, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nexeon.errors import RequestError, StoreError
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.router import Endpoint
from nexeon.gateway.way import Incoming, Reply
from nexeon.store import to_usd
from nexeon.wire.json import dumps

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway


async def me(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`GET /v1/me`: amounts are decimal USD, exact."""
    key, account = authenticate(gateway.store, incoming, None, write=False)
    try:
        balance = await gateway.store.balance(account.id)
    except StoreError as error:
        raise RequestError(503, "unavailable", "the balance cannot be read at the moment") from error
    return Reply(
        200,
        dumps(
            {
                "account": account.id,
                "name": account.name,
                "balance": to_usd(balance.balance),
                "reserved": to_usd(balance.reserved),
                "available": to_usd(balance.available),
                "currency": "USD",
                "key": {
                    "id": key.id,
                    "name": key.name,
                    "models": list(key.models),
                    "scopes": list(key.scopes),
                    "expires": key.expires,
                },
            }
        ),
    )


async def healthz(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    return Reply(200, b'{"status":"ok"}')


async def readyz(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    if gateway.ready:
        return Reply(200, b'{"status":"ready"}')
    return Reply(503, b'{"status":"not ready"}')


async def metrics(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    return Reply(200, gateway.metrics.text(gateway.running).encode(), "text/plain; version=0.0.4; charset=utf-8")
