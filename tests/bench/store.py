"""The TinyDB engine at size: `python -m tests.bench.store`. Figures, not a test.

NEXEON_BENCH_KEYS (100,000), NEXEON_BENCH_ENTRIES (1,000,000; 10,000,000 takes some minutes and 4 GB of disk),
NEXEON_BENCH_FOLDER (a temporary one; a folder given is kept and used again).
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

from nexeon.store.archive import Archive
from nexeon.store.checkpoint import Snapshot
from nexeon.store.journal import segment
from nexeon.store.records import Account, ApiKey, EntryKind, LedgerEntry
from nexeon.store.secrets import digest, new_secret
from nexeon.store.state import Put, State, entry_id
from nexeon.store.tinydb_engine import TinyStore

KEYS = int(os.environ.get("NEXEON_BENCH_KEYS", "100000"))
ENTRIES = int(os.environ.get("NEXEON_BENCH_ENTRIES", "1000000"))
KEYS_AN_ACCOUNT = 10
ACCOUNT = f"acc_{time.time_ns():x}"
CHARGES = 40_000
CLIENTS = 64
BATCH = 50_000
USAGE = {"input": 1200, "cached_input": 800, "output": 350, "reasoning": 120}
PRICE = {"input": 2_000_000_000, "output": 10_000_000_000, "cached_input": 100_000_000, "reasoning": 10_000_000_000}
DETAIL = {"model": "a-model-of-some-name", "provider": "provider", "usage": USAGE, "price": PRICE}


def memory() -> float:
    """Resident, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def disk(folder: Path) -> float:
    """In MB, as allocated."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir() if path.is_file()) / 1e6


def make(folder: Path, keys: int = KEYS, entries: int = ENTRIES) -> None:
    """A store of that size, as a checkpoint leaves it: written past the journal, which would take too long."""
    folder.mkdir(parents=True, exist_ok=True)
    state = State()
    accounts = [f"acc_{number:016x}" for number in range(max(1, keys // KEYS_AN_ACCOUNT))]
    for account in accounts:
        state.apply(Put(Account(account, account, 0.0)))
    for number in range(keys):
        owner = accounts[number % len(accounts)]
        state.apply(Put(ApiKey(f"key_{number:016x}", owner, "k", 0.0, digest(f"secret {number}"), "0000")))
    archive = Archive(folder, 0, 0)
    for first in range(1, entries + 1, BATCH):
        batch = []
        for number in range(first, min(first + BATCH, entries + 1)):
            account = accounts[number % len(accounts)]
            wallet = state.wallets[account]
            amount = 10**13 if not wallet.last else -4_200_000
            wallet.balance += amount
            kind: EntryKind = "charge" if wallet.last else "grant"
            facts = {"request": f"req_{number:024x}", "key": f"key_{number % keys:016x}", **DETAIL}
            when = 1.7e9 + number / 100
            batch.append(
                LedgerEntry(entry_id(number), account, kind, amount, wallet.balance, wallet.last, when, **facts)
            )
            wallet.last = entry_id(number)
            spending = state.spending_of(f"key_{number % keys:016x}")
            assert spending is not None
            spending.add(when, -amount)
        archive.append(batch)
    state.count = entries
    Snapshot(state).save(folder / "checkpoint.json", generation=1, archived=archive.size)
    archive.close()
    segment(folder, 1).touch()


async def main() -> None:
    given = os.environ.get("NEXEON_BENCH_FOLDER")
    folder = Path(given) if given else Path(tempfile.mkdtemp(prefix="nexeon-bench-")) / "store"
    if not (folder / "checkpoint.json").exists():
        began = time.perf_counter()
        make(folder)
        print(f"made {KEYS:,} keys and {ENTRIES:,} ledger entries in {time.perf_counter() - began:.1f} s")
    gc.collect()
    before = memory()
    began, spent = time.perf_counter(), time.process_time()
    store = await TinyStore.open(folder)
    took, spent = time.perf_counter() - began, time.process_time() - spent
    print(f"start after a checkpoint   {took:8.2f} s       (goal: < 3), {spent:.2f} s of it CPU")
    print(f"memory                     {memory() - before:8.0f} MB")
    print(f"disk                       {disk(folder):8.0f} MB")
    secret = new_secret()
    await store.add(Account(ACCOUNT, ACCOUNT, 0.0))
    key = ApiKey(f"key_{time.time_ns():x}", ACCOUNT, "bench", 0.0, digest(secret), "0000")
    await store.add(key)
    await store.post(ACCOUNT, "grant", 10**15)
    authenticate(store, secret)
    await charges(store, key.id)
    began = time.perf_counter()
    await store.checkpoint()
    print(f"a checkpoint               {time.perf_counter() - began:8.2f} s       (beside the requests)")
    began = time.perf_counter()
    await store.ledger(ACCOUNT, limit=100)
    print(f"100 entries from the disk  {(time.perf_counter() - began) * 1e3:8.1f} ms")
    await store.close()
    if not given:
        shutil.rmtree(folder.parent)


def authenticate(store: TinyStore, secret: str) -> None:
    rounds = 100_000
    secrets = [f"secret {number % KEYS}" for number in range(0, rounds * 7, 7)]
    began = time.process_time()
    for each in secrets:
        store.find_key(each)
    spent = (time.process_time() - began) / rounds * 1e6
    assert store.find_key(secret) is not None
    print(f"authenticate               {spent:8.2f} µs      (goal: < 50)")


async def charges(store: TinyStore, key: str) -> None:
    """Reservations and charges of many clients at once, as a gateway makes them."""
    grown = disk(store.folder)
    numbers = iter(range(CHARGES))

    async def client() -> None:
        for number in numbers:
            held = await store.reserve(ACCOUNT, key, 10_000_000, ttl=60, detail={"request": f"req_{number:024x}"})
            await store.settle(held, 4_200_000, detail=DETAIL)  # type: ignore[arg-type]

    began, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    took, spent = time.perf_counter() - began, time.process_time() - spent
    print(
        f"reserve and charge         {spent / CHARGES * 1e6:8.2f} µs CPU  (goal: < 100), {CHARGES / took:,.0f} a second"
    )
    print(f"disk for each charge       {(disk(store.folder) - grown) / CHARGES * 1e6:8.0f} bytes")


if __name__ == "__main__":
    asyncio.run(main())
