"""Grants that expire, overdrafts and budgets, on every engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nexeon.errors import BudgetExceeded, InsufficientCredit
from nexeon.store.budgets import Spending, period_end
from nexeon.store.protocol import Store
from nexeon.store.records import Account, ApiKey, Balance, Period
from nexeon.store.tinydb_engine import TinyStore

from .conftest import Clock

ACME = Account("acc_1", "acme", 1.0)
KEY = ApiKey("key_1", "acc_1", "k", 1.0, "hash", "")


async def charge(store: Store, amount: int, key: str = "key_1") -> None:
    held = await store.reserve("acc_1", key, amount, ttl=60, detail={"request": "r"})
    await store.settle(
        held, amount, detail={"model": "m", "provider": "p", "usage": {"input": 1}, "price": {"input": 2}}
    )


async def test_the_earliest_to_expire_is_spent_first(store: Store, clock: Clock) -> None:
    await store.add(ACME)
    late = await store.post("acc_1", "grant", 100, expires=clock.now + 200)
    soon = await store.post("acc_1", "grant", 100, expires=clock.now + 100)
    await store.post("acc_1", "grant", 100)
    await charge(store, 130)
    clock.now += 150
    assert await store.balance("acc_1") == Balance(170, 0), "nothing of the grant that has expired was left"
    clock.now += 50
    assert await store.balance("acc_1") == Balance(170, 0, expired=70)
    assert (await store.balance("acc_1")).available == 100
    await store.sweep()
    assert await store.balance("acc_1") == Balance(100, 0)
    entry = (await store.ledger("acc_1", limit=1))[0]
    assert (entry.kind, entry.amount, entry.grant) == ("expiry", -70, late.id)
    assert soon.expires == clock.now - 100


async def test_many_grants_that_expire_at_once_go_at_once(store: Store, clock: Clock) -> None:
    await store.add(ACME)
    for _ in range(20):
        await store.post("acc_1", "grant", 10, expires=clock.now + 10)
    await store.post("acc_1", "grant", 7)
    clock.now += 10
    with pytest.raises(InsufficientCredit) as refusal:
        await store.reserve("acc_1", "key_1", 8, ttl=60, detail={})
    assert refusal.value.available == 7
    await store.sweep()
    assert await store.balance("acc_1") == Balance(7, 0)
    entries = await store.ledger("acc_1", limit=1000)
    assert len({entry.grant for entry in entries if entry.kind == "expiry"}) == 20


async def test_what_a_call_holds_outlives_its_grant(store: Store, clock: Clock) -> None:
    await store.add(ACME)
    await store.post("acc_1", "grant", 100, expires=clock.now + 10)
    held = await store.reserve("acc_1", "key_1", 60, ttl=600, detail={})
    clock.now += 10
    with pytest.raises(InsufficientCredit):
        await store.reserve("acc_1", "key_1", 1, ttl=600, detail={})
    assert await store.balance("acc_1") == Balance(60, 60)
    assert (await store.settle(held, 50, detail={})).amount == -50
    await store.sweep()
    assert await store.balance("acc_1") == Balance(0, 0)


async def test_an_overdraft_is_spent_and_no_more(store: Store) -> None:
    await store.add(replace(ACME, overdraft=50))
    await store.post("acc_1", "grant", 10)
    with pytest.raises(InsufficientCredit) as refusal:
        await store.reserve("acc_1", "key_1", 61, ttl=60, detail={})
    assert refusal.value.available == 60
    held = await store.reserve("acc_1", "key_1", 60, ttl=60, detail={})
    entry = await store.settle(held, 75, detail={})
    assert (entry.amount, entry.balance) == (-60, -50)
    assert (await store.ledger("acc_1", limit=1))[0].uncollected == 15
    assert await store.balance("acc_1") == Balance(-50, 0, overdraft=50)
    await store.remove(ACME)
    assert (await store.ledger("acc_1", limit=1))[0].balance == 0


async def test_a_debt_takes_its_part_of_a_grant_at_once(store: Store, clock: Clock) -> None:
    await store.add(replace(ACME, overdraft=50))
    await charge(store, 50)
    await store.post("acc_1", "grant", 80, expires=clock.now + 1)
    clock.now += 1
    await store.sweep()
    assert (await store.balance("acc_1")).balance == 0


@pytest.mark.parametrize(("period", "length"), [("day", 1), ("week", 7), ("month", 31)])
async def test_a_budget_holds_for_its_period(store: Store, clock: Clock, period: Period, length: int) -> None:
    await store.add(ACME)
    await store.add(replace(KEY, budget=100, period=period))
    await store.post("acc_1", "grant", 1000)
    await charge(store, 60)
    held = await store.reserve("acc_1", "key_1", 30, ttl=10**9, detail={})
    with pytest.raises(BudgetExceeded) as refusal:
        await store.reserve("acc_1", "key_1", 11, ttl=60, detail={})
    assert (refusal.value.needed, refusal.value.available, refusal.value.period) == (11, 10, period)
    assert refusal.value.resets is not None
    assert clock.now < refusal.value.resets <= clock.now + length * 86_400
    clock.now = refusal.value.resets
    budget = await store.budget("key_1")
    assert (budget.spent, budget.reserved, budget.left) == (0, 30, 70)
    await store.settle(held, 30, detail={})
    await charge(store, 70)
    with pytest.raises(BudgetExceeded):
        await charge(store, 1)


async def test_a_budget_without_a_period_counts_everything_ever_spent(store: Store, clock: Clock) -> None:
    await store.add(ACME)
    await store.add(KEY)
    await store.post("acc_1", "grant", 1000)
    await charge(store, 60)
    clock.now += 400 * 86_400
    await store.replace(replace(KEY, budget=100))
    with pytest.raises(BudgetExceeded):
        await charge(store, 41)
    await charge(store, 40)
    assert (await store.budget("key_1")).resets is None


@pytest.mark.parametrize("period", ["", "day"])
async def test_a_refund_gives_the_budget_of_its_key_back(store: Store, clock: Clock, period: Period) -> None:
    await store.add(ACME)
    await store.add(replace(KEY, budget=100, period=period))
    await store.post("acc_1", "grant", 1000)
    await charge(store, 100)
    await store.post("acc_1", "refund", 10)
    with pytest.raises(BudgetExceeded):
        await charge(store, 1)
    await store.post("acc_1", "refund", 40, key="key_1", detail={"request": "r"})
    assert (await store.budget("key_1")).left == 40
    await charge(store, 40)
    clock.now += 86_400
    before = (await store.budget("key_1")).spent
    await store.post("acc_1", "refund", 500, key="key_1")
    assert (before, (await store.budget("key_1")).left) == (0 if period else 100, 100), "never more than the budget"


async def test_wallets_and_budgets_survive_checkpoint_and_restart(tmp_path: Path, clock: Clock) -> None:
    store = await TinyStore.open(tmp_path, clock=clock)
    await store.add(replace(ACME, overdraft=5))
    await store.add(replace(KEY, budget=100, period="month"))
    await store.post("acc_1", "grant", 90, expires=clock.now + 100)
    await charge(store, 60)
    before = await store.history()
    await store.checkpoint()
    await charge(store, 10)
    await store.close()
    store = await TinyStore.open(tmp_path, clock=clock)
    assert (await store.budget("key_1")).spent == 70
    every = await store.history()
    assert every[: len(before)] == before
    assert [await store.history(after=each.id, limit=1) for each in every[:-1]] == [[each] for each in every[1:]]
    clock.now += 100
    await store.sweep()
    assert await store.balance("acc_1") == Balance(0, 0, overdraft=5)
    await store.close()


async def test_the_charge_that_crosses_the_soft_limit_is_told_of_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.add(replace(ACME, soft_limit=50))
    await store.post("acc_1", "grant", 100)
    for amount, told in ((50, 0), (1, 1), (1, 1)):
        await charge(store, amount)
        assert len([line for line in caplog.messages if "soft limit" in line]) == told


def test_periods_are_those_of_the_calendar() -> None:
    when = datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp()
    assert period_end("day", when) == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert period_end("week", when) == datetime(2027, 1, 4, tzinfo=UTC).timestamp(), "the Monday after"
    assert period_end("month", when) == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert period_end("", when) is None
    spending = Spending()
    spending.add(when, 5)
    spending.add(when - 40 * 86_400, 7)
    assert [spending.spent(each, when) for each in ("day", "week", "month", "")] == [5, 5, 5, 12]
