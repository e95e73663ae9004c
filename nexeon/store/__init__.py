"""Accounts, keys and money, behind one protocol. `open_store` picks the engine by the URL."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from nexeon.errors import StoreError, StoreLocked
from nexeon.store.money import to_nano, to_usd
from nexeon.store.protocol import Store
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

__all__ = [
    "Account",
    "ApiKey",
    "Balance",
    "Budget",
    "Detail",
    "LedgerEntry",
    "ProviderKey",
    "Reservation",
    "Store",
    "open_store",
    "to_nano",
    "to_usd",
]


async def open_store(url: str, *, wait: float = 0.0) -> Store:
    """`tinydb:FOLDER` (made where it is missing), `postgresql://…` or `memory:`. Waits up to `wait` seconds for another
    holder.

    Raises StoreError for another URL, or a database that refuses; StoreLocked (names the holder), StoreCorrupt,
    StoreUnavailable.
    """
    scheme, _, rest = url.partition(":")
    if scheme in ("postgresql", "postgres"):
        try:
            from nexeon.store.postgres.engine import PostgresStore
        except ModuleNotFoundError as error:
            raise StoreError(f"store.url: this engine needs {error.name}: pip install 'nexeon[postgres]'") from None
        return await PostgresStore.open(url)
    if scheme == "memory":
        from nexeon.store.memory import MemoryStore

        return MemoryStore()
    if scheme != "tinydb" or not rest:
        raise StoreError(f"store.url: no engine is called `{scheme}`: use tinydb:FOLDER, postgresql://… or memory:")
    from nexeon.store.tinydb_engine import TinyStore

    deadline = time.monotonic() + wait
    while True:
        try:
            return await TinyStore.open(Path(rest))
        except StoreLocked:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(0.05)
