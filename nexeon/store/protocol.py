"""What every engine does. `tests/store` runs one contract suite over all of them.

Amounts are integer nano-USD. Every method may raise StoreUnavailable; a coroutine that changes something returns once
the change is durable, but for `reserve`, `begin`, `renew` and `release`, which a crash undoes or finishes anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from nexeon.store.records import (
    Account,
    ApiKey,
    Balance,
    Budget,
    Detail,
    LedgerEntry,
    ProviderKey,
    Record,
    Reservation,
)
from nexeon.store.sqlite import Place


class Store(Protocol):
    """Accounts, keys, provider keys and money."""

    @property
    def url(self) -> str: ...

    @property
    def place(self) -> Place:
        """Where the stores beside it are to be: kept answers, the log of requests, usage."""
        ...

    # The way of a request

    def find_key(self, secret: str) -> tuple[ApiKey, Account] | None:
        """The key of that secret and its account, from memory. Disabled and expired ones are found too: ask them.

        Raises StoreUnavailable where what is in memory is too old.
        """
        ...

    def provider_keys(self, provider: str) -> Sequence[tuple[ProviderKey, str]]:
        """The enabled keys of a provider with their secrets, from memory, oldest first."""
        ...

    async def reserve(self, account: str, key: str, amount: int, *, ttl: float, detail: Detail) -> Reservation:
        """Holds `amount` of the account's (id) credit and of the key's budget for `ttl` seconds.

        Raises InsufficientCredit, BudgetExceeded, NotFound (no such account).
        """
        ...

    async def begin(self, reservation: Reservation) -> None:
        """Notes that the call has begun to answer."""
        ...

    async def renew(self, reservation: Reservation, ttl: float) -> None:
        """A live call keeps its reservation for `ttl` seconds from now."""
        ...

    async def settle(
        self, reservation: Reservation, amount: int, *, detail: Detail, estimated: bool = False
    ) -> LedgerEntry:
        """Charges `amount` in place of the reservation and returns the charge; `detail` completes the reservation's.

        What the wallet and its overdraft cannot cover beside other reservations is a `shortfall` entry after the
        charge; grants that expire first are spent first. Settling twice returns
        the first charge. Raises NotFound for a reservation that was released.
        """
        ...

    async def release(self, reservation: Reservation) -> None:
        """Gives the credit back. A reservation that is closed stays as it is."""
        ...

    # Money

    async def balance(self, account: str) -> Balance:
        """Of an account's id. Raises NotFound."""
        ...

    async def budget(self, key: str) -> Budget:
        """What a key (id) has spent and holds in its budget's period. Raises NotFound."""
        ...

    async def post(
        self,
        account: str,
        kind: Literal["grant", "refund", "adjustment", "expiry"],
        amount: int,
        *,
        reason: str = "",
        detail: Detail | None = None,
        expires: float | None = None,
        key: str = "",
    ) -> LedgerEntry:
        """Moves credit by a signed `amount`; taking more than is available raises InsufficientCredit.
        `detail` and `key` say which call it is for, if for one: a refund that names its key gives the key's budget
        back, in the period that it is made in and down to nothing spent.

        What is left of a grant that `expires` (Unix seconds) is taken back then, but for what calls under way hold.
        """
        ...

    async def ledger(self, account: str, *, before: str | None = None, limit: int = 100) -> list[LedgerEntry]:
        """An account's entries, newest first; `before` is the id of the last entry of the page before."""
        ...

    async def history(self, *, after: str = "", limit: int = 1000) -> list[LedgerEntry]:
        """All accounts' entries, oldest first, that follow the one of that id."""
        ...

    async def entry(self, entry: str) -> LedgerEntry:
        """Raises NotFound."""
        ...

    async def reservations(self, account: str | None = None) -> list[Reservation]:
        """The open ones."""
        ...

    async def sweep(self) -> int:
        """Closes expired reservations (begun: settled as estimated; else released) and says how many; takes back what
        is left of expired grants."""
        ...

    # Records

    async def add(self, record: Record) -> None:
        """Raises Conflict (id, account name or secret exists), NotFound (a key's account does not)."""
        ...

    async def replace(self, record: Record) -> None:
        """Raises NotFound (no record of that id), Conflict (account name or secret of another one)."""
        ...

    async def remove(self, record: Record) -> None:
        """An account goes with its keys; what is left in its wallet goes with an `expiry` entry; its ledger stays.

        Raises NotFound, Conflict (the account has open reservations).
        """
        ...

    async def account(self, name: str) -> Account:
        """By id or name. Raises NotFound."""
        ...

    async def api_key(self, key: str) -> ApiKey:
        """By id. Raises NotFound."""
        ...

    async def provider_key(self, key: str) -> ProviderKey:
        """By id. Raises NotFound."""
        ...

    async def accounts(self) -> list[Account]:
        """In the order of their creation."""
        ...

    async def api_keys(self, account: str | None = None) -> list[ApiKey]:
        """In the order of their creation; of one account (id) or of all."""
        ...

    async def all_provider_keys(self) -> list[ProviderKey]:
        """Enabled or not, in the order of their creation."""
        ...

    def seal(self, secret: str) -> str:
        """Encrypts a provider's secret for `ProviderKey.sealed`."""
        ...

    def unseal(self, sealed: str) -> str:
        """The secret again. Raises StoreError where it was encrypted with another key."""
        ...

    async def close(self) -> None:
        """Makes everything durable and lets go of what the engine holds."""
        ...
