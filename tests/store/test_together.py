"""Orders that the database carries out as sets, one by one, or has the gateway do, end as if each had come alone."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from nexeon.errors import StoreError
from nexeon.store.memory import MemoryStore
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.protocol import Store
from nexeon.store.records import Account, ApiKey, Reservation

from ..servers import schema_url
from .conftest import Clock

ACCOUNTS = ("rich", "scarce", "expiring", "overdrawn")
KEYS = {"rich": ("k1", "k2", "gone"), "scarce": ("k3",), "expiring": ("k4",), "overdrawn": ("k5",)}
"""Where credit may not last, whose turn it is decides: a batch goes by account and key."""
Order = Callable[[Store], Awaitable[Any]]


@pytest.fixture
async def both(tmp_path: Path, clock: Clock) -> AsyncIterator[tuple[Store, Store]]:
    stores: tuple[Store, Store] = (
        MemoryStore(clock=clock),
        await PostgresStore.open(await schema_url(tmp_path), clock=clock),
    )
    for store in stores:
        for name in ACCOUNTS:
            await store.add(Account(name, name, 0.0, overdraft=50 if name == "overdrawn" else 0))
            for key in KEYS[name]:
                if key != "gone":
                    await store.add(
                        ApiKey(key, name, key, 0.0, f"hash of {key}", "last", budget=60 if key == "k2" else None)
                    )
        await store.post("rich", "grant", 100_000)
        await store.post("scarce", "grant", 40)
        await store.post("expiring", "grant", 500, expires=clock.now + 1000)
        # a gateway makes itself known with its first call
        await store.release(await store.reserve("rich", "k1", 1, ttl=60, detail={}))
    yield stores
    for store in stores:
        await store.close()


class Side:
    """One engine, and the reservations it has made by number."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.held: dict[int, Reservation] = {}

    async def reserve(self, number: int, account: str, key: str, amount: int) -> str:
        detail: Any = {"request": f"req_{number}", "model": "m", "usage": {"input": number}}
        self.held[number] = await self.store.reserve(account, key, amount, ttl=60, detail=detail)
        return "held"

    async def settle(self, number: int, amount: int) -> Any:
        detail: Any = {"provider": "p", "usage": {"output": amount}, "price": {"input": "1"}}
        charge = await self.store.settle(self.held[number], amount, detail=detail, estimated=bool(amount % 2))
        return charge.amount, charge.account, charge.request, charge.usage, charge.estimated

    async def release(self, number: int) -> None:
        await self.store.release(self.held[number])

    async def begin(self, number: int) -> None:
        await self.store.begin(self.held[number])

    async def do(self, order: tuple[Any, ...]) -> Any:
        verb, *given = order
        try:
            return await getattr(self, verb)(*given)
        except StoreError as error:
            return type(error).__name__

    async def end(self) -> Any:
        found: dict[str, Any] = {}
        for account in ACCOUNTS:
            entries = await self.store.ledger(account, limit=1000)
            balance = await self.store.balance(account)
            charges = sorted((each.kind, each.amount, each.request, each.key, each.uncollected) for each in entries)
            assert entries[0].balance == balance.balance if entries else True
            for later, earlier in itertools.pairwise(entries):
                assert (later.previous, later.balance) == (earlier.id, earlier.balance + later.amount)
            found[account] = (balance, charges)
        for key in ("k1", "k2", "k3", "k4", "k5"):
            found[key] = await self.store.budget(key)
        found["open"] = sorted((each.account, each.amount, each.started) for each in await self.store.reservations())
        return found


@pytest.mark.parametrize("seed", range(4))
async def test_what_comes_together_ends_as_if_it_came_alone(both: tuple[Store, Store], seed: int) -> None:
    chance = random.Random(seed)
    alone, together = (Side(store) for store in both)
    number = 0
    for _ in range(6):
        orders: list[tuple[Any, ...]] = []
        waiting = sorted(set(alone.held) & set(together.held))
        chance.shuffle(waiting)
        for known in waiting[:12]:
            amount = alone.held[known].amount
            most = amount if alone.held[known].account != "rich" else 3 * amount  # above the estimate, sometimes
            close = ("settle", known, chance.randrange(most + 1)) if chance.random() < 0.7 else ("release", known)
            orders += [("begin", known)] * (chance.random() < 0.3) + [close] * (2 if chance.random() < 0.2 else 1)
        for _ in range(chance.randrange(4, 20)):
            account = chance.choice(ACCOUNTS)
            orders.append(("reserve", number, account, chance.choice(KEYS[account]), chance.choice((0, 1, 7, 20))))
            number += 1
        expected = [await alone.do(order) for order in orders]
        found = await asyncio.gather(*(together.do(order) for order in orders))
        assert found == expected
        for verb, known, *_ in orders:
            if verb in ("settle", "release"):
                alone.held.pop(known, None), together.held.pop(known, None)
    assert await together.end() == await alone.end()


async def test_many_accounts_in_one_batch(both: tuple[Store, Store]) -> None:
    store = both[1]
    names = [f"acc_{number:02d}" for number in range(40)]
    for name in names:
        await store.add(Account(name, name, 0.0))
        await store.post(name, "grant", 100)
    held = await asyncio.gather(*(store.reserve(name, "k", 3, ttl=60, detail={}) for name in names * 5))
    charges = await asyncio.gather(*(store.settle(each, 2, detail={}) for each in held))
    assert len({charge.id for charge in charges}) == 200
    for name in names:
        assert (await store.balance(name)).available == 90
