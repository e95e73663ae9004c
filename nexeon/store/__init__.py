"""Accounts, keys and money, behind one protocol. `open_store` picks the engine by the URL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from nexeon.errors import StoreError, StoreLocked, StoreUnavailable
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
    holder, or a database that is starting.

    Raises StoreError for another URL, or a database that refuses; StoreLocked (names the holder), StoreCorrupt,
    StoreUnavailable.
    """
    scheme, _, rest = url.partition(":")
    if scheme in ("postgresql", "postgres"):
        try:
            from nexeon.store.postgres.engine import PostgresStore
        except ModuleNotFoundError as error:
            raise StoreError(f"store.url: this engine needs {error.name}: pip install 'nexeon[postgres]'") from None
        return await _patiently(partial(PostgresStore.open, url), StoreUnavailable, wait)
    if scheme == "memory":
        from nexeon.store.memory import MemoryStore

        return MemoryStore()
    if scheme != "tinydb" or not rest:
        raise StoreError(f"store.url: no engine is called `{scheme}`: use tinydb:FOLDER, postgresql://… or memory:")
    from nexeon.store.tinydb_engine import TinyStore

    return await _patiently(partial(TinyStore.open, Path(rest)), StoreLocked, wait)


async def _patiently(open_it: Callable[[], Awaitable[Store]], hindrance: type[StoreError], wait: float) -> Store:
    deadline = time.monotonic() + wait
    while True:
        try:
            return await open_it()
        except hindrance:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(0.05)
