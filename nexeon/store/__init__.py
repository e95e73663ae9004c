"""Accounts, keys and money, behind one protocol. `open_store` picks the engine by the URL."""

from __future__ import annotations

from nexeon.errors import StoreError
from nexeon.store.money import to_nano, to_usd
from nexeon.store.protocol import Store
from nexeon.store.records import (
    Account,
    ApiKey,
    Balance,
    Detail,
    LedgerEntry,
    ProviderKey,
    Reservation,
)

__all__ = [
    "Account",
    "ApiKey",
    "Balance",
    "Detail",
    "LedgerEntry",
    "ProviderKey",
    "Reservation",
    "Store",
    "open_store",
    "to_nano",
    "to_usd",
]


async def open_store(url: str) -> Store:
    """`memory:`. Raises StoreError for another URL."""
    from nexeon.store.memory import MemoryStore

    scheme, _, _ = url.partition(":")
    if scheme == "memory":
        return MemoryStore()
    raise StoreError(f"store.url `{url}`: no engine is called `{scheme}`; use tinydb:FOLDER or memory:")
