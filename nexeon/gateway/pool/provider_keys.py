"""Provider keys: which one a call takes, and which ones rest because the provider limited or refused them.

    active ──429──▶ cooling (that model only) ──its time──▶ active
       └──401, 402──▶ removed ──one trial call now and then──▶ active
          403 ──▶ the same, for that model only: it may be the model that is not permitted

A removed key gets a trial call after a while, and earlier where no other key is left, so that a mended one works again
without anybody's help; the longer it stays refused, the rarer the trials. Rests outlive the process, but not the secret
that they are of.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import log
from typing import Any, Final, Literal

from nexeon.config import Provider
from nexeon.errors import StoreError
from nexeon.gateway.limits.windows import Exceeded, MemoryWindows, Taken, Windows
from nexeon.gateway.pool.leases import Keys, Lease, claims, keys_of, used
from nexeon.gateway.pool.shared_rests import RestListener
from nexeon.store import Store
from nexeon.store.rests import Rest, RestStore
from nexeon.store.secrets import digest

_TRIAL: Final = 30.0
_LONGEST_TRIAL: Final = 900.0
"""Seconds until a removed key is tried again while others work: doubled with each refusal."""

_LAST_RESORT_FREE: Final = 3
_LONGEST_LAST_RESORT: Final = 60.0
"""The same where no other key is left: at once for the first refusals, then seconds that double."""

_COOL: Final = 1.0
_LONGEST_COOL: Final = 60.0
"""Seconds of a cool-down whose length the provider does not tell: doubled with each one in a row."""

_LONGEST_TOLD: Final = 3600.0
_CROWDED: Final = 4
"""A conversation leaves its key where that has so many more calls under way than the emptiest one."""

State = Literal["active", "cooling", "removed"]

_log = logging.getLogger("nexeon.gateway")


@dataclass(slots=True)
class _Rest:
    """Why a key is not used: for one model of the provider, or ("") for all. `until` is when it may be tried."""

    state: Literal["cooling", "removed"]
    reason: str
    since: float
    until: float
    count: int
    resort: float = 0.0
    trial: bool = False


@dataclass(slots=True)
class _Health:
    """What is known of one key. `share` is how much it has served, by its weight; `mark` tells its secret from another
    one. `calls` began since the start, `errors` of them met a limit or a refusal."""

    running: int = 0
    calls: int = 0
    errors: int = 0
    share: float = 0.0
    mark: str = ""
    rests: dict[str, _Rest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """The keys that may serve a call, the best first. Where there are none: `known` is how many the provider has, and
    `wait` the seconds until a limited one is free again, None where none is merely limited."""

    leases: list[Lease]
    known: int
    wait: float | None = None


class KeyPool:
    """The keys of every provider, from the store and the configuration.

    With `rests`, what is known of limited and refused keys is kept there: between `open` and `close`. `windows` count
    what keys with limits of their own have taken, `others` are gateways that use the same keys.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        *,
        rests: RestStore | None = None,
        windows: Windows | None = None,
        others: RestListener | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._health: dict[str, _Health] = {}
        self._known: dict[str, Keys] = {}
        self._windows = windows or MemoryWindows(clock)
        self._kept = rests
        self._others = others
        self._changed: dict[tuple[str, str], None] = {}
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Takes up the rests that were kept; without them, where they cannot be read."""
        if self._others is not None:
            self._others.listen(self._heard)
        if self._kept is None:
            return
        try:
            found = await self._kept.load()
        except StoreError as error:
            _log.error("what is known of provider keys cannot be read: %s", error)
            return
        for rest in found:
            if not self._take_up(rest):
                self._note(rest.key, rest.model)

    def _take_up(self, rest: Rest) -> bool:
        """Lets a key rest as it is told; False for a rest that is over."""
        now, wall = self._clock(), time.time()
        if rest.state != "removed" and rest.until <= wall:
            return False
        health = self._of(rest.key)
        health.mark = rest.mark
        since, until = now + rest.since - wall, now + rest.until - wall
        health.rests[rest.model] = _Rest(rest.state, rest.reason, since, until, rest.count)
        return True

    def _heard(self, key: str, model: str, rest: Rest | None) -> None:
        """Another gateway has met a limit or a refusal, or an answer. What has changed here since is told it next."""
        if (key, model) in self._changed:
            return
        if rest is None:
            self._of(key).rests.pop(model, None)
        else:
            self._take_up(rest)

    async def close(self) -> None:
        """Once everything is kept."""
        if self._writer is not None:
            await self._writer
        if self._others is not None:
            await self._others.close()
        if self._kept is not None:
            await self._kept.close()

    async def lift(self, key: str) -> None:
        """A key (id) works again, as far as anybody knows here."""
        health = self._health.get(key)
        for model in list(health.rests) if health is not None else ():
            self._forget(key, model)

    def choose(self, provider: Provider, model: str, *, conversation: str = "") -> Choice:
        """`model` is the provider's own name; calls of one `conversation` prefer one key."""
        now = self._clock()
        keys = self._keys(provider)
        known, limited = self._health, keys.limited
        fit: list[Lease] = []
        waits: list[float] = []
        removed: list[tuple[float, Lease]] = []
        for lease in keys.leases:
            health = known.get(lease.id)
            if (health is None or not health.rests) and lease.id not in limited:  # nearly every key, nearly always
                fit.append(lease)
                continue
            rest = self._rest(lease.id, model)
            if rest is not None and not self._is_of(lease):
                rest = None
            if rest is not None and rest.state == "removed":
                if now >= rest.until and not rest.trial:
                    fit.append(lease)
                else:
                    removed.append((rest.resort, lease))
            elif rest is not None and now < rest.until:
                waits.append(rest.until - now)
            elif (wait := self._full(lease)) > 0:
                waits.append(wait)
            else:
                fit.append(lease)
        if not fit and not waits:
            fit = [lease for resort, lease in removed if now >= resort]
        if len(fit) > 1:
            fit = self._ordered(fit, model, conversation if provider.affinity else "")
        return Choice(fit, len(keys.leases), min(waits) if waits and not fit else None)

    async def take(self, lease: Lease, model: str, tokens: int) -> Callable[[int], None] | None:
        """Notes that a call begins, which may use `tokens`; None where the key has just been used up.

        What comes back is to be called once, at the end of the call, with the tokens that it used.
        """
        wanted = claims(lease, tokens)
        taken: Taken | None = None
        if wanted:
            try:
                taken = await self._windows.take(wanted)
            except Exceeded:
                return None
        health = self._of(lease.id)
        health.running += 1
        health.calls += 1
        health.share += 1 / lease.weight
        rest = self._rest(lease.id, model)
        if rest is not None:
            rest.trial = True

        def done(spent: int) -> None:
            health.running -= 1
            if rest is not None:
                rest.trial = False
            if taken is not None:
                self._windows.settle_soon(taken, [used(claim, spent) for claim in taken.claims])

        return done

    def worked(self, lease: Lease, model: str) -> None:
        """The provider answered the key."""
        if self._of(lease.id).rests:
            self._forget(lease.id, model)
            self._forget(lease.id, "")

    def limited(self, lease: Lease, model: str, wait: float | None) -> None:
        """The key met a rate limit with this model; `wait` seconds as the provider said."""
        self._of(lease.id).errors += 1
        if not lease.rests:
            return
        rests, now = self._of(lease.id).rests, self._clock()
        before = rests.get(model)
        count = before.count + 1 if before is not None and before.state == "cooling" else 1
        told = min(_COOL * 2 ** min(count - 1, 10), _LONGEST_COOL) if wait is None else min(wait, _LONGEST_TOLD)
        self._rests(lease, model, _Rest("cooling", "rate limit (429)", now, now + told, count))

    def refused(self, lease: Lease, model: str, reason: str, *, only_model: bool) -> None:
        """The provider does not accept the key; `only_model`: perhaps it accepts it for other models."""
        self._of(lease.id).errors += 1
        if not lease.rests:
            return
        rests, now = self._of(lease.id).rests, self._clock()
        place = model if only_model else ""
        before = rests.get(place)
        count = before.count + 1 if before is not None and before.state == "removed" else 1
        trial = min(_TRIAL * 2 ** min(count - 1, 10), _LONGEST_TRIAL)
        free = count < _LAST_RESORT_FREE
        resort = 0.0 if free else min(2.0 ** min(count - _LAST_RESORT_FREE, 10), _LONGEST_LAST_RESORT)
        self._rests(lease, place, _Rest("removed", reason, now, now + trial, count, now + resort))

    def states(self) -> dict[str, dict[str, Any]]:
        """By key id, for operators: `{"state", "reason", "model", "wait", "running", "calls", "errors"}`; `wait` in
        seconds, calls and errors since the start."""
        now = self._clock()
        found: dict[str, dict[str, Any]] = {}
        for key, health in self._health.items():
            rests = [(model, rest) for model, rest in health.rests.items() if _resting(rest, now)]
            model, worst = max(rests, key=lambda item: (item[1].state == "removed", item[1].until), default=("", None))
            found[key] = {
                "state": worst.state if worst is not None else "active",
                "reason": worst.reason if worst is not None else "",
                "model": model,
                "wait": round(max(worst.until - now, 0.0), 1) if worst is not None else 0.0,
                "running": health.running,
                "calls": health.calls,
                "errors": health.errors,
            }
        return found

    def counts(self, provider: Provider) -> dict[str, int]:
        """How many keys of a provider are in each state."""
        states = self.states()
        counts = dict.fromkeys(("active", "cooling", "removed"), 0)
        for lease in self._keys(provider).leases:
            counts[states[lease.id]["state"] if lease.id in states else "active"] += 1
        return counts

    def _keys(self, provider: Provider) -> Keys:
        stored = self._store.provider_keys(provider.name)
        keys = self._known.get(provider.name)
        if keys is None or keys.stored is not stored or keys.provider is not provider:
            keys = self._known[provider.name] = keys_of(provider, stored)
        return keys

    def _of(self, key: str) -> _Health:
        health = self._health.get(key)
        if health is None:
            # a new one begins where the others are: else it would get all the traffic until it has caught up
            least = min((other.share for other in self._health.values()), default=0.0)
            health = self._health[key] = _Health(share=least)
        return health

    def _rest(self, key: str, model: str) -> _Rest | None:
        health = self._health.get(key)
        if health is None or not health.rests:
            return None
        return health.rests.get("") or health.rests.get(model)

    def _rests(self, lease: Lease, model: str, rest: _Rest) -> None:
        health = self._of(lease.id)
        health.mark = _mark(lease)
        health.rests[model] = rest
        self._note(lease.id, model)

    def _is_of(self, lease: Lease) -> bool:
        """Whether what is known of a resting key is of that secret; it is forgotten where another took its place."""
        health = self._of(lease.id)
        if health.mark == _mark(lease):
            return True
        for model in list(health.rests):
            self._forget(lease.id, model)
        return False

    def _forget(self, key: str, model: str) -> None:
        if self._of(key).rests.pop(model, None) is not None:
            self._note(key, model)

    def _note(self, key: str, model: str) -> None:
        """Has what changed written, in a task of its own."""
        if self._kept is None and self._others is None:
            return
        self._changed[key, model] = None
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._changed:
                key, model = next(iter(self._changed))
                del self._changed[key, model]
                rest, shift = self._of(key).rests.get(model), time.time() - self._clock()
                told: Rest | None = None
                if rest is not None:
                    since, until = rest.since + shift, rest.until + shift
                    told = Rest(key, model, self._of(key).mark, rest.state, rest.reason, since, until, rest.count)
                if self._others is not None:
                    await self._others.tell(key, model, told)
                if self._kept is not None:
                    await (self._kept.drop(key, model) if told is None else self._kept.put(told))
                    if self._others is not None:
                        self._others.kept(key, model, told)
        except StoreError as error:
            _log.error("what is known of provider keys cannot be kept: %s", error)

    def _full(self, lease: Lease) -> float:
        """Seconds until a key with limits of its own has room; 0 where it has."""
        wanted = claims(lease, 0)
        return max(
            (max(level.reset, 0.1) for level in self._windows.levels(wanted) if level.left < 1) if wanted else (),
            default=0.0,
        )

    def _ordered(self, leases: list[Lease], model: str, conversation: str) -> list[Lease]:
        """A key whose trial is due goes first, or it would never be tried; then the least loaded."""

        def load(lease: Lease) -> tuple[bool, float, float]:
            health = self._of(lease.id)
            fresh = not health.rests or self._rest(lease.id, model) is None
            return fresh, health.running / lease.weight, health.share

        ordered = sorted(leases, key=load)
        if conversation:
            favourite = max(leases, key=lambda lease: _attraction(lease, conversation))
            emptiest = self._of(ordered[0].id).running
            if self._rest(favourite.id, model) is None and self._of(favourite.id).running <= emptiest + _CROWDED:
                ordered.remove(favourite)
                ordered.insert(0, favourite)
        return ordered


def _mark(lease: Lease) -> str:
    return digest(lease.secret)[:16]


def _resting(rest: _Rest, now: float) -> bool:
    return rest.state == "removed" or rest.until > now


def _attraction(lease: Lease, conversation: str) -> float:
    """Weighted rendezvous hashing: when a key goes, only its own conversations move."""
    digest = blake2b(f"{lease.id}\0{conversation}".encode(), digest_size=8).digest()
    place = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
    return -lease.weight / log(place)
