"""What the key may do, and the credit that the call will need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nexeon.config import Config, Model
from nexeon.errors import BudgetExceeded, InsufficientCredit, NotFound, RequestError, StoreUnavailable
from nexeon.gateway.authenticate import not_permitted
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failover import Group
from nexeon.gateway.price import cost
from nexeon.gateway.settle import HOLD
from nexeon.gateway.several import MOST, answers_wanted
from nexeon.gateway.target import Plan
from nexeon.mapping.format import Format
from nexeon.store import ApiKey, Detail, Store, to_usd
from nexeon.store.permission import permitted


def may_use(key: ApiKey, model: Model) -> bool:
    """Whether the key may use the model, by its id or an alias, at one of its providers at least."""
    if permitted(key, model=(model.id, *model.aliases)) is not None:
        return False
    return any(permitted(key, provider=target.provider) is None for target in model.targets)


def resolve(config: Config, key: ApiKey, name: str) -> Model:
    """The model that a client names. Raises RequestError: 404 unknown, 403 not for this key."""
    model = config.model(name)
    if model is None:
        raise not_available(name)
    refusal = permitted(key, model=(model.id, *model.aliases))
    if refusal is not None:
        raise not_permitted(refusal, param="model", code="model_not_permitted")
    return model


def permitted_plans(key: ApiKey, plans: list[Plan]) -> list[Plan]:
    """The targets at providers that the key may use. Raises RequestError 403 where there is none."""
    if not key.scopes:
        return plans
    refusals = {plan.name: permitted(key, provider=plan.name) for plan in plans}
    allowed = [plan for plan in plans if refusals[plan.name] is None]
    if not allowed:
        raise not_permitted(next(filter(None, refusals.values()), "this API key may use no provider of this model"))
    return allowed


def groups(config: Config, key: ApiKey, model: Model, plans_of: Callable[[Model], list[Plan]]) -> list[Group]:
    """The model and its fall-backs, as far as the key may use them. Raises RequestError 403 where it may use none."""
    found = [Group(model, permitted_plans(key, plans_of(model)))]
    for name in model.fallbacks:
        other = config.model(name)
        if other is not None and may_use(key, other):
            found.append(Group(other, permitted_plans(key, plans_of(other))))
    return found


def not_available(name: str) -> RequestError:
    shown = name if len(name) <= 200 else name[:200] + "…"
    return RequestError(
        404, "model_not_found", f"Model '{shown}' is not available", param="model", code="model_not_found",
        retryable=False,
    )  # fmt: skip


def estimate(config: Config, exchange: Exchange) -> None:
    """What the call may use at most, as far as the request tells."""
    assert exchange.model is not None
    answers = min(answers_wanted(exchange.format.wire.request, exchange.body)[0], MOST)
    exchange.input_tokens = input_tokens(config, exchange.size, exchange.model) * answers
    exchange.output_tokens = output_tokens(config, exchange.format, exchange) * answers


async def reserve(store: Store, exchange: Exchange, groups: Sequence[Group]) -> None:
    """Holds the credit that the call may need, wherever it is answered.

    Raises RequestError: 402, or 503 where the store cannot be written.
    """
    model = exchange.model
    assert model is not None
    usage = {"input": exchange.input_tokens, "output": exchange.output_tokens}
    at = usage | tier_asked(exchange.format, exchange.body)
    amount = max(cost(plan.target.price, at) for group in groups for plan in group.plans)
    detail: Detail = {"request": exchange.id, "model": model.id, "usage": usage}
    try:
        exchange.reservation = await store.reserve(
            exchange.account.id, exchange.key.id, amount, ttl=HOLD, detail=detail
        )
    except BudgetExceeded as error:
        raise RequestError(
            402,
            "billing",
            f"the budget of this API key{_period(error)} is used up: this request may cost up to "
            f"{to_usd(error.needed)} USD, {to_usd(error.available)} USD are left",
            code="budget_exceeded",
            retryable=False,
        ) from None
    except InsufficientCredit as error:
        raise RequestError(
            402,
            "billing",
            f"insufficient credits: this request may cost up to {to_usd(error.needed)} USD, "
            f"{to_usd(error.available)} USD are available",
            code="insufficient_credits",
            retryable=False,
        ) from None
    except NotFound:
        raise RequestError(401, "authentication", "this API key is not known here", code="invalid_api_key") from None
    except StoreUnavailable as error:
        raise RequestError(
            503, "unavailable", "credits cannot be booked at the moment", code="store_unavailable"
        ) from error


def _period(error: BudgetExceeded) -> str:
    if error.resets is None:
        return ""
    return f" for this {error.period} (until {datetime.fromtimestamp(error.resets, UTC):%Y-%m-%d %H:%M} UTC)"


def input_tokens(config: Config, size: int, model: Model) -> int:
    """An estimate from the body's size in bytes; images make it large, so the context window bounds it."""
    tokens = int(size / config.estimate.bytes_per_token) + 1
    return tokens if model.context_window is None else min(tokens, model.context_window)


def tier_asked(format: Format, body: Mapping[str, Any]) -> dict[str, str]:
    """The service tier that a client's body asks for, as usage names it; empty where it asks for none."""
    for path in format.wire.request.service_tier:
        if isinstance(tier := path.get(body), str):
            return {"service_tier": tier.lower()}
    return {}


def output_tokens(config: Config, format: Format, exchange: Exchange) -> int:
    """The request's own limit, else the model's, within the configured cap."""
    cap = config.estimate.max_output_tokens
    assert exchange.model is not None
    asked = [path.get(exchange.body) for path in format.wire.request.max_tokens]
    limits = [limit for limit in asked if type(limit) is int and limit > 0]
    limit = max(limits) if limits else exchange.model.max_output_tokens or cap
    return min(limit, cap)
