"""The in-memory engine. Checks what may be done, makes it a change, applies it; a durable engine overrides three hooks.

Everything between two awaits is atomic, because one event loop owns the store.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from nexeon.errors import BudgetExceeded, Conflict, InsufficientCredit, NotFound, StoreError
from nexeon.store.budgets import Spending, period_end
from nexeon.store.memory_records import Records
from nexeon.store.money import to_usd
from nexeon.store.records import (
    Account,
    ApiKey,
    Balance,
    Budget,
    Detail,
    LedgerEntry,
    ProviderKey,
    Reservation,
)
from nexeon.store.secrets import Vault, digest, new_id
from nexeon.store.sqlite import Place
from nexeon.store.state import (
    Begin,
    Close,
    Hold,
    entry_id,
    entry_number,
)

log = logging.getLogger(__name__)

# How many closed reservations are remembered, so that a settlement that comes twice charges once.
_REMEMBERED = 10_000
# Expired grants that are taken back in one go.
_AT_ONCE = 4
# What 64 bits hold, in every engine and in JSON.
_MOST = 2**63 - 1


class MemoryStore(Records):
    """Implements `Store`; gone with the process."""

    def __init__(self, *, clock: Callable[[], float] = time.time, vault: Vault | None = None) -> None:
        super().__init__(clock, vault or Vault(None))
        self._closed: dict[str, LedgerEntry | None] = {}
        self._soonest = -math.inf
        """No reservation ends before."""

    @property
    def url(self) -> str:
        return "memory:"

    @property
    def place(self) -> Place:
        return None

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
        check_amount(amount)
        await self._admit()
        self._wallet(account)
        self._expire(account)
        if self._refusal(account, key, amount) is not None:
            self._sweep(account)
            self._expire(account)
            refusal = self._refusal(account, key, amount)
            if refusal is not None:
                raise refusal
        now = self._clock()
        held = Reservation(new_id("rsv"), account, key, amount, now, now + ttl, detail=detail_of(detail))
        self._soonest = min(self._soonest, held.expires)
        self._apply(Hold(held))
        return held

    def _refusal(self, account: str, key: str, amount: int) -> InsufficientCredit | None:
        """Why credit cannot be held, by the wallet or by the key's budget."""
        available = self._balance(account).available
        if amount > available:
            return InsufficientCredit(needed=amount, available=max(0, available))
        record = self._state.keys.get(key)
        if record is None or record.budget is None:
            return None
        budget = self._budget(record)
        if budget.left is None or amount <= budget.left:
            return None
        return BudgetExceeded(needed=amount, available=max(0, budget.left), period=budget.period, resets=budget.resets)

    def _expire(self, account: str) -> None:
        """Takes back what is left of grants that have expired, but for what calls under way may still use.

        Of a few at a time: what it writes fits beside a settlement, for which room was made. The rest is not available
        either, and goes at the next use or sweep.
        """
        now = self._clock()
        wallet = self._wallet(account)
        due = wallet.expired(now)
        # As a copy: what is taken leaves the wallet's own list.
        for lot in wallet.lots[:_AT_ONCE] if due else ():
            if lot.expires > now or not due:
                break
            taken = min(due, lot.left)
            due -= taken
            entry = self._entry(account, "expiry", -taken, {"reason": "the grant has expired"})
            self._apply(Close("", (replace(entry, grant=lot.entry),)))
        if not wallet.lots:
            self._state.expiring.pop(account, None)

    async def begin(self, reservation: Reservation) -> None:
        if reservation.id in self._state.reservations:
            self._apply(Begin(reservation.id))

    async def renew(self, reservation: Reservation, ttl: float) -> None:
        # Not a change: after a crash every reservation is an orphan, whenever it would have expired.
        held = self._state.reservations.get(reservation.id)
        if held is not None:
            held = self._state.reservations[held.id] = replace(held, expires=self._clock() + ttl)
            self._soonest = min(self._soonest, held.expires)

    async def settle(
        self, reservation: Reservation, amount: int, *, detail: Detail, estimated: bool = False
    ) -> LedgerEntry:
        check_amount(amount)
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
        room = wallet.balance - wallet.reserved + held.amount + self._state.accounts[held.account].overdraft
        # What was held was promised, also where the overdraft has been lowered since.
        collected = min(amount, max(room, held.amount))
        facts: Detail = {**held.detail, **detail_of(detail)}
        charge = self._entry(held.account, "charge", -collected, facts, key=held.key, estimated=estimated)
        entries = [charge]
        if collected < amount:
            missing = self._entry(held.account, "shortfall", 0, facts, key=held.key, estimated=estimated, after=charge)
            entries.append(replace(missing, uncollected=amount - collected))
        self._apply(Close(held.id, tuple(entries)))
        self._remember(held.id, charge)
        warn_of(self._state.accounts[held.account], charge)
        return charge

    def _remember(self, reservation: str, charge: LedgerEntry | None) -> None:
        self._closed[reservation] = charge
        if len(self._closed) > _REMEMBERED:
            del self._closed[next(iter(self._closed))]

    def _sweep(self, account: str | None = None) -> int:
        now = self._clock()
        if now < self._soonest:  # who has no credit asks for this each time
            return 0
        every = self._state.reservations.values()
        late = [held for held in every if held.expires <= now and account in (None, held.account)]
        self._soonest = min((held.expires for held in every), default=math.inf)
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
        now = self._clock()
        due = [account for account in self._state.expiring if self._state.wallets[account].expired(now)]
        for account in due:
            while account in self._state.accounts and self._state.wallets[account].expired(now):
                await self._admit()
                self._expire(account)
        if swept or due:
            await self._durable()
        return swept

    # Money

    async def balance(self, account: str) -> Balance:
        return self._balance(account)

    def _balance(self, account: str) -> Balance:
        wallet = self._wallet(account)
        expired = wallet.expired(self._clock()) if wallet.lots else 0
        return Balance(wallet.balance, wallet.reserved, self._state.accounts[account].overdraft, expired)

    async def budget(self, key: str) -> Budget:
        return self._budget(await self.api_key(key))

    def _budget(self, key: ApiKey) -> Budget:
        now = self._clock()
        spending = self._state.spending_of(key.id) or Spending()
        return Budget(
            key.budget, key.period, spending.spent(key.period, now), spending.reserved, period_end(key.period, now)
        )

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
        await self._admit()
        wallet = self._wallet(account)
        self._expire(account)
        if wallet.balance + amount > _MOST:
            raise Conflict(f"a wallet holds at most {to_usd(_MOST)} USD")
        available = self._balance(account).available
        if amount < 0 and -amount > available:
            raise InsufficientCredit(needed=-amount, available=max(0, available))
        facts: Detail = {**detail_of(detail or {}), "reason": reason}
        entry = self._entry(account, kind, amount, facts, key=key)
        if expires is not None:
            entry = replace(entry, expires=expires)
        self._apply(Close("", (entry,)))
        await self._durable()
        return entry

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

    async def history(self, *, after: str = "", limit: int = 1000) -> list[LedgerEntry]:
        # What is told may be kept elsewhere: a crash must not take it back.
        await self._durable()
        first = entry_number(after) + 1
        last = min(self._state.count, first + limit - 1)
        live = self._state.entries
        start = next((number for number in range(first, last + 1) if number in live), last + 1)
        # Taken before the wait, because a checkpoint may move them meanwhile.
        recent = [live[number] for number in range(start, last + 1)]
        return (await self._archived_range(first, start - 1) if start > first else []) + recent

    async def _archived_range(self, first: int, last: int) -> list[LedgerEntry]:
        """The entries of these numbers, which are not in memory."""
        raise NotFound(f"no ledger entry `{entry_id(first)}`")

    async def _archived(self, entry: str, limit: int) -> list[LedgerEntry]:
        """Follows the links from an entry that is not in memory."""
        raise NotFound(f"no ledger entry `{entry}`")

    async def reservations(self, account: str | None = None) -> list[Reservation]:
        return [held for held in self._state.reservations.values() if account in (None, held.account)]

    async def close(self) -> None:
        self._open = False


def warn_of(account: Account, charge: LedgerEntry) -> None:
    """Once, where this charge took the wallet below its soft limit."""
    if account.soft_limit is not None:
        left = charge.balance + account.overdraft
        if left < account.soft_limit <= left - charge.amount:
            log.warning(
                "account %s (%s) has %s USD left, less than its soft limit", account.id, account.name, to_usd(left)
            )


def check_amount(amount: int) -> None:
    if amount < 0:
        raise ValueError(f"an amount of {amount} nano-USD: it must not be negative")


def detail_of(detail: Detail) -> Detail:
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
