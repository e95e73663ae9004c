"""Whatever is done in whatever order, on every engine: the wallet is never negative and the ledger is the balance."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from nexeon.errors import InsufficientCredit
from nexeon.store.protocol import Store
from nexeon.store.records import Account, LedgerEntry, Reservation
from nexeon.store.tinydb_engine import TinyStore

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
        self.open: list[tuple[Reservation, bool]] = []
        self.seen: list[LedgerEntry] = []
        for account in ACCOUNTS:
            self.run(self.store.add(Account(account, account, 0.0)))

    @property
    def folder(self) -> Path:
        return self.root / str(self.generation)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def reserved(self, account: str) -> int:
        return sum(held.amount for held, _ in self.open if held.account == account)

    @rule(account=accounts, amount=st.integers(-300, 300), kind=st.sampled_from(["grant", "adjustment", "refund"]))
    def post(self, account: str, amount: int, kind: Any) -> None:
        allowed = self.balance[account] + amount >= self.reserved(account) or amount >= 0
        try:
            self.run(self.store.post(account, kind, amount))
        except InsufficientCredit:
            assert not allowed
        else:
            assert allowed
            self.balance[account] += amount

    @rule(account=accounts, amount=amounts)
    def reserve(self, account: str, amount: int) -> None:
        allowed = self.balance[account] - self.reserved(account) >= amount
        try:
            held = self.run(self.store.reserve(account, "k", amount, ttl=60, detail={}))
        except InsufficientCredit:
            assert not allowed
        else:
            assert allowed
            self.open.append((held, False))

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def begin(self, pick: int) -> None:
        held, _ = self.open[pick % len(self.open)]
        self.run(self.store.begin(held))
        self.open[pick % len(self.open)] = (held, True)

    @precondition(lambda self: self.open)
    @rule(pick=picks, amount=amounts)
    def settle(self, pick: int, amount: int) -> None:
        held, _ = self.open.pop(pick % len(self.open))
        most = self.balance[held.account] - self.reserved(held.account)
        charge = self.run(self.store.settle(held, amount, detail={}))
        assert -charge.amount == min(amount, most)
        self.balance[held.account] += charge.amount

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

    def orphaned(self) -> None:
        for held, begun in self.open:
            self.balance[held.account] -= held.amount if begun else 0
        self.open.clear()

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
            assert 0 <= now.reserved <= now.balance
            entries = self.run(self.store.ledger(account, limit=10_000))
            assert sum(entry.amount for entry in entries) == now.balance
            assert [entry.previous for entry in entries] == [*(entry.id for entry in entries[1:]), ""][: len(entries)]
            assert all(entry.balance >= 0 for entry in entries)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.root)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_money_adds_up(engine: str) -> None:
    machine = type(f"Money_{engine}", (Money,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
