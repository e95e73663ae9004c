"""What a gateway knows of keys without asking, and how few commits a request waits for: on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nexeon.errors import StoreUnavailable
from nexeon.store.postgres import replica
from nexeon.store.postgres.connections import Connections
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.records import Account, ApiKey
from nexeon.store.secrets import digest
from tests.patience import PATIENCE, until

from ..servers import schema_url

TOGETHER = 60
KEY = ApiKey("key_1", "acc_1", "k", 1.0, digest("secret"), "")


@pytest.fixture
async def url(tmp_path: Path) -> str:
    return await schema_url(tmp_path)


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    opened = await PostgresStore.open(url)
    await opened.add(Account("acc_1", "acme", 0.0))
    await opened.add(KEY)
    await opened.post("acc_1", "grant", 10**9)
    yield opened
    await opened.close()


async def test_a_change_is_found_where_it_is_not_told(
    url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because the connection that listens is lost, or a pooler swallows what it is told."""

    async def deaf(self: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(replica.Replica, "_listen", deaf)
    other = await PostgresStore.open(url)
    try:
        assert other.find_key("secret") is not None
        for disabled in (True, False):
            changed = replace(KEY, disabled=disabled)
            await store.replace(changed)
            await until(lambda changed=changed: (found := other.find_key("secret")) is not None and found[0] == changed)
    finally:
        await other.close()


async def test_what_is_known_is_used_for_so_long_without_the_database(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a key may have been disabled elsewhere without this gateway's knowing; afterwards as before."""
    reach = Connections.one
    gone = True

    def one(self: Connections) -> Any:
        if gone:
            raise StoreUnavailable("the database is gone")
        return reach(self)

    monkeypatch.setattr(replica, "STALE", 3600.0)
    monkeypatch.setattr(Connections, "one", one)
    assert store.find_key("secret") is not None  # its commits may fail, but the key is known
    monkeypatch.setattr(replica, "STALE", 1.0)

    def refused() -> bool:
        try:
            store.find_key("secret")
        except StoreUnavailable as error:
            return "has not been reached" in str(error)
        return False

    await until(refused)
    gone = False
    await until(lambda: not refused())
    monkeypatch.setattr(replica, "STALE", 3600.0)
    found = store.find_key("secret")
    assert found is not None
    assert found[0] == KEY


async def commits(store: PostgresStore, table: str, condition: str = "true") -> int:
    """By how many transactions these rows were written last."""
    async with store.connections.one() as connection:
        query = f"SELECT count(DISTINCT xmin::text) FROM {table} WHERE {condition}"
        return int(await connection.fetchval(query))


async def test_who_comes_together_shares_a_commit(store: PostgresStore) -> None:
    """One for what all reserve, one for what all are charged, but for those who come while the first is being made."""
    await store.release(await store.reserve("acc_1", "key_1", 1, ttl=60, detail={}))  # a gateway's first registers it
    held = await asyncio.gather(
        *(
            store.reserve("acc_1", "key_1", 100, ttl=60, detail={"request": f"req_{number}"})
            for number in range(TOGETHER)
        )
    )
    assert await commits(store, "reservations") <= 4
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(store.settle(each, 60, detail={}) for each in held))
    assert await commits(store, "ledger", "kind = 'charge'") <= 4
    assert (await store.balance("acc_1")).balance == 10**9 - 60 * TOGETHER
    (alone,) = [await store.reserve("acc_1", "key_1", 100, ttl=60, detail={})]
    assert await commits(store, "reservations") == 1
    await store.settle(alone, 60, detail={})
    assert await store.reservations() == []
