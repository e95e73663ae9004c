"""The endpoints that are no format's: the key's account, health, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from nexeon.errors import AdminError, RequestError, StoreError
from nexeon.gateway.authenticate import authenticate
from nexeon.gateway.server.router import Endpoint
from nexeon.gateway.way import Incoming, Reply
from nexeon.store import Budget, to_usd
from nexeon.wire.json import dumps

if TYPE_CHECKING:
    from nexeon.gateway.gateway import Gateway


LIMITS: Final = ("rpm", "tpm", "rpd", "tpd", "concurrency")
_USAGE: Final = frozenset({"by", "model", "provider", "since", "until", "after", "limit"})


async def me(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`GET /v1/me`: amounts are decimal USD, exact."""
    key, account = authenticate(gateway, incoming, None, write=False)
    try:
        balance = await gateway.store.balance(account.id)
        budget = await gateway.store.budget(key.id)
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
                "overdraft": to_usd(balance.overdraft),
                "currency": "USD",
                "key": {
                    "id": key.id,
                    "name": key.name,
                    "models": list(key.models),
                    "scopes": list(key.scopes),
                    "expires": key.expires,
                    "limits": {name: getattr(key, name) for name in LIMITS},
                    "budget": _budget(budget),
                },
            }
        ),
    )


def _budget(budget: Budget) -> dict[str, Any] | None:
    """USD; `resets` in Unix seconds."""
    if budget.limit is None or budget.left is None:
        return None
    return {
        "limit": to_usd(budget.limit),
        "period": budget.period or None,
        "spent": to_usd(budget.spent),
        "reserved": to_usd(budget.reserved),
        "left": to_usd(max(0, budget.left)),
        "resets": budget.resets,
    }


async def usage(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """`GET /v1/usage`: of this key, by day; `by`, `model`, `provider`, `since`, `until`, `after` and `limit` as the
    operator has them, `of=account` for all keys of the account."""
    key, account = authenticate(gateway, incoming, None, write=False)
    asked = {name: value for name, value in incoming.query.items() if name in _USAGE}
    # The account is always named: its rows are found by an index.
    whose = {"account": account.id} | ({} if incoming.query.get("of") == "account" else {"key": key.id})
    if gateway.admin is None:
        raise RequestError(503, "unavailable", "usage cannot be read at the moment")
    try:
        limit = {"limit": int(asked.pop("limit"))} if asked.get("limit", "").isdecimal() else {}
        page = await gateway.admin.usage.list(**asked, **limit, **whose)
    except AdminError as error:
        raise RequestError(400, "invalid_request", str(error), retryable=False) from None
    except StoreError as error:
        raise RequestError(503, "unavailable", "usage cannot be read at the moment") from error
    return Reply(200, dumps({"account": account.id, "key": key.id, "currency": "USD", **page}))


async def admin(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    """The admin service, for who has its token."""
    if gateway.admin_http is None:
        raise RequestError(503, "unavailable", "the admin service is not running")
    status, body = await gateway.admin_http.answer(
        incoming.method,
        incoming.raw_path,
        incoming.query,
        incoming.headers,
        await incoming.body(),
        peer=incoming.ip or "unknown",
    )
    return Reply(status, body, headers={"cache-control": "no-store"})


async def healthz(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    return Reply(200, b'{"status":"ok"}')


async def readyz(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    if gateway.ready:
        return Reply(200, b'{"status":"ready"}')
    return Reply(503, b'{"status":"not ready"}')


async def metrics(gateway: Gateway, incoming: Incoming, endpoint: Endpoint, path: Mapping[str, str]) -> Reply:
    services = gateway.services
    text = services.measured() if services.siblings is None else await services.siblings.measured()
    return Reply(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")
