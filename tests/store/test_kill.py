"""kill -9 at random moments under load: what was acknowledged is there, once; nothing is stuck."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from nexeon.store.tinydb_engine import TinyStore

ROUNDS = 6

# Prints the id of every call that it charged, after the charge was acknowledged; checkpoints all the time.
LOAD = """
import asyncio, itertools, sys
from pathlib import Path
from nexeon.errors import NotFound
from nexeon.store.records import Account
from nexeon.store.tinydb_engine import TinyStore

async def client(store, numbers):
    for number in numbers:
        held = await store.reserve("acc_1", "k", 10, ttl=60, detail={"request": str(number)})
        if number % 3 == 0:
            await store.begin(held)
        await asyncio.sleep(0)
        if number % 5 == 0:
            await store.release(held)
            continue
        await store.settle(held, 7, detail={})
        print(number, flush=True)

async def main():
    store = await TinyStore.open(Path(sys.argv[1]))
    try:
        await store.account("acc_1")
    except NotFound:
        await store.add(Account("acc_1", "acme", 0.0))
    await store.post("acc_1", "grant", 10_000_000)
    print("ready", flush=True)
    numbers = itertools.count(int(sys.argv[2]))
    clients = [asyncio.create_task(client(store, numbers)) for _ in range(16)]
    while True:
        await asyncio.sleep(0.05)
        await store.checkpoint()

asyncio.run(main())
"""


async def test_a_killed_process_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(2)
    acknowledged: set[str] = set()
    for round_ in range(1, ROUNDS + 1):
        process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
            [sys.executable, "-c", LOAD, str(tmp_path), str(round_ * 1_000_000)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        acknowledged |= {process.stdout.readline().strip() for _ in range(12)}
        time.sleep(chance.uniform(0.02, 0.4))  # noqa: ASYNC251
        process.kill()
        lines = process.communicate()[0].split("\n")
        acknowledged |= set(lines[:-1])
        store = await TinyStore.open(tmp_path)
        entries = await store.ledger("acc_1", limit=10**9)
        now = await store.balance("acc_1")
        assert await store.reservations() == []
        await store.close()
        charges = [entry for entry in entries if entry.kind == "charge"]
        requests = [entry.request for entry in charges]
        assert len(requests) == len(set(requests))
        assert acknowledged <= {entry.request for entry in charges if not entry.estimated}
        assert sum(entry.amount for entry in entries) == now.balance == now.available
        assert {entry.amount for entry in charges if entry.estimated} <= {-10}
        assert {entry.amount for entry in charges if not entry.estimated} == {-7}
        assert len([entry for entry in entries if entry.kind == "grant"]) == round_
    assert len(acknowledged) > 10 * ROUNDS
