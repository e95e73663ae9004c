"""Keys, then targets, then the same again a little later: until one answers, and only before the client has a byte."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from nexeon.errors import RequestError
from nexeon.gateway.attempt import Attempt, JSONAnswer, StreamAnswer
from nexeon.gateway.exchange import Exchange
from nexeon.gateway.failure import AttemptFailed, Blame, no_active_key, refused_by_target
from nexeon.gateway.metrics import Metrics
from nexeon.gateway.provider_keys import KeyRing, Lease
from nexeon.gateway.target import Plan, Preparer
from nexeon.gateway.upstream import Upstream

_ROUNDS: Final = 3
_MOST_ATTEMPTS: Final = 12
_BACK_OFF: Final = 0.25
_LONGEST_WAIT: Final = 5.0
_TIME: Final = 60.0
"""Seconds after the first attempt within which another round may begin."""


@dataclass(slots=True)
class _Search:
    """What has been tried for one request."""

    attempts: int = 0
    worst: AttemptFailed | None = None
    unkeyed: RequestError | None = None
    out: set[int] = field(default_factory=set)
    waits: list[float] = field(default_factory=list)

    def note(self, failed: AttemptFailed) -> None:
        if self.worst is None or failed.blame >= self.worst.blame:
            self.worst = failed


class Failover:
    """Finds an answer for a request among its targets."""

    def __init__(self, upstreams: Mapping[str, Upstream], ring: KeyRing, metrics: Metrics, keepalive: float) -> None:
        self._upstreams = upstreams
        self._ring = ring
        self._metrics = metrics
        self._keepalive = keepalive

    async def answer(self, exchange: Exchange, plans: Sequence[Plan], preparer: Preparer) -> JSONAnswer | StreamAnswer:
        """Raises RequestError: the failure that tells the client most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _TIME
        search = _Search()
        for number in range(_ROUNDS):
            search.waits.clear()
            for plan in plans:
                if id(plan) in search.out:
                    continue
                found = await self._target(exchange, plan, preparer, search)
                if found is not None:
                    return found
            if not search.waits or search.attempts >= _MOST_ATTEMPTS or number == _ROUNDS - 1:
                break
            wait = max(min(search.waits), _BACK_OFF * 2**number * random.uniform(0.5, 1.0))
            if wait > _LONGEST_WAIT or loop.time() + wait > deadline:
                break
            await asyncio.sleep(wait)
        if search.worst is not None:
            raise search.worst.error
        assert search.unkeyed is not None
        raise search.unkeyed

    async def _target(
        self, exchange: Exchange, plan: Plan, preparer: Preparer, search: _Search
    ) -> JSONAnswer | StreamAnswer | None:
        """One target with each of its keys."""
        leases = self._ring.leases(plan.provider)
        if not leases:
            search.out.add(id(plan))
            search.unkeyed = search.unkeyed or no_active_key(plan.name, variable=plan.provider.api_key_variable)
            return None
        if len({lease.account for lease in leases}) > 1:
            leases = _sealed_first(leases, plan, preparer)
        for lease in leases:
            if search.attempts >= _MOST_ATTEMPTS:
                return None
            try:
                prepared = preparer.prepare(plan, lease)
            except RequestError as error:
                search.out.add(id(plan))
                search.note(refused_by_target(error))
                return None
            search.attempts += 1
            exchange.target, exchange.provider = plan.target, plan.name
            exchange.usage, exchange.produced, exchange.complete = {}, 0, False
            client_context = preparer.answer_context(plan)
            attempt = Attempt(exchange, plan, prepared, lease, self._upstreams[plan.name], client_context)
            try:
                answer = await (attempt.stream(self._keepalive) if exchange.stream else attempt.json())
            except AttemptFailed as failed:
                self._metrics.attempted(plan.name, failed.blame.name.lower())
                if not self._goes_on(failed, plan, lease, search):
                    return None
                continue
            self._metrics.attempted(plan.name, "ok")
            self._ring.worked(lease)
            return answer
        search.out.add(id(plan))
        return None

    def _goes_on(self, failed: AttemptFailed, plan: Plan, lease: Lease, search: _Search) -> bool:
        """Whether the target's next key is worth trying. Raises the client's own fault at once."""
        search.note(failed)
        match failed.blame:
            case Blame.CLIENT:
                raise failed.error
            case Blame.KEY:
                self._ring.refused(lease)
                return True
            case Blame.LIMITED:
                self._ring.limited(lease, failed.retry_after)
                return True
            case Blame.TARGET:
                search.out.add(id(plan))
            case Blame.BROKEN:
                search.waits.append(failed.retry_after or 0.0)
        return False


def _sealed_first(leases: list[Lease], plan: Plan, preparer: Preparer) -> list[Lease]:
    """A conversation with seals prefers the organisation that made them."""
    try:
        accounts = preparer.seal_accounts(plan)
    except RequestError:  # told when the request is prepared
        return leases
    return sorted(leases, key=lambda lease: lease.account not in accounts) if accounts else leases
