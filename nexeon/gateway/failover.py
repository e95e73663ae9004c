"""Keys, then targets, then fall-back models, then the same again a little later: until one answers, and only before the
client has a byte."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Final

from nexeon.config import Model, Retry
from nexeon.errors import RequestError
from nexeon.gateway.attempt import Attempt, JSONAnswer, StreamAnswer
from nexeon.gateway.exchange import Exchange, Tried
from nexeon.gateway.failure import AttemptFailed, Blame, no_active_key, rate_limited, refused_by_target
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.pool.health import TargetHealth
from nexeon.gateway.pool.leases import Lease
from nexeon.gateway.pool.provider_keys import KeyPool
from nexeon.gateway.pool.strategy import ordered
from nexeon.gateway.price import input_total
from nexeon.gateway.target import Plan, Preparer
from nexeon.gateway.upstream import Upstream

_BACK_OFF: Final = 0.25
_LONGEST_WAIT: Final = 5.0
_TIMED_OUT: Final = 504


@dataclass(frozen=True, slots=True)
class Group:
    """A model that may answer, and the targets at which it may."""

    model: Model
    plans: Sequence[Plan]


@dataclass(slots=True)
class _Search:
    """What has been tried for one request."""

    deadline: float
    worst: AttemptFailed | None = None
    unkeyed: RequestError | None = None
    out: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    waits: list[float] = field(default_factory=list)

    def note(self, failed: AttemptFailed) -> None:
        if self.worst is None or failed.blame >= self.worst.blame:
            self.worst = failed


class Failover:
    """Finds an answer for a request among its targets, within a budget of attempts and time."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        pool: KeyPool,
        health: TargetHealth,
        metrics: Metrics,
        *,
        retry: Retry,
        keepalive: float,
        clean: Callable[[str], str],
    ) -> None:
        """`clean` takes secrets out of what a provider says of a failure."""
        self._clean = clean
        self._upstreams = upstreams
        self._pool = pool
        self._health = health
        self._metrics = metrics
        self._retry = retry
        self._keepalive = keepalive
        self._rng = random.Random()

    async def answer(
        self, exchange: Exchange, groups: Sequence[Group], preparer: Preparer
    ) -> JSONAnswer | StreamAnswer:
        """Raises RequestError: the failure that tells the client most."""
        search = _Search(monotonic() + self._retry.seconds)
        ways = self._ways(exchange, groups)
        for number in range(self._retry.rounds):
            search.waits.clear()
            for model, plan in ways:
                if id(plan) in search.out:
                    continue
                found = await self._target(exchange, model, plan, preparer, search)
                if found is not None:
                    return found
            if not search.waits or self._spent(exchange, search) or number == self._retry.rounds - 1:
                break
            wait = max(min(search.waits), _BACK_OFF * 2**number * self._rng.uniform(0.5, 1.0))
            if wait > _LONGEST_WAIT or monotonic() + wait > search.deadline:
                break
            await asyncio.sleep(wait)
        if search.worst is not None:
            raise search.worst.error
        assert search.unkeyed is not None
        raise search.unkeyed

    def _ways(self, exchange: Exchange, groups: Sequence[Group]) -> list[tuple[Model, Plan]]:
        """The targets in order; those whose circuit is open last of all, as a last resort."""
        usage = {"input": exchange.input_tokens, "output": exchange.output_tokens}
        ways = [
            (group.model, plan)
            for group in groups
            for plan in ordered(
                group.plans, group.model.strategy, self._health, usage, self._rng, stream=exchange.stream
            )
        ]
        return ways if len(ways) < 2 else sorted(ways, key=lambda way: self._health.open(way[1].target))

    def _spent(self, exchange: Exchange, search: _Search) -> bool:
        """Whether the budget is used up; the first attempt is always made."""
        tried = len(exchange.attempts)
        return tried >= self._retry.attempts or (tried > 0 and monotonic() > search.deadline)

    async def _target(
        self, exchange: Exchange, model: Model, plan: Plan, preparer: Preparer, search: _Search
    ) -> JSONAnswer | StreamAnswer | None:
        """One target with each of its keys."""
        way = preparer.way(plan)
        leases = self._leases(exchange, way, preparer, search)
        if self._health.open(plan.target):
            search.out.add(id(plan))
        for lease in leases:
            if self._spent(exchange, search):
                return None
            try:
                prepared = await preparer.ready(way, lease)
            except RequestError as error:
                search.out.add(id(plan))
                search.note(refused_by_target(error))
                return None
            done = await self._pool.take(lease, plan.target.model, exchange.input_tokens + exchange.output_tokens)
            if done is None:
                search.note(_at_its_limit(plan, 1.0))
                continue
            exchange.target, exchange.provider, exchange.served = plan.target, plan.name, model
            exchange.usage, exchange.produced, exchange.complete = {}, 0, False
            self._health.begins(plan.target)
            began = monotonic()
            attempt = Attempt(exchange, way, prepared, lease, self._upstreams[plan.name], preparer.answer_context(way))
            try:
                answer = await (attempt.stream(self._keepalive) if exchange.stream else attempt.json())
            except AttemptFailed as failed:
                failed.without_secrets(self._clean)
                exchange.usage, exchange.produced, exchange.complete = {}, 0, False  # nothing of it was told
                done(0)
                self._note(exchange, plan, lease, failed.blame.name.lower(), failed.status, began)
                if not self._goes_on(failed, plan, lease, search):
                    return None
                continue
            except BaseException:  # the client left, or the gateway stops: that tells nothing about the target
                done(0)
                self._note(exchange, plan, lease, "cancelled", 0, began)
                self._health.spared(plan.target)
                raise
            exchange.closing.append(partial(_closed, done))
            self._note(exchange, plan, lease, "ok", 200, began)
            self._health.answered(plan.target, monotonic() - began, stream=exchange.stream)
            self._pool.worked(lease, plan.target.model)
            self._metrics.took("first", plan.name, model.id, monotonic() - exchange.started)
            return answer
        if leases:
            search.out.add(id(plan))
        return None

    def _leases(self, exchange: Exchange, plan: Plan, preparer: Preparer, search: _Search) -> list[Lease]:
        """The keys to try; where there are none, the search knows why."""
        choice = self._pool.choose(plan.provider, plan.target.model, conversation=exchange.conversation)
        if choice.leases:
            if len({lease.account for lease in choice.leases}) > 1:
                return _sealed_first(choice.leases, plan, preparer)
            return choice.leases
        search.out.add(id(plan))
        if choice.wait is not None:
            search.note(_at_its_limit(plan, choice.wait))
        elif search.unkeyed is None:
            reason = "the provider refused every key" if choice.known else ""
            search.unkeyed = no_active_key(plan.name, reason, variable=plan.provider.api_key_variable)
        return []

    def _note(self, exchange: Exchange, plan: Plan, lease: Lease, outcome: str, status: int, began: float) -> None:
        self._metrics.attempted(plan.name, outcome)
        tried = Tried(plan.name, plan.target.model, lease.id, outcome, status, round(monotonic() - began, 6))
        exchange.attempts.append(tried)
        if exchange.trace is not None:
            exchange.trace.tried(tried)

    def _goes_on(self, failed: AttemptFailed, plan: Plan, lease: Lease, search: _Search) -> bool:
        """Whether the target's next key is worth trying. Raises the client's own fault at once."""
        search.note(failed)
        if failed.blame is Blame.BROKEN or failed.error.status == _TIMED_OUT:
            if id(plan) not in search.failed:  # one request is one failure, however often it asks
                search.failed.add(id(plan))
                self._health.failed(plan.target)
        else:
            self._health.spared(plan.target)
        match failed.blame:
            case Blame.CLIENT:
                raise failed.error
            case Blame.KEY:
                only_model = failed.status == 403 or failed.kind == "permission"
                self._metrics.rested(plan.name, "removed")
                self._pool.refused(lease, plan.target.model, f"{failed.status} {failed.kind}", only_model=only_model)
                return True
            case Blame.LIMITED:
                self._metrics.rested(plan.name, "cooling")
                self._pool.limited(lease, plan.target.model, failed.retry_after)
                return True
            case Blame.TARGET:
                search.out.add(id(plan))
            case Blame.BROKEN:
                search.waits.append(failed.retry_after or 0.0)
        return False


def _closed(done: Any, usage: Mapping[str, Any]) -> None:
    done(input_total(usage) + int(usage.get("output") or 0))


def _at_its_limit(plan: Plan, wait: float) -> AttemptFailed:
    return AttemptFailed(Blame.LIMITED, rate_limited(plan.name, "", wait), wait)


def _sealed_first(leases: list[Lease], plan: Plan, preparer: Preparer) -> list[Lease]:
    """A conversation with seals prefers the organisation that made them."""
    try:
        accounts = preparer.seal_accounts(plan)
    except RequestError:  # told when the request is prepared
        return leases
    return sorted(leases, key=lambda lease: lease.account not in accounts) if accounts else leases
