"""Which target is tried first: by the model's strategy, those whose circuit is open last."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from nexeon.config import Strategy
from nexeon.gateway.pool.health import TargetHealth
from nexeon.gateway.price import cost
from nexeon.gateway.target import Plan


def ordered(
    plans: Sequence[Plan],
    strategy: Strategy,
    health: TargetHealth,
    usage: Mapping[str, Any],
    rng: random.Random,
    *,
    stream: bool = False,
) -> list[Plan]:
    """The targets of one model in the order to try them; `usage` is the request's estimate, `stream` says whether it
    is how soon a stream begins that counts."""
    if len(plans) < 2:
        return list(plans)
    match strategy:
        case "weighted":
            # the order of a draw without replacement (Efraimidis and Spirakis)
            keys = {id(plan): rng.random() ** (1 / plan.target.weight) if plan.target.weight else -1 for plan in plans}
            found = sorted(plans, key=lambda plan: -keys[id(plan)])
        case "least_latency":
            # the unknown first: else they would stay unknown
            found = sorted(plans, key=lambda plan: health.latency(plan.target, stream=stream) or 0.0)
        case "cheapest":
            found = sorted(plans, key=lambda plan: cost(plan.target.price, usage))
        case _:
            found = list(plans)
    return sorted(found, key=lambda plan: health.open(plan.target))
