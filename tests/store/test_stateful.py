"""Whatever is done in whatever order, on every engine: the wallet stays within its overdraft, keys within their
budgets, and the ledger is the balance."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from nexeon.errors import BudgetExceeded, InsufficientCredit
from nexeon.store.protocol import Store
from nexeon.store.records import Account, ApiKey, LedgerEntry, Period, Reservation
from nexeon.store.tinydb_engine import TinyStore

from ..servers import need_postgres
from .conftest import ENGINES, Clock

T = TypeVar("T")
ACCOUNTS = ("acc_1", "acc_2")
accounts = st.sampled_from(ACCOUNTS)
amounts = st.integers(0, 300)
picks = st.integers(0, 50)


class Money(RuleBasedStateMachine):
    """A model of every wallet beside the store's own."""

    engine = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.root = Path(tempfile.mkdtemp(prefix="nexeon-stateful-"))
        self.generation = 0
        self.store: Store = self.run(ENGINES[self.engine](self.folder, self.clock))
        self.balance = dict.fromkeys(ACCOUNTS, 0)
        self.overdraft = dict.fromkeys(ACCOUNTS, 0)
        self.deepest = dict.fromkeys(ACCOUNTS, 0)
        self.lowered = dict.fromkeys(ACCOUNTS, False)
        # (expires, number, left) of grants that expire
        self.lots: dict[str, list[list[float]]] = {account: [] for account in ACCOUNTS}
        self.grants = 0
        # what each key spent on a day, counted in days
        self.spent: list[tuple[str, int, int]] = []
        self.budget: dict[str, tuple[int | None, Period]] = {}
        self.open: list[tuple[Reservation, bool]] = []
        self.seen: list[LedgerEntry] = []
        for account in ACCOUNTS:
            self.run(self.store.add(Account(account, account, 0.0)))
            self.run(self.store.add(self.key(account)))

    @property
    def folder(self) -> Path:
        return self.root / str(self.generation)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def key(self, account: str) -> ApiKey:
        limit, period = self.budget.setdefault("key_" + account, (None, ""))
        return ApiKey("key_" + account, account, "k", 0.0, "hash of " + account, "", budget=limit, period=period)

    def reserved(self, account: str) -> int:
        return sum(held.amount for held, _ in self.open if held.account == account)

    def expired(self, account: str) -> int:
        late = sum(int(left) for expires, _, left in self.lots[account] if expires <= self.clock.now)
        return min(late, max(0, self.balance[account] - self.reserved(account)))

    def available(self, account: str) -> int:
        return self.balance[account] - self.reserved(account) - self.expired(account) + self.overdraft[account]

    def spend(self, account: str, amount: int) -> None:
        """The earliest to expire first."""
        self.balance[account] -= amount
        for lot in sorted(self.lots[account]):
            taken = min(amount, int(lot[2]))
            lot[2] -= taken
            amount -= taken

    def take_back(self, account: str, most: int = 4) -> None:
        """Of expired grants, as many as go at once."""
        due = self.expired(account)
        lots = [lot for lot in sorted(self.lots[account]) if lot[2]][:most]
        late = sum(int(left) for expires, _, left in lots if expires <= self.clock.now)
        self.spend(account, min(due, late))

    def spent_in_period(self, key: str) -> int:
        period = self.budget[key][1]
        now = datetime.fromtimestamp(self.clock.now, UTC)
        total = 0
        for owner, when, amount in self.spent:
            then = datetime.fromtimestamp(when, UTC)
            same = {
                "day": then.date() == now.date(),
                "week": then.isocalendar()[:2] == now.isocalendar()[:2],
                "month": (then.year, then.month) == (now.year, now.month),
                "": True,
            }[period]
            total = max(0, total + (amount if owner == key and same else 0))
        return total

    @rule(account=accounts, amount=st.integers(1, 300))
    def refund(self, account: str, amount: int) -> None:
        self.take_back(account)
        self.run(self.store.post(account, "refund", amount, key="key_" + account))
        self.balance[account] += amount
        self.spent.append(("key_" + account, int(self.clock.now), -amount))

    @rule(account=accounts, amount=st.integers(-300, 300), kind=st.sampled_from(["grant", "adjustment", "refund"]))
    def post(self, account: str, amount: int, kind: Any) -> None:
        self.take_back(account)
        allowed = self.available(account) + amount >= 0 or amount >= 0
        try:
            self.run(self.store.post(account, kind, amount))
        except InsufficientCredit:
            assert not allowed
        else:
            assert allowed
            self.balance[account] += max(0, amount)
            self.spend(account, max(0, -amount))

    @rule(account=accounts, amount=st.integers(1, 300), seconds=st.integers(0, 200_000))
    def grant(self, account: str, amount: int, seconds: int) -> None:
        expires = self.clock.now + seconds
        self.take_back(account)
        self.run(self.store.post(account, "grant", amount, expires=expires))
        self.balance[account] += amount
        self.grants += 1
        left = min(amount, max(0, self.balance[account]))
        self.lots[account].append([expires, self.grants, left])

    @rule(account=accounts, amount=amounts)
    def allow_overdraft(self, account: str, amount: int) -> None:
        self.lowered[account] |= amount < self.overdraft[account]
        self.overdraft[account] = amount
        self.deepest[account] = max(self.deepest[account], amount)
        self.run(self.store.replace(Account(account, account, 0.0, overdraft=amount)))

    @rule(account=accounts, limit=st.none() | amounts, period=st.sampled_from(["", "day", "week", "month"]))
    def set_budget(self, account: str, limit: int | None, period: Period) -> None:
        self.budget["key_" + account] = (limit, period)
        self.run(self.store.replace(self.key(account)))

    @rule(seconds=st.integers(1, 3_000_000))
    def wait(self, seconds: int) -> None:
        """Calls under way go on: they renew what they hold."""
        self.clock.now += seconds
        for held, _ in self.open:
            self.run(self.store.renew(held, 60))

    @rule(account=accounts, amount=amounts)
    def reserve(self, account: str, amount: int) -> None:
        self.take_back(account)
        key = "key_" + account
        limit = self.budget[key][0]
        covered = self.available(account) >= amount
        within = limit is None or self.spent_in_period(key) + self.reserved(account) + amount <= limit
        try:
            held = self.run(self.store.reserve(account, key, amount, ttl=60, detail={}))
        except BudgetExceeded:
            assert covered
            assert not within
            self.take_back(account)
        except InsufficientCredit:
            assert not covered
            self.take_back(account)
        else:
            assert covered
            assert within
            self.open.append((held, False))

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def begin(self, pick: int) -> None:
        held, _ = self.open[pick % len(self.open)]
        self.run(self.store.begin(held))
        self.open[pick % len(self.open)] = (held, True)

    def charge(self, held: Reservation, amount: int) -> int:
        """What a charge of an amount takes, once the reservation is closed."""
        room = self.balance[held.account] - self.reserved(held.account) + self.overdraft[held.account]
        taken = min(amount, max(room, held.amount))
        self.spend(held.account, taken)
        self.spent.append((held.key, int(self.clock.now), taken))
        return taken

    @precondition(lambda self: self.open)
    @rule(pick=picks, amount=amounts)
    def settle(self, pick: int, amount: int) -> None:
        held, _ = self.open.pop(pick % len(self.open))
        charge = self.run(self.store.settle(held, amount, detail={}))
        assert -charge.amount == self.charge(held, amount)

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        held, _ = self.open.pop(pick % len(self.open))
        self.run(self.store.release(held))

    @rule()
    def expire(self) -> None:
        self.clock.now += 61
        assert self.run(self.store.sweep()) == len(self.open)
        self.orphaned()
        for account in ACCOUNTS:
            self.take_back(account, 1000)

    def orphaned(self) -> None:
        while self.open:
            held, begun = self.open.pop(0)
            if begun:
                self.charge(held, held.amount)

    @precondition(lambda self: isinstance(self.store, TinyStore))
    @rule()
    def checkpoint(self) -> None:
        assert isinstance(self.store, TinyStore)
        self.run(self.store.checkpoint())

    @precondition(lambda self: isinstance(self.store, TinyStore))
    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.run(ENGINES[self.engine](self.folder, self.clock))
        self.orphaned()

    @precondition(lambda self: isinstance(self.store, TinyStore))
    @rule(torn=st.binary(max_size=20))
    def crash(self, torn: bytes) -> None:
        # Notes that nobody waits for are written within a moment; this crash comes after it.
        self.run(asyncio.sleep(0.03))
        before = self.folder
        self.generation += 1
        shutil.copytree(before, self.folder, ignore=shutil.ignore_patterns("store.lock"))
        self.run(self.store.close())
        journal = max(self.folder.glob("journal-*"))
        journal.write_bytes(journal.read_bytes().rstrip(b"\0") + torn.rstrip(b"\0"))
        self.store = self.run(ENGINES[self.engine](self.folder, self.clock))
        self.orphaned()

    @invariant()
    def adds_up(self) -> None:
        for account in ACCOUNTS:
            now = self.run(self.store.balance(account))
            assert (now.balance, now.reserved) == (self.balance[account], self.reserved(account))
            assert now.available == self.available(account)
            if not self.lowered[account]:
                assert 0 <= now.reserved <= now.balance + self.overdraft[account]
            entries = self.run(self.store.ledger(account, limit=10_000))
            assert sum(entry.amount for entry in entries) == now.balance
            assert [entry.previous for entry in entries] == [*(entry.id for entry in entries[1:]), ""][: len(entries)]
            assert all(entry.balance >= -self.deepest[account] for entry in entries)
            budget = self.run(self.store.budget("key_" + account))
            assert (budget.spent, budget.reserved) == (
                self.spent_in_period("key_" + account),
                self.reserved(account),
            )
        history = self.run(self.store.history(limit=10_000))
        assert [entry.id for entry in history] == [f"led_{number:012d}" for number in range(1, len(history) + 1)]
        assert sum(entry.amount for entry in history) == sum(self.balance.values())

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.root)


EXAMPLES = {"memory": 40, "tinydb": 30, "postgres": 10}
"""A run of 30 steps is worth several examples of one value; of the slower ones there are many with `make soak`."""


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_money_adds_up(engine: str) -> None:
    if engine == "postgres":
        need_postgres()  # in the machine's making a skip would leave its event loop behind
    machine = type(f"Money_{engine}", (Money,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(EXAMPLES[engine], settings().max_examples // 50),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
