"""A file that the kernel lets grow no further: met when credit is reserved, never when it is settled."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from nexeon.store.records import Balance
from nexeon.store.tinydb_engine import TinyStore
from tests.patience import PATIENCE

LIMIT = 3 << 20

PROGRAM = """
import asyncio, sys
from pathlib import Path
from nexeon.errors import StoreUnavailable
from nexeon.store.records import Account
from nexeon.store.tinydb_engine import TinyStore

async def main():
    store = await TinyStore.open(Path(sys.argv[1]))
    await store.add(Account("acc_1", "acme", 0.0))
    await store.post("acc_1", "grant", 1_000_000)
    held = []
    try:
        while True:
            held.append(await store.reserve("acc_1", "k", 10, ttl=60, detail={"request": str(len(held))}))
            await store.begin(held[-1])
    except StoreUnavailable as error:
        print(error)
    note = {"class_%d" % number: 123456789 for number in range(30)}
    await asyncio.gather(*(store.settle(each, 7, detail={"usage": note, "price": note}) for each in held))
    print(len(held))
    await store.close()

asyncio.run(main())
"""


async def test_what_was_admitted_is_settled_on_a_full_disk(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs in this loop
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT)),
    )
    assert done.returncode == 0, done.stderr
    refusal, count = done.stdout.splitlines()
    assert refusal.endswith("cannot grow: File too large")
    assert int(count) > 100
    store = await TinyStore.open(tmp_path)
    assert await store.balance("acc_1") == Balance(1_000_000 - 7 * int(count), 0)
    assert not [entry for entry in await store.ledger("acc_1", limit=10**6) if entry.estimated]
    await store.close()
