"""Moves a whole store from one engine to another: records, the ledger entry by entry, and the stores beside it.

The ledger is the truth: wallets and what keys have spent are made from it anew, and compared with what the source says.
A move that was broken off, or whose source has grown since, is done by moving again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from nexeon.errors import Conflict, NotFound, StoreCorrupt, StoreError
from nexeon.store import Store, open_store
from nexeon.store.records import LedgerEntry, ProviderKey, Record
from nexeon.store.state import Close, Put, State, Wallet
from nexeon.store.targets import Target, open_target

PAGE: Final = 5000
Progress = Callable[[str, int, int | None], None]
"""What is being moved, how much of it is done, and of how much, where that is known."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What the target has now. `total` is the sum of all wallets in nano-USD, `digest` one of the whole ledger."""

    accounts: int
    keys: int
    provider_keys: int
    entries: int
    new_entries: int
    total: int
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Side:
    """A store beside the ledger: its file, where the place is a folder, and its tables."""

    file: str
    tables: str
    upgrade: Callable[[Any], None] | None = None


async def move(source_url: str, target_url: str, sides: Sequence[Side], progress: Progress) -> Moved:
    """Raises Conflict where gateways run on either, or where the target has a ledger of its own; StoreError,
    StoreLocked, StoreUnavailable; StoreCorrupt where the sums of the source do not agree."""
    if _place(source_url) == _place(target_url):
        raise StoreError("both are the same store")
    source = await open_store(source_url)
    try:
        await _quiet(source)
        target = await open_target(target_url)
        try:
            return await _move(source, target, sides, progress)
        finally:
            await target.close()
    finally:
        await source.close()


async def _move(source: Store, target: Target, sides: Sequence[Side], progress: Progress) -> Moved:
    accounts, keys = await source.accounts(), await source.api_keys()
    provider_keys = [_sealed_anew(key, source, target) for key in await source.all_provider_keys()]
    records: list[Record] = [*accounts, *keys, *provider_keys]
    state = State()
    for record in records:
        state.apply(Put(record))
    total = await _length(source)
    digest = hashlib.sha256()
    present = await target.length()
    if present > total:
        raise Conflict(f"{target.name} has more ledger entries than the source: it is not a copy of it")
    done = new = 0
    async for page in _pages(source):
        known = await target.page(done, min(len(page), present - done)) if done < present else []
        for entry, other in zip(page, known, strict=False):
            if entry != other:
                raise Conflict(f"{target.name} has a ledger of its own, from {other.id} on: move to an empty store")
        fresh = page[len(known) :]
        if fresh:
            await target.append(fresh)
        for entry in page:
            digest.update(_bytes(entry))
            state.wallets.setdefault(entry.account, Wallet())
            state.apply(Close("", (entry,)))
        state.entries.clear()
        done += len(page)
        new += len(fresh)
        progress("ledger entries", done, total)
    await _agree(source, state)
    await target.finish(records, state)
    rows = 0
    for side in sides:
        rows += await _side(source, target, side, progress)
    await _check(target, state, digest.hexdigest(), progress)
    money = sum(wallet.balance for wallet in state.wallets.values())
    return Moved(len(accounts), len(keys), len(provider_keys), done, new, money, digest.hexdigest(), rows)


async def _quiet(store: Store) -> None:
    """Only what nobody changes can be moved. What gateways that are gone held is closed first."""
    others = getattr(store, "others", None)
    if others is not None and (running := await others()):
        raise Conflict(f"gateways run on {store.url} ({', '.join(running)}): stop them first")
    await store.sweep()
    if held := await store.reservations():
        raise Conflict(f"{store.url} has {len(held)} calls under way: wait until they have ended")


def _sealed_anew(key: ProviderKey, source: Store, target: Target) -> ProviderKey:
    return replace(key, sealed=target.seal(source.unseal(key.sealed)))


async def _length(store: Store) -> int:
    """By halving: the protocol has no count."""
    low, high = 0, 1
    while await _has(store, high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if await _has(store, middle) else (low, middle)
    return low


async def _has(store: Store, number: int) -> bool:
    try:
        await store.entry(f"led_{number:012d}")
    except NotFound:
        return False
    return True


async def _pages(store: Store) -> AsyncIterator[list[LedgerEntry]]:
    after = ""
    while page := await store.history(after=after, limit=PAGE):
        yield page
        after = page[-1].id


async def _agree(source: Store, state: State) -> None:
    """The wallets that the ledger makes are those of the source."""
    for account in state.accounts:
        theirs, ours = (await source.balance(account)).balance, state.wallets[account].balance
        if theirs != ours:
            raise StoreCorrupt(
                f"the ledger of account `{account}` comes to {ours} nano-USD, its wallet in {source.url} says {theirs}"
            )


async def _side(source: Store, target: Target, side: Side, progress: Progress) -> int:
    from nexeon.store.sides import copy_tables

    name = side.file.partition(".")[0]
    return await copy_tables(
        source.place, target.place, side.file, side.tables, side.upgrade, lambda rows: progress(name, rows, None)
    )


async def _check(target: Target, state: State, digest: str, progress: Progress) -> None:
    """Everything once more, as the target has it."""
    found = hashlib.sha256()
    sums: dict[str, int] = {}
    done = 0
    while page := await target.page(done, PAGE):
        for entry in page:
            found.update(_bytes(entry))
            sums[entry.account] = sums.get(entry.account, 0) + entry.amount
        done += len(page)
        progress("entries checked", done, state.count)
    balances = await target.balances()
    wrong = [account for account, wallet in state.wallets.items() if balances.get(account, 0) != wallet.balance]
    if found.hexdigest() != digest or done != state.count or wrong:
        raise StoreCorrupt(f"{target.name} does not hold what was written to it ({len(wrong)} wallets differ)")
    if any(balances.get(account, 0) != amount for account, amount in sums.items()):
        raise StoreCorrupt(f"{target.name}: a wallet is not the sum of its ledger")


def _bytes(entry: LedgerEntry) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


def _place(url: str) -> str:
    scheme, _, rest = url.partition(":")
    return f"{scheme}:{Path(rest).resolve()}" if scheme == "tinydb" else url
