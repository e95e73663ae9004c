"""Four gateways' stores on one database: credit and budgets hold for all of them together, to the nano-dollar."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexeon.errors import BudgetExceeded, Conflict, InsufficientCredit, StoreError, StoreUnavailable
from nexeon.store.postgres.engine import GONE, PostgresStore
from nexeon.store.postgres.migrations import migrate, pending
from nexeon.store.records import Account, ApiKey, Balance, ProviderKey
from nexeon.store.secrets import VARIABLE
from tests.patience import PATIENCE

from ..servers import schema_url

Stores = list[PostgresStore]


@pytest.fixture
async def url(tmp_path: Path) -> str:
    return await schema_url(tmp_path)


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    """Opened at once: one of them makes the tables."""
    opened = await asyncio.gather(*(PostgresStore.open(url) for _ in range(4)))
    yield opened
    for store in opened:
        await store.close()


async def whole(store: PostgresStore) -> Balance:
    """Checks what must hold of every ledger, and gives the balance."""
    entries = await store.history(limit=100_000)
    balance = await store.balance("acc_1")
    assert [entry.id for entry in entries] == [f"led_{number:012d}" for number in range(1, len(entries) + 1)]
    running, last = 0, ""
    for entry in entries:
        running += entry.amount
        assert (entry.balance, entry.previous) == (running, last)
        last = entry.id
    assert running == balance.balance
    return balance


@pytest.mark.parametrize("expires", [None, 4e9], ids=["plain", "expiring"])
async def test_credit_for_a_hundred_calls_pays_a_hundred_calls(stores: Stores, expires: float | None) -> None:
    await stores[0].add(Account("acc_1", "acme", 0.0))
    await stores[0].post("acc_1", "grant", 700, expires=expires)
    outcomes: Counter[bool] = Counter()

    async def client(store: PostgresStore) -> None:
        for number in range(3):
            try:
                held = await store.reserve("acc_1", "k", 7, ttl=60, detail={})
            except InsufficientCredit:
                outcomes[False] += 1
                continue
            if number == 1:
                await store.begin(held)
            await store.settle(held, 7, detail={})
            outcomes[True] += 1

    await asyncio.gather(*(client(stores[number % 4]) for number in range(64)))
    assert outcomes == {True: 100, False: 92}
    assert await whole(stores[2]) == Balance(0, 0)


async def test_a_budget_for_ten_calls_pays_ten_calls(stores: Stores) -> None:
    await stores[0].add(Account("acc_1", "acme", 0.0))
    await stores[0].add(ApiKey("key_1", "acc_1", "k", 0.0, "h", "", budget=100, period="month"))
    await stores[0].post("acc_1", "grant", 10_000)
    outcomes: Counter[bool] = Counter()

    async def client(store: PostgresStore) -> None:
        try:
            held = await store.reserve("acc_1", "key_1", 10, ttl=60, detail={})
            await store.settle(held, 10, detail={})
            outcomes[True] += 1
        except BudgetExceeded:
            outcomes[False] += 1

    await asyncio.gather(*(client(stores[number % 4]) for number in range(40)))
    assert outcomes == {True: 10, False: 30}
    assert (await stores[3].budget("key_1")).spent == 100
    await whole(stores[1])


async def test_the_ledger_adds_up_at_any_interleaving_of_many_accounts(stores: Stores) -> None:
    """Usual and unusual calls, in all stores, on accounts in any order: nothing waits for ever, nothing is lost."""
    for number in range(6):
        account = Account(f"acc_{number}", f"a{number}", 0.0, overdraft=10 * number)
        await stores[0].add(account)
        await stores[0].add(
            ApiKey(f"key_{number}", account.id, "k", 0.0, f"h{number}", "", budget=[None, 900][number % 2])
        )
        await stores[0].post(account.id, "grant", 2_000, expires=4e9 if number % 3 == 0 else None)
    charged: Counter[str] = Counter()
    beyond: Counter[str] = Counter()
    """What calls used that had not been reserved: only that may pass a budget."""

    async def client(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            store, owner = chance.choice(stores), chance.randrange(6)
            try:
                held = await store.reserve(f"acc_{owner}", f"key_{owner}", chance.randrange(80), ttl=60, detail={})
            except InsufficientCredit:
                continue
            if chance.random() < 0.2:
                await chance.choice(stores).release(held)
                continue
            first, second = await asyncio.gather(
                *(other.settle(held, chance.randrange(90), detail={}) for other in chance.sample(stores, 2))
            )
            assert first == second, "whoever settles, it is charged once"
            charged[held.account] -= first.amount
            beyond[held.account] += max(-first.amount - held.amount, 0)

    await asyncio.gather(*(client(seed) for seed in range(24)))
    entries = await stores[0].history(limit=100_000)
    assert [entry.id for entry in entries] == [f"led_{number:012d}" for number in range(1, len(entries) + 1)]
    for number in range(6):
        balance = await stores[1].balance(f"acc_{number}")
        assert balance.reserved == 0
        assert balance.balance == 2_000 - charged[f"acc_{number}"] >= -10 * number
        spent = (await stores[2].budget(f"key_{number}")).spent
        assert spent == charged[f"acc_{number}"]
        assert not number % 2 or spent <= 900 + beyond[f"acc_{number}"]


async def test_calls_of_a_gateway_that_is_gone_are_closed_by_another(stores: Stores) -> None:
    one, other = stores[:2]
    await one.add(Account("acc_1", "acme", 0.0))
    await one.post("acc_1", "grant", 100)
    begun = await one.reserve("acc_1", "k", 10, ttl=900, detail={"request": "begun"})
    await one.begin(begun)
    await one.reserve("acc_1", "k", 20, ttl=900, detail={})
    mine = await other.reserve("acc_1", "k", 30, ttl=900, detail={})
    await one.balance("acc_1")
    assert await other.sweep() == 0, "both live"
    async with other.connections.one() as connection:
        query = "UPDATE gateways SET seen = now() - $1::float8 * interval '1 s' WHERE id = $2"
        await connection.execute(query, GONE + 1, one.gateway)
    assert await other.sweep() == 2
    assert await whole(other) == Balance(90, 30)
    assert (await one.settle(begun, 3, detail={})).amount == -10, "what came too late changes nothing"
    await other.release(mine)


async def test_a_caller_that_left_holds_nothing(stores: Stores) -> None:
    store = stores[0]
    await store.add(Account("acc_1", "acme", 0.0))
    await store.post("acc_1", "grant", 100)
    for pause in (0.0, 0.0005, 0.002, 0.01):
        task = asyncio.create_task(store.reserve("acc_1", "k", 10, ttl=900, detail={}))
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            await store.release(task.result())
    async with asyncio.timeout(PATIENCE):
        while (await store.balance("acc_1")).reserved:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_ledger_cannot_be_rewritten(stores: Stores) -> None:
    await stores[0].add(Account("acc_1", "acme", 0.0))
    await stores[0].post("acc_1", "grant", 100)
    for query in ("UPDATE ledger SET amount = 0", "DELETE FROM ledger"):
        with pytest.raises(StoreError, match="append-only"):
            async with stores[0].connections.one() as connection:
                await connection.execute(query)


async def test_names_are_taken_once_by_all(stores: Stores) -> None:
    made = await asyncio.gather(
        *(store.add(Account(f"acc_{number}", "acme", 0.0)) for number, store in enumerate(stores)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in made) == ["Conflict", "Conflict", "Conflict", "NoneType"]
    assert isinstance(next(filter(None, made)), Conflict)


async def test_a_database_that_a_newer_version_shaped_is_left_alone(stores: Stores, url: str) -> None:
    async with stores[0].connections.one() as connection:
        assert await pending(connection) == await migrate(connection) == []
        await connection.execute("INSERT INTO migrations (number, name) VALUES (9999, 'future')")
    with pytest.raises(StoreError, match="a newer version of NeXeon has shaped this database"):
        await PostgresStore.open(url)


async def test_another_secret_key_is_found_at_the_start(
    stores: Stores, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stores[0].add(ProviderKey("pk_1", "p", "default", 0.0, stores[0].seal("secret"), ""))
    monkeypatch.setenv(VARIABLE, "another secret than the first")
    with pytest.raises(StoreError, match=f"{VARIABLE} is not the one"):
        await PostgresStore.open(url)


@pytest.mark.parametrize("url", ["postgresql://someone:pass-word@127.0.0.1:1/db", "postgresql://127.0.0.1:1/db?x=y"])
async def test_what_cannot_be_reached_is_told_without_its_password(url: str) -> None:
    with pytest.raises(StoreUnavailable) as refusal:
        await PostgresStore.open(url)
    assert "pass-word" not in str(refusal.value)
    assert "127.0.0.1:1/db" in str(refusal.value)
