"""Provider keys: which one a call takes, and which ones rest because the provider refused or limited them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from nexeon.config import Provider
from nexeon.store import Store

_REFUSED: Final = 300.0
_LIMITED: Final = 10.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A key for one attempt. `account` is the provider organisation it belongs to."""

    id: str
    account: str
    secret: str = field(repr=False)


class KeyRing:
    """Keys in rotation. One that was refused or limited comes last until its rest is over, but is still tried."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._rests: dict[str, float] = {}
        self._turn = 0

    def leases(self, provider: Provider) -> list[Lease]:
        """Every active key of the provider, the best first; empty where there is none."""
        keys = [Lease(key.id, key.account, secret) for key, secret in self._store.provider_keys(provider.name)]
        if provider.api_key is not None:
            keys.append(Lease(f"config:{provider.name}", provider.key_account, provider.api_key))
        if len(keys) < 2:
            return keys
        self._turn += 1
        start = self._turn % len(keys)
        return sorted(keys[start:] + keys[:start], key=self._rest)

    def refused(self, lease: Lease) -> None:
        """The provider does not accept the key."""
        self._rests[lease.id] = self._clock() + _REFUSED

    def limited(self, lease: Lease, retry_after: float | None) -> None:
        """The key met a rate limit; `retry_after` seconds as the provider said."""
        self._rests[lease.id] = self._clock() + (_LIMITED if retry_after is None else min(retry_after, _REFUSED))

    def worked(self, lease: Lease) -> None:
        if self._rests:
            self._rests.pop(lease.id, None)

    def resting(self, ids: Iterable[str]) -> int:
        """How many of these keys rest now."""
        now = self._clock()
        return sum(1 for key in ids if self._rests.get(key, 0.0) > now)

    def _rest(self, lease: Lease) -> float:
        until = self._rests.get(lease.id, 0.0)
        return until if until > self._clock() else 0.0
