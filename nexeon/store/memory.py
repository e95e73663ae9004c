"""The in-memory engine. Checks what may be done, makes it a change, applies it; a durable engine overrides three hooks.

Everything between two awaits is atomic, because one event loop owns the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from nexeon.errors import Conflict, InsufficientCredit, NotFound, StoreError, StoreUnavailable
from nexeon.store.money import to_usd
from nexeon.store.records import (
    Account,
    ApiKey,
    Balance,
    Detail,
    EntryKind,
    LedgerEntry,
    ProviderKey,
    Record,
    Reservation,
)
from nexeon.store.secrets import Vault, digest, new_id
from nexeon.store.state import (
    Begin,
    Change,
    Close,
    Hold,
    Kind,
    Put,
    Remove,
    State,
    Wallet,
    entry_id,
    entry_number,
)

log = logging.getLogger(__name__)

# How many closed reservations are remembered, so that a settlement that comes twice charges once.
_REMEMBERED = 10_000
# What 64 bits hold, in every engine and in JSON.
_MOST = 2**63 - 1


class MemoryStore:
    """Implements `Store`; gone with the process."""

    def __init__(self, *, clock: Callable[[], float] = time.time, vault: Vault | None = None) -> None:
        self._clock = clock
        self._vault = vault or Vault(None)
        self._state = State()
        self._closed: dict[str, LedgerEntry | None] = {}
        self._provider_keys: dict[str, list[tuple[ProviderKey, str]]] = {}
        self._open = True

    @property
    def url(self) -> str:
        return "memory:"

    # The hooks of a durable engine

    async def _admit(self) -> None:
        """Makes sure that a change and, later, its settlement can be written. Raises StoreUnavailable."""
        if not self._open:
            raise StoreUnavailable("the store is closed")

    def _apply(self, change: Change) -> None:
        """Makes the change at once, and takes it to be written."""
        self._state.apply(change)

    async def _durable(self) -> None:
        """Returns once all that was applied up to this call is durable. Raises StoreUnavailable."""

    # The way of a request

    def find_key(self, secret: str) -> tuple[ApiKey, Account] | None:
        value = digest(secret)
        found = self._state.hashes.get(value)
        if found is None:
            return None
        key = self._state.keys[found]
        if value == key.previous_hash and (key.previous_until is None or key.previous_until <= self._clock()):
            return None
        return key, self._state.accounts[key.account]

    def provider_keys(self, provider: str) -> Sequence[tuple[ProviderKey, str]]:
        known = self._provider_keys.get(provider)
        if known is None:
            known = self._provider_keys[provider] = self._unseal(provider)
        return known

    def _unseal(self, provider: str) -> list[tuple[ProviderKey, str]]:
        opened = []
        for key in self._state.provider_keys.values():
            if key.provider == provider and key.enabled:
                try:
                    opened.append((key, self._vault.decrypt(key.sealed)))
                except StoreError as error:
                    log.error("provider key %s of %s is left out: %s", key.id, provider, error)
        return opened

    async def reserve(self, account: str, key: str, amount: int, *, ttl: float, detail: Detail) -> Reservation:
        _check_amount(amount)
        await self._admit()
        wallet = self._wallet(account)
        if amount > wallet.balance - wallet.reserved:
            self._sweep(account)
            available = wallet.balance - wallet.reserved
            if amount > available:
                raise InsufficientCredit(needed=amount, available=available)
        now = self._clock()
        held = Reservation(new_id("rsv"), account, key, amount, now, now + ttl, detail=_detail(detail))
        self._apply(Hold(held))
        return held

    async def begin(self, reservation: Reservation) -> None:
        if reservation.id in self._state.reservations:
            self._apply(Begin(reservation.id))

    async def renew(self, reservation: Reservation, ttl: float) -> None:
        # Not a change: after a crash every reservation is an orphan, whenever it would have expired.
        held = self._state.reservations.get(reservation.id)
        if held is not None:
            self._state.reservations[held.id] = replace(held, expires=self._clock() + ttl)

    async def settle(
        self, reservation: Reservation, amount: int, *, detail: Detail, estimated: bool = False
    ) -> LedgerEntry:
        _check_amount(amount)
        held = self._state.reservations.get(reservation.id)
        if held is None:
            charge = self._closed.get(reservation.id)
            if charge is None:
                raise NotFound(f"reservation {reservation.id} is closed")
        else:
            charge = self._settle(held, amount, detail, estimated=estimated)
        await self._durable()
        return charge

    async def release(self, reservation: Reservation) -> None:
        if reservation.id in self._state.reservations:
            self._apply(Close(reservation.id))
            self._remember(reservation.id, None)

    def _settle(self, held: Reservation, amount: int, detail: Detail, *, estimated: bool) -> LedgerEntry:
        wallet = self._wallet(held.account)
        collected = min(amount, wallet.balance - wallet.reserved + held.amount)
        facts: Detail = {**held.detail, **_detail(detail)}
        charge = self._entry(held.account, "charge", -collected, facts, key=held.key, estimated=estimated)
        entries = [charge]
        if collected < amount:
            missing = self._entry(held.account, "shortfall", 0, facts, key=held.key, estimated=estimated, after=charge)
            entries.append(replace(missing, uncollected=amount - collected))
        self._apply(Close(held.id, tuple(entries)))
        self._remember(held.id, charge)
        return charge

    def _remember(self, reservation: str, charge: LedgerEntry | None) -> None:
        self._closed[reservation] = charge
        if len(self._closed) > _REMEMBERED:
            del self._closed[next(iter(self._closed))]

    def _sweep(self, account: str | None = None) -> int:
        now = self._clock()
        late = [
            held
            for held in self._state.reservations.values()
            if held.expires <= now and account in (None, held.account)
        ]
        for held in late:
            self._finish_orphan(held, "its call was not heard of any more")
        return len(late)

    def _finish_orphan(self, held: Reservation, reason: str) -> None:
        if held.started:
            self._settle(held, held.amount, {"reason": reason}, estimated=True)
        else:
            self._apply(Close(held.id))
            self._remember(held.id, None)

    async def sweep(self) -> int:
        swept = self._sweep()
        if swept:
            await self._durable()
        return swept

    # Money

    async def balance(self, account: str) -> Balance:
        wallet = self._wallet(account)
        return Balance(wallet.balance, wallet.reserved)

    async def post(
        self,
        account: str,
        kind: Literal["grant", "refund", "adjustment", "expiry"],
        amount: int,
        *,
        reason: str = "",
        detail: Detail | None = None,
    ) -> LedgerEntry:
        await self._admit()
        wallet = self._wallet(account)
        if wallet.balance + amount > _MOST:
            raise Conflict(f"a wallet holds at most {to_usd(_MOST)} USD")
        if -amount > wallet.balance - wallet.reserved:
            raise InsufficientCredit(needed=-amount, available=wallet.balance - wallet.reserved)
        facts: Detail = {**_detail(detail or {}), "reason": reason}
        entry = self._entry(account, kind, amount, facts)
        self._apply(Close("", (entry,)))
        await self._durable()
        return entry

    def _entry(
        self,
        account: str,
        kind: EntryKind,
        amount: int,
        facts: Detail,
        *,
        key: str = "",
        estimated: bool = False,
        after: LedgerEntry | None = None,
    ) -> LedgerEntry:
        """The next entry of an account, or the one after `after`."""
        wallet = self._wallet(account)
        number = self._state.count + 1 if after is None else entry_number(after.id) + 1
        return LedgerEntry(
            id=entry_id(number),
            account=account,
            kind=kind,
            amount=amount,
            balance=(wallet.balance if after is None else after.balance) + amount,
            previous=wallet.last if after is None else after.id,
            created=self._clock(),
            key=key,
            estimated=estimated,
            **facts,
        )

    async def ledger(self, account: str, *, before: str | None = None, limit: int = 100) -> list[LedgerEntry]:
        wallet = self._state.wallets.get(account)
        if wallet is None:
            raise NotFound(f"no account `{account}`")
        cursor = wallet.last if before is None else (await self.entry(before)).previous
        page: list[LedgerEntry] = []
        while cursor and len(page) < limit:
            entry = self._state.entries.get(entry_number(cursor))
            if entry is None:
                page += await self._archived(cursor, limit - len(page))
                break
            page.append(entry)
            cursor = entry.previous
        return page

    async def entry(self, entry: str) -> LedgerEntry:
        found = self._state.entries.get(entry_number(entry))
        if found is not None:
            return found
        if 0 < entry_number(entry) <= self._state.count:
            return (await self._archived(entry, 1))[0]
        raise NotFound(f"no ledger entry `{entry}`")

    async def _archived(self, entry: str, limit: int) -> list[LedgerEntry]:
        """Follows the links from an entry that is not in memory."""
        raise NotFound(f"no ledger entry `{entry}`")

    async def reservations(self, account: str | None = None) -> list[Reservation]:
        return [held for held in self._state.reservations.values() if account in (None, held.account)]

    def _wallet(self, account: str) -> Wallet:
        if account not in self._state.accounts:
            raise NotFound(f"no account `{account}`")
        return self._state.wallets[account]

    # Records

    async def add(self, record: Record) -> None:
        await self._admit()
        if record.id in self._table(record):
            raise Conflict(f"`{record.id}` exists already")
        self._check(record)
        self._put(record)
        await self._durable()

    async def replace(self, record: Record) -> None:
        await self._admit()
        if record.id not in self._table(record):
            raise NotFound(f"no {_NOUN[type(record)]} `{record.id}`")
        self._check(record)
        self._put(record)
        await self._durable()

    async def remove(self, record: Record) -> None:
        await self._admit()
        if record.id not in self._table(record):
            raise NotFound(f"no {_NOUN[type(record)]} `{record.id}`")
        entries: tuple[LedgerEntry, ...] = ()
        if isinstance(record, Account):
            wallet = self._wallet(record.id)
            if any(held.account == record.id for held in self._state.reservations.values()):
                raise Conflict(f"account `{record.name}` has calls under way: disable it and wait for them")
            if wallet.balance:
                entries = (self._entry(record.id, "expiry", -wallet.balance, {"reason": "account deleted"}),)
        self._apply(Remove(_KIND[type(record)], record.id, entries))
        self._provider_keys.clear()
        await self._durable()

    def _put(self, record: Record) -> None:
        self._apply(Put(record))
        if isinstance(record, ProviderKey):
            self._provider_keys.clear()

    def _check(self, record: Record) -> None:
        state = self._state
        if isinstance(record, Account):
            if state.names.get(record.name, record.id) != record.id:
                raise Conflict(f"an account named `{record.name}` exists already")
            if record.name != record.id and record.name in state.accounts:
                raise Conflict(f"`{record.name}` is the id of another account")
        elif isinstance(record, ApiKey):
            if record.account not in state.accounts:
                raise NotFound(f"no account `{record.account}`")
            for value in (record.hash, record.previous_hash):
                if state.hashes.get(value, record.id) != record.id:
                    raise Conflict("that secret belongs to another key")

    def _table(self, record: Record) -> dict[str, Any]:
        if isinstance(record, Account):
            return self._state.accounts
        return self._state.keys if isinstance(record, ApiKey) else self._state.provider_keys

    async def account(self, name: str) -> Account:
        found = self._state.accounts.get(self._state.names.get(name, name))
        if found is None:
            raise NotFound(f"no account `{name}`")
        return found

    async def api_key(self, key: str) -> ApiKey:
        if key not in self._state.keys:
            raise NotFound(f"no key `{key}`")
        return self._state.keys[key]

    async def provider_key(self, key: str) -> ProviderKey:
        if key not in self._state.provider_keys:
            raise NotFound(f"no provider key `{key}`")
        return self._state.provider_keys[key]

    async def accounts(self) -> list[Account]:
        return list(self._state.accounts.values())

    async def api_keys(self, account: str | None = None) -> list[ApiKey]:
        if account is None:
            return list(self._state.keys.values())
        return [self._state.keys[key] for key in self._state.account_keys.get(account, {})]

    async def all_provider_keys(self) -> list[ProviderKey]:
        return list(self._state.provider_keys.values())

    def seal(self, secret: str) -> str:
        return self._vault.encrypt(secret)

    async def close(self) -> None:
        self._open = False


_NOUN: dict[type[Any], str] = {Account: "account", ApiKey: "key", ProviderKey: "provider key"}
_KIND: dict[type[Any], Kind] = {Account: "account", ApiKey: "key", ProviderKey: "provider_key"}


def _check_amount(amount: int) -> None:
    if amount < 0:
        raise ValueError(f"an amount of {amount} nano-USD: it must not be negative")


def _detail(detail: Detail) -> Detail:
    """A copy, of what a ledger entry knows only."""
    return {name: detail[name] for name in _FACTS if name in detail}  # type: ignore[return-value]


_FACTS: tuple[Literal["request", "model", "provider", "usage", "price", "reason"], ...] = (
    "request",
    "model",
    "provider",
    "usage",
    "price",
    "reason",
)
