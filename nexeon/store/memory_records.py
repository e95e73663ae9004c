"""The records of the in-memory engine: accounts, keys and provider keys, and the three hooks of a durable engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nexeon.errors import Conflict, NotFound, StoreUnavailable
from nexeon.store.records import Account, ApiKey, Detail, EntryKind, LedgerEntry, ProviderKey, Record
from nexeon.store.secrets import Vault
from nexeon.store.state import Change, Kind, Put, Remove, State, Wallet, entry_id, entry_number


class Records:
    """What `MemoryStore` keeps beside money."""

    def __init__(self, clock: Callable[[], float], vault: Vault) -> None:
        self._clock = clock
        self._vault = vault
        self._state = State()
        self._provider_keys: dict[str, list[tuple[ProviderKey, str]]] = {}
        self._open = True

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
                kind: EntryKind = "expiry" if wallet.balance > 0 else "adjustment"
                entries = (self._entry(record.id, kind, -wallet.balance, {"reason": "account deleted"}),)
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

    def unseal(self, sealed: str) -> str:
        return self._vault.decrypt(sealed)

    def _next(self) -> int:
        """The number of the next entry of the ledger."""
        return self._state.count + 1

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
        number = self._next() if after is None else entry_number(after.id) + 1
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

    def _wallet(self, account: str) -> Wallet:
        if account not in self._state.accounts:
            raise NotFound(f"no account `{account}`")
        return self._state.wallets[account]


_NOUN: dict[type[Any], str] = {Account: "account", ApiKey: "key", ProviderKey: "provider key"}
_KIND: dict[type[Any], Kind] = {Account: "account", ApiKey: "key", ProviderKey: "provider_key"}
