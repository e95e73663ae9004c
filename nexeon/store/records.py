"""What a store keeps. Frozen records; money is integer nano-USD, times are Unix seconds, `None` means "no limit"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

EntryKind = Literal["grant", "charge", "refund", "adjustment", "expiry", "shortfall"]
Period = Literal["", "day", "week", "month"]


class Detail(TypedDict, total=False):
    """What a call was about: given at `reserve` as far as it is known then, completed at `settle`.

    `usage` and `price` are JSON objects; at `reserve`, `usage` is the estimate.
    """

    request: str
    model: str
    provider: str
    usage: dict[str, Any]
    price: dict[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class Account:
    """Owns a wallet and keys. `name` is unique.

    `overdraft` is how far below zero its balance may go; with less than `soft_limit` available, operators are warned.
    `rpm` and `tpm` are requests and tokens a minute of all its keys together, `rpd` and `tpd` a day.
    """

    id: str
    name: str
    created: float
    disabled: bool = False
    overdraft: int = 0
    soft_limit: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A client's key. Only its SHA-256 is kept. Empty `models` (globs) or `scopes` permit everything.

    After a rotation the secret before it stays good until `previous_until`. `budget` is what it may spend in a
    `period` (UTC), or in all where that is "".
    """

    id: str
    account: str
    name: str
    created: float
    hash: str = field(repr=False)
    last4: str
    models: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    expires: float | None = None
    disabled: bool = False
    previous_hash: str = field(default="", repr=False)
    previous_until: float | None = None
    budget: int | None = None
    period: Period = ""
    rpd: int | None = None
    tpd: int | None = None

    def expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """The operator's key at a provider. `account` names the organisation there; `sealed` is the encrypted secret."""

    id: str
    provider: str
    account: str
    created: float
    sealed: str = field(repr=False)
    last4: str
    label: str = ""
    weight: int = 1
    enabled: bool = True
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    tpd: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of an account's ledger. `balance` is the sum up to and with it; `previous` the entry before it, or "".

    `amount` is signed. A `shortfall` moves nothing: `uncollected` is what a charge could not take from the wallet.
    What is left of a grant that `expires` is taken back by an `expiry` entry that names the `grant`.
    """

    id: str
    account: str
    kind: EntryKind
    amount: int
    balance: int
    previous: str
    created: float
    request: str = ""
    key: str = ""
    model: str = ""
    provider: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    price: dict[str, Any] = field(default_factory=dict)
    estimated: bool = False
    uncollected: int = 0
    reason: str = ""
    expires: float | None = None
    grant: str = ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Credit held for one call. `started`: it had begun to answer, so an orphan settles instead of being released."""

    id: str
    account: str
    key: str
    amount: int
    created: float
    expires: float
    started: bool = False
    detail: Detail = field(default_factory=Detail)


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's wallet at one moment, in nano-USD. `expired` has expired, and is about to leave the balance."""

    balance: int
    reserved: int
    overdraft: int = 0
    expired: int = 0

    @property
    def available(self) -> int:
        return self.balance - self.reserved - self.expired + self.overdraft


@dataclass(frozen=True, slots=True)
class Budget:
    """What a key spent and holds in its period, in nano-USD; the next period begins at `resets`."""

    limit: int | None
    period: Period
    spent: int
    reserved: int
    resets: float | None

    @property
    def left(self) -> int | None:
        return None if self.limit is None else self.limit - self.spent - self.reserved


Record = Account | ApiKey | ProviderKey
