"""The state machine that the in-memory and the TinyDB engine share: state, and changes that are applied to it.

A change says everything that it does (ids, balances, times), so applying the same changes to the same state always
gives the same state: this is what a journal is replayed with. Whether a change is allowed was decided before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from nexeon.errors import StoreCorrupt
from nexeon.store.budgets import Spending
from nexeon.store.records import Account, ApiKey, LedgerEntry, ProviderKey, Record, Reservation

Kind = Literal["account", "key", "provider_key"]


@dataclass(frozen=True, slots=True)
class Put:
    record: Record


@dataclass(frozen=True, slots=True)
class Remove:
    kind: Kind
    id: str
    entries: tuple[LedgerEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Begin:
    id: str


@dataclass(frozen=True, slots=True)
class Close:
    """Ends a reservation ("" for none) and appends to the ledger: a settlement, a release, or a plain entry."""

    reservation: str
    entries: tuple[LedgerEntry, ...] = ()


Change = Put | Remove | Hold | Begin | Close


@dataclass(slots=True)
class Lot:
    """What is left of a grant that expires."""

    entry: str
    expires: float
    left: int


@dataclass(slots=True)
class Wallet:
    """`lots` stand in the order of their expiry, which is the order in which they are spent; credit that stays comes
    last."""

    balance: int = 0
    reserved: int = 0
    last: str = ""
    lots: list[Lot] = field(default_factory=list)

    def expired(self, now: float) -> int:
        """What has expired and is not held for a call under way."""
        late = 0
        for lot in self.lots:
            if lot.expires > now:
                break
            late += lot.left
        return min(late, max(0, self.balance - self.reserved)) if late else 0

    def move(self, entry: LedgerEntry) -> None:
        """What an entry does to the wallet."""
        self.balance = entry.balance
        self.last = entry.id
        if entry.amount > 0 and entry.expires is not None:
            # A debt takes its part of a grant at once.
            left = min(entry.amount, max(0, entry.balance))
            if left:
                self.lots.append(Lot(entry.id, entry.expires, left))
                self.lots.sort(key=lambda lot: lot.expires)
        elif entry.amount < 0 and self.lots:
            self._spend(-entry.amount, entry.grant)

    def _spend(self, amount: int, grant: str) -> None:
        for lot in self.lots:
            if grant in ("", lot.entry):
                taken = min(amount, lot.left)
                lot.left -= taken
                amount -= taken
        self.lots = [lot for lot in self.lots if lot.left]


def entry_id(number: int) -> str:
    return f"led_{number:012d}"


def entry_number(entry: str) -> int:
    """0 for what is no entry's id."""
    digits = entry.removeprefix("led_")
    return int(digits) if digits != entry and digits.isdecimal() and digits.isascii() else 0


class State:
    """Everything that is live. `entries` holds the part of the ledger that is not archived, by number.

    `spending` is by key, `expiring` names the accounts whose wallets have lots.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.names: dict[str, str] = {}
        self.wallets: dict[str, Wallet] = {}
        self.keys: dict[str, ApiKey] = {}
        self.hashes: dict[str, str] = {}
        self.account_keys: dict[str, dict[str, None]] = {}
        self.provider_keys: dict[str, ProviderKey] = {}
        self.spending: dict[str, Spending] = {}
        self.expiring: dict[str, None] = {}
        self.reservations: dict[str, Reservation] = {}
        self.entries: dict[int, LedgerEntry] = {}
        self.count = 0

    def apply(self, change: Change) -> None:
        """Raises StoreCorrupt where a change does not follow from the state."""
        match change:
            case Close():
                self._close(change)
            case Hold():
                self._hold(change.reservation)
            case Begin():
                held = self.reservations.get(change.id)
                if held is not None:
                    self.reservations[change.id] = replace(held, started=True)
            case Put():
                self._put(change.record)
            case Remove():
                self._append(change.entries)
                self._remove(change.kind, change.id)

    def _hold(self, reservation: Reservation) -> None:
        wallet = self.wallets.get(reservation.account)
        if wallet is None:
            raise StoreCorrupt(f"reservation {reservation.id} is of an account that does not exist")
        self.reservations[reservation.id] = reservation
        wallet.reserved += reservation.amount
        spending = self.spending_of(reservation.key)
        if spending is not None:
            spending.reserved += reservation.amount

    def spending_of(self, key: str) -> Spending | None:
        """None for a key that does not exist (any more)."""
        spending = self.spending.get(key)
        if spending is None and key in self.keys:
            spending = self.spending[key] = Spending()
        return spending

    def _close(self, change: Close) -> None:
        held = self.reservations.pop(change.reservation, None)
        if held is not None:
            self.wallets[held.account].reserved -= held.amount
            spending = self.spending.get(held.key)
            if spending is not None:
                spending.reserved -= held.amount
        self._append(change.entries)

    def _append(self, entries: Iterable[LedgerEntry]) -> None:
        for entry in entries:
            wallet = self.wallets.get(entry.account)
            if (
                wallet is None
                or entry.previous != wallet.last
                or entry.balance != wallet.balance + entry.amount
                or entry.id != entry_id(self.count + 1)
            ):
                raise StoreCorrupt(f"ledger entry {entry.id} does not follow from the one before it")
            self.count += 1
            self.entries[self.count] = entry
            wallet.move(entry)
            if wallet.lots:
                self.expiring[entry.account] = None
            if entry.kind in ("charge", "refund") and (spending := self.spending_of(entry.key)) is not None:
                spending.add(entry.created, -entry.amount)

    def _put(self, record: Record) -> None:
        match record:
            case Account():
                before = self.accounts.get(record.id)
                if before is not None:
                    del self.names[before.name]
                self.accounts[record.id] = record
                self.names[record.name] = record.id
                self.wallets.setdefault(record.id, Wallet())
                self.account_keys.setdefault(record.id, {})
            case ApiKey():
                self._forget(record.id)
                self.keys[record.id] = record
                self.account_keys.setdefault(record.account, {})[record.id] = None
                for value in filter(None, (record.hash, record.previous_hash)):
                    self.hashes[value] = record.id
            case ProviderKey():
                self.provider_keys[record.id] = record

    def _remove(self, kind: Kind, record: str) -> None:
        if kind == "account":
            account = self.accounts.pop(record, None)
            if account is not None:
                del self.names[account.name]
            for key in self.account_keys.pop(record, {}):
                self._forget(key)
                self.keys.pop(key, None)
                self.spending.pop(key, None)
        elif kind == "key":
            self._forget(record)
            self.spending.pop(record, None)
            key_record = self.keys.pop(record, None)
            if key_record is not None:
                self.account_keys.get(key_record.account, {}).pop(record, None)
        else:
            self.provider_keys.pop(record, None)

    def _forget(self, key: str) -> None:
        before = self.keys.get(key)
        if before is not None:
            self.hashes.pop(before.hash, None)
            self.hashes.pop(before.previous_hash, None)
