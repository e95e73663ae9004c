"""A store with guests: accounts that live in memory, beside those of another store, and are gone with the process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from nexeon.errors import NotFound
from nexeon.store.memory import MemoryStore
from nexeon.store.protocol import Store
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
from nexeon.store.secrets import digest, last4, new_id, new_secret
from nexeon.store.sqlite import Place


class GuestStore:
    """Implements `Store`: what is a guest's goes to memory, everything else to `base`, which it closes, too."""

    def __init__(self, base: Store) -> None:
        self._base = base
        self.guests = MemoryStore()
        self._ids: set[str] = set()

    async def welcome(self, name: str, credit: int) -> tuple[Account, str]:
        """A guest with `credit` nano-USD and the secret of its key, which may do everything."""
        account = Account(new_id("acc"), name, time.time())
        secret = new_secret()
        self._ids.add(account.id)
        await self.guests.add(account)
        await self.guests.add(ApiKey(new_id("key"), account.id, name, account.created, digest(secret), last4(secret)))
        await self.guests.post(account.id, "grant", credit)
        return account, secret

    def _home(self, account: str) -> Store:
        return self.guests if account in self._ids else self._base

    def _home_of(self, record: Record) -> Store:
        if isinstance(record, ProviderKey):
            return self._base
        return self._home(record.account if isinstance(record, ApiKey) else record.id)

    @property
    def url(self) -> str:
        return self._base.url

    @property
    def place(self) -> Place:
        return self._base.place

    def find_key(self, secret: str) -> tuple[ApiKey, Account] | None:
        return self.guests.find_key(secret) or self._base.find_key(secret)

    def provider_keys(self, provider: str) -> Sequence[tuple[ProviderKey, str]]:
        return self._base.provider_keys(provider)

    async def reserve(self, account: str, key: str, amount: int, *, ttl: float, detail: Detail) -> Reservation:
        return await self._home(account).reserve(account, key, amount, ttl=ttl, detail=detail)

    async def begin(self, reservation: Reservation) -> None:
        await self._home(reservation.account).begin(reservation)

    async def renew(self, reservation: Reservation, ttl: float) -> None:
        await self._home(reservation.account).renew(reservation, ttl)

    async def settle(
        self, reservation: Reservation, amount: int, *, detail: Detail, estimated: bool = False
    ) -> LedgerEntry:
        home = self._home(reservation.account)
        return await home.settle(reservation, amount, detail=detail, estimated=estimated)

    async def release(self, reservation: Reservation) -> None:
        await self._home(reservation.account).release(reservation)

    async def balance(self, account: str) -> Balance:
        return await self._home(account).balance(account)

    async def budget(self, key: str) -> Budget:
        try:
            return await self._base.budget(key)
        except NotFound:
            return await self.guests.budget(key)

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
        home = self._home(account)
        return await home.post(account, kind, amount, reason=reason, detail=detail, expires=expires, key=key)

    async def history(self, *, after: str = "", limit: int = 1000) -> list[LedgerEntry]:
        """Of the base store: guests' entries have numbers of their own."""
        return await self._base.history(after=after, limit=limit)

    async def ledger(self, account: str, *, before: str | None = None, limit: int = 100) -> list[LedgerEntry]:
        return await self._home(account).ledger(account, before=before, limit=limit)

    async def entry(self, entry: str) -> LedgerEntry:
        """Of the base store: guests' entries have numbers of their own."""
        return await self._base.entry(entry)

    async def reservations(self, account: str | None = None) -> list[Reservation]:
        if account is not None:
            return await self._home(account).reservations(account)
        return await self._base.reservations() + await self.guests.reservations()

    async def sweep(self) -> int:
        return await self._base.sweep() + await self.guests.sweep()

    async def add(self, record: Record) -> None:
        await self._home_of(record).add(record)

    async def replace(self, record: Record) -> None:
        await self._home_of(record).replace(record)

    async def remove(self, record: Record) -> None:
        await self._home_of(record).remove(record)

    async def account(self, name: str) -> Account:
        try:
            return await self._base.account(name)
        except NotFound:
            return await self.guests.account(name)

    async def api_key(self, key: str) -> ApiKey:
        try:
            return await self._base.api_key(key)
        except NotFound:
            return await self.guests.api_key(key)

    async def provider_key(self, key: str) -> ProviderKey:
        return await self._base.provider_key(key)

    async def accounts(self) -> list[Account]:
        return await self._base.accounts() + await self.guests.accounts()

    async def api_keys(self, account: str | None = None) -> list[ApiKey]:
        if account is not None:
            return await self._home(account).api_keys(account)
        return await self._base.api_keys() + await self.guests.api_keys()

    async def all_provider_keys(self) -> list[ProviderKey]:
        return await self._base.all_provider_keys()

    def seal(self, secret: str) -> str:
        return self._base.seal(secret)

    def unseal(self, sealed: str) -> str:
        return self._base.unseal(sealed)

    async def close(self) -> None:
        await self.guests.close()
        await self._base.close()
