"""The keys of a provider, from the store and the configuration, as calls take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from nexeon.config import Limits, Provider
from nexeon.gateway.limits.windows import HELD, Claim
from nexeon.store import ProviderKey

_MINUTE: Final = 60.0
_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A key for one attempt. `account` is the provider organisation it belongs to."""

    id: str
    account: str
    secret: str = field(repr=False)
    weight: float = 1.0
    limits: Limits = field(default_factory=Limits)
    rests: bool = True


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a provider, as made of `stored` and `provider`, which are replaced and never changed. `limited` are
    those with limits of their own."""

    stored: Sequence[tuple[ProviderKey, str]] = field(repr=False)
    provider: Provider
    leases: tuple[Lease, ...]
    limited: frozenset[str]


def keys_of(provider: Provider, stored: Sequence[tuple[ProviderKey, str]]) -> Keys:
    """`stored`: the store's, with their secrets."""
    leases = tuple(_leases(provider, stored))
    return Keys(stored, provider, leases, frozenset(lease.id for lease in leases if claims(lease, 0)))


def _leases(provider: Provider, stored: Sequence[tuple[ProviderKey, str]]) -> Iterator[Lease]:
    rests = provider.key_rest
    for key, secret in stored:
        yield Lease(key.id, key.account, secret, key.weight, _limits_of(key, provider), rests)
    for name, own in provider.own_keys():
        yield Lease(name, own.account, own.key, own.weight, own.limits, rests)


def _limits_of(key: ProviderKey, provider: Provider) -> Limits:
    """The key's own, else those of every key of the provider."""
    shared = provider.key_limits
    return Limits(
        rpm=shared.rpm if key.rpm is None else key.rpm,
        tpm=shared.tpm if key.tpm is None else key.tpm,
        rpd=shared.rpd if key.rpd is None else key.rpd,
        tpd=shared.tpd if key.tpd is None else key.tpd,
        concurrency=shared.concurrency if key.concurrency is None else key.concurrency,
    )


def claims(lease: Lease, tokens: int) -> list[Claim]:
    """What a call with so many tokens takes of the key's own limits."""
    limits, name = lease.limits, f"key:{lease.id}"
    found = []
    for limit, suffix, seconds, amount in (
        (limits.rpm, "requests", _MINUTE, 1),
        (limits.tpm, "tokens", _MINUTE, tokens),
        (limits.rpd, "requests", _DAY, 1),
        (limits.tpd, "tokens", _DAY, tokens),
        (limits.concurrency, "calls", HELD, 1),
    ):
        if limit is not None:
            found.append(Claim(f"{name}:{suffix}", limit, seconds, amount))
    return found


def used(claim: Claim, tokens: int) -> int:
    """What it has taken in the end."""
    return tokens if claim.name.endswith(":tokens") else claim.amount
