"""A process that is killed between any two steps of a keyed request: what was answered is charged once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Gate
from processes import Process
from scripts import COST, talks
from upstream import Upstream

from nexeon.admin import connect
from nexeon.errors import StoreUnavailable
from nexeon.gateway.repeats.idempotency import Repeats
from nexeon.gateway.repeats.owed import Owed, collect
from nexeon.store import Account, Detail, open_store
from tests.patience import PATIENCE

STEPS = {
    "before it is kept": ("nexeon.gateway.repeats.idempotency", "Repeats", "keep", "before"),
    "once it is kept": ("nexeon.gateway.repeats.idempotency", "Repeats", "keep", "after"),
    "once it is charged": ("nexeon.store.memory", "MemoryStore", "settle", "after"),
}
KILL = """
import importlib, os, signal
owner = getattr(importlib.import_module({0!r}), {1!r})
step = getattr(owner, {2!r})
async def dies(*args, **named):
    if {3!r} == 'after':
        await step(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, {2!r}, dies)
"""


async def ask(process: Process, stream: bool) -> httpx.Response:
    body = {"model": "plain", "say": [{"who": "user", "text": "hi"}], "stream": stream}
    headers = {"x-api-key": process.key, "idempotency-key": "once"}
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        return await client.post(process.url + "/talk", json=body, headers=headers)


async def charges(process: Process) -> list[dict[str, Any]]:
    client = await connect(f"tinydb:{process.folder / 'data'}")
    try:
        page = await client.call("credits.ledger", account="a")
    finally:
        await client.close()
    return [entry for entry in page["items"] if entry["kind"] == "charge"]


@pytest.mark.parametrize(
    ("step", "stream", "calls"),
    [
        ("before it is kept", False, 2),
        ("once it is kept", False, 1),
        ("once it is charged", False, 1),
        ("once it is kept", True, 1),
        ("once it is charged", True, 1),
    ],
)
async def test_killed_at_each_step(tmp_path: Path, step: str, stream: bool, calls: int) -> None:
    upstream = Upstream()
    await upstream.start()
    upstream.plays(talks())
    process = Process(tmp_path / "one", upstream.url)
    try:
        process.first = KILL.format(*STEPS[step])
        await process.start()
        with pytest.raises(httpx.TransportError):
            await ask(process, stream)
        await process.ended()
        process.first = ""
        await process.start()
        first, again = await ask(process, stream), await ask(process, stream)
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.content == again.content
        assert again.headers["x-nexeon-replayed"] == "true"
        assert len(upstream.calls) == calls
        assert len(await charges(process)) == 1
        assert (await process.balance())[1] == "0.00"
    finally:
        await process.kill()
        await upstream.stop()


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_a_charge_that_failed_is_made_when_it_comes_again(
    gate: Gate, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.upstream.plays(talks())
    body = {"model": "plain", "say": [{"who": "user", "text": "hi"}], "stream": stream}

    async def full(*args: Any, **named: Any) -> None:
        raise StoreUnavailable("no room")

    with monkeypatch.context() as patch:
        patch.setattr(gate.store, "settle", full)
        for _ in range(2):
            failed = await gate.client.post("/talk", json=body, headers={"idempotency-key": "once"})
            assert b"could not be booked" in failed.content
    for _ in range(2):
        good = await gate.client.post("/talk", json=body, headers={"idempotency-key": "once"})
        assert good.headers["x-nexeon-replayed"] == "true"
        assert b"could not be booked" not in good.content
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == COST


async def test_a_client_that_left_while_it_was_charged_gets_that_answer(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.upstream.plays(talks())
    body = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
    keeping, go = asyncio.Event(), asyncio.Event()
    keep = Repeats.keep

    async def slow(*args: Any) -> None:
        keeping.set()
        await go.wait()
        await keep(*args)

    monkeypatch.setattr(Repeats, "keep", slow)
    left = asyncio.create_task(gate.client.post("/talk", json=body, headers={"idempotency-key": "once"}))
    await keeping.wait()
    left.cancel()
    early = await gate.client.post("/talk", json=body, headers={"idempotency-key": "once"})
    assert early.status_code == 409
    go.set()
    await gate.gateway.settler.drain(PATIENCE)
    again = await gate.client.post("/talk", json=body, headers={"idempotency-key": "once"})
    assert again.headers["x-nexeon-replayed"] == "true"
    assert len(gate.upstream.calls) == 1
    assert await gate.spent() == COST


async def test_what_is_owed_is_collected_once() -> None:
    """However its reservation ended: under way, released, settled; whatever the wallet has."""
    store = await open_store("memory:")
    account = "acc_1"
    await store.add(Account(account, "a", 0.0))
    await store.post(account, "grant", 100)
    for number, end in enumerate(("open", "released", "settled")):
        detail: Detail = {"request": f"req{number}"}
        held = await store.reserve(account, "", 20, ttl=60, detail=detail)
        due = Owed(f"req{number}", account, "", held.created, 20, detail)
        if end == "released":
            await store.release(held)
        if end == "settled":
            await store.settle(held, 20, detail=detail)
        for _ in range(2):
            await collect(store, due)
        assert (await store.balance(account)).balance == 100 - 20 * (number + 1)
    await collect(store, Owed("late", account, "", held.created, 100, {"request": "late"}))
    assert (await store.balance(account)).balance == 0
    newest = (await store.ledger(account, limit=1))[0]
    assert (newest.kind, newest.uncollected) == ("shortfall", 60)
    await store.close()
