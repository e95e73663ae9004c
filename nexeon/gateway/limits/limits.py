"""Limits of keys, accounts and models: requests and tokens a minute and a day, and calls at once.

Token limits work as credit does: the estimate is taken at the start, what was used is put in its place at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple

from nexeon.config import DefaultLimits, Limits
from nexeon.errors import RequestError
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.limits.ratelimit import limit_headers
from nexeon.gateway.limits.windows import HELD, Claim, Exceeded, Level, Windows
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.price import input_total
from nexeon.store import Account, ApiKey


class _Kind(NamedTuple):
    """One of the limits: the field that holds it, what it counts, in which window, and how people say that."""

    field: str
    unit: str
    seconds: float
    words: str


_KINDS: Final = (
    _Kind("rpm", "requests", 60.0, "requests per minute"),
    _Kind("tpm", "tokens", 60.0, "tokens per minute"),
    _Kind("rpd", "requests", 86_400.0, "requests per day"),
    _Kind("tpd", "tokens", 86_400.0, "tokens per day"),
    _Kind("concurrency", "calls", HELD, "requests at once"),
)


_amounts: Final = attrgetter(*(kind.field for kind in _KINDS))


class _Limit(NamedTuple):
    scope: str
    kind: _Kind
    claim: Claim


class Limiter:
    """Admits calls within the limits of their key, its account and the model."""

    def __init__(self, windows: Windows, defaults: DefaultLimits, metrics: Metrics) -> None:
        self._windows = windows
        self._defaults = defaults
        self._metrics = metrics

    async def admit(self, exchange: Exchange) -> None:
        """Takes what the call may use, until it is settled; sets the headers that tell where the limits stand.

        Raises RequestError 429 with the time after which asking again makes sense.
        """
        assert exchange.model is not None
        tokens = exchange.input_tokens + exchange.output_tokens
        found = [
            *_limits("key", exchange.key.id, exchange.key, self._defaults.key, tokens),
            *_limits("account", exchange.account.id, exchange.account, self._defaults.account, tokens),
            *_limits("model", exchange.model.id, exchange.model.limits, Limits(), tokens),
        ]
        if not found:
            return
        claims = [limit.claim for limit in found]
        try:
            taken = await self._windows.take(claims)
        except Exceeded as refused:
            limit = next(limit for limit in found if limit.claim is refused.level.claim)
            self._metrics.limited(limit.scope, limit.kind.unit)
            exchange.limit_headers = _headers(exchange, [(limit, refused.level)])
            raise _refusal(exchange, limit, refused) from None
        exchange.limit_headers = _headers(exchange, zip(found, taken.levels, strict=True))

        async def settle(usage: Mapping[str, Any]) -> None:
            used = input_total(usage) + int(usage.get("output") or 0)
            amounts = [used if limit.kind.unit == "tokens" else limit.claim.amount for limit in found]
            await self._windows.settle(taken, amounts)

        exchange.closing.append(settle)


def _limits(
    scope: str, name: str, record: ApiKey | Account | Limits, defaults: Limits, tokens: int
) -> Iterable[_Limit]:
    for kind, own, default in zip(_KINDS, _amounts(record), _amounts(defaults), strict=True):
        limit = default if own is None else own
        if limit is not None:
            amount = tokens if kind.unit == "tokens" else 1
            yield _Limit(scope, kind, Claim(f"{scope}:{name}:{kind.unit}", limit, kind.seconds, amount))


def _headers(exchange: Exchange, levels: Iterable[tuple[_Limit, Level]]) -> dict[str, str]:
    """The limit that is nearest to its end is the one to tell."""
    tightest: dict[str, Level] = {}
    for limit, level in levels:
        known = tightest.get(limit.kind.unit)
        if known is None or level.left < known.left:
            tightest[limit.kind.unit] = level
    return limit_headers(exchange.format.wire.limits, tightest.get("requests"), tightest.get("tokens"))


def _refusal(exchange: Exchange, limit: _Limit, refused: Exceeded) -> RequestError:
    whose = f"model '{exchange.model.id}'" if limit.scope == "model" and exchange.model else f"this {limit.scope}"
    if limit.scope == "key":
        whose = "this API key"
    return RequestError(
        429,
        "rate_limit",
        f"{whose} is limited to {limit.claim.limit} {limit.kind.words}",
        code="rate_limit_exceeded",
        retry_after=refused.wait,
    )
