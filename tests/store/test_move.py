"""Everything goes from one engine to another, exactly, in both directions, as often as one likes."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from nexeon.admin import AdminService
from nexeon.admin.audit import AuditLog
from nexeon.cli import main
from nexeon.cli.store import _sides
from nexeon.config import Idempotency
from nexeon.errors import Conflict, StoreError
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.repeats.idempotency import Claim, Kept, Repeats
from nexeon.store import Store, open_store
from nexeon.store.answers import Answer, SQLiteAnswers
from nexeon.store.move import Moved, move
from nexeon.store.records import Account, ApiKey, ProviderKey
from nexeon.store.requests import RequestLog
from nexeon.store.secrets import VARIABLE, digest

from ..servers import schema_url

Urls = Callable[[str], Awaitable[str]]


@pytest.fixture
def urls(tmp_path: Path) -> Urls:
    """A new store's URL by engine."""
    made: list[str] = []

    async def make(engine: str) -> str:
        folder = tmp_path / f"{engine}{len(made)}"
        made.append(engine)
        return f"tinydb:{folder}" if engine == "tinydb" else await schema_url(folder)

    return make


async def fill(url: str, *, rounds: int = 60) -> None:
    """A store with everything that there can be in one."""
    chance = random.Random(3)
    store = await open_store(url)
    now = time.time()
    for number in range(3):
        await store.add(Account(f"acc_{number}", f"name {number}", 1.0 + number, overdraft=100 * number, rpm=5))
        key = ApiKey(f"key_{number}", f"acc_{number}", "k", 2.0, digest(f"secret {number}"), "")
        await store.add(replace(key, budget=10**6, period="month", models=("a*", "b")))
        await store.post(f"acc_{number}", "grant", 10_000)
        await store.post(f"acc_{number}", "grant", 500, expires=now + 10_000, reason="gift")
    await store.add(ProviderKey("pk_1", "p", "default", 3.0, store.seal("the provider's secret"), "cret", label="x"))
    for number in range(rounds):
        owner = chance.randrange(3)
        held = await store.reserve(f"acc_{owner}", f"key_{owner}", 90, ttl=60, detail={"request": f"r{number}"})
        detail = {"model": "m", "provider": "p", "usage": {"input": number}, "price": {"input": 5}}
        await store.settle(held, chance.randrange(120), detail=detail)  # type: ignore[arg-type]
    await store.post("acc_0", "refund", 40, key="key_0", detail={"request": "r1"})
    await store.add(Account("acc_gone", "gone", 9.0))
    await store.post("acc_gone", "grant", 77)
    await store.remove(await store.account("acc_gone"))
    answers = SQLiteAnswers(store.place)
    answers.put(Answer("acc_0", "resp_1", now, "completed", None, b"{}", b"[1]", b"[2]", items=("i1",)))
    answers.append("acc_0", "resp_1", 0, [b"{}"])
    log = RequestLog(store.place)
    for number in range(450):
        log.record({"id": f"req_{number}", "started": now + number, "account": "acc_0"})
    repeats = Repeats(Idempotency(), store.place, Metrics())
    claim = await repeats.claim("acc_0", "once", "/p", b"{}")
    assert isinstance(claim, Claim)
    await claim.keep(Kept(zlib.compress(b"body"), "text/plain", {}))
    service = AdminService(store, requests=log)
    await service.call("keys.disable", {"key": "key_2"}, actor="tests")
    for side in (answers, log, repeats, service):
        await side.close()  # type: ignore[attr-defined]
    await store.close()


async def whole(url: str) -> dict[str, object]:
    """All that a store says of itself."""
    store = await open_store(url)
    answers, log = SQLiteAnswers(store.place), RequestLog(store.place)
    repeats, audit = Repeats(Idempotency(), store.place, Metrics()), AuditLog(store.place)
    service = AdminService(store, requests=log)
    history = await store.history(limit=10_000)
    kept = await repeats.claim("acc_0", "once", "/p", b"{}")
    assert isinstance(kept, Kept)
    found: dict[str, object] = {
        "accounts": await store.accounts(),
        "keys": await store.api_keys(),
        "provider_keys": [replace(key, sealed="") for key in await store.all_provider_keys()],
        "secrets": [secret for _, secret in store.provider_keys("p")],
        "history": history,
        "balances": [await store.balance(f"acc_{number}") for number in range(3)],
        "budgets": [await store.budget(f"key_{number}") for number in range(3)],
        "gone": await store.ledger("acc_gone"),
        "answer": replace(await answers.get("acc_0", "resp_1"), touched=0),
        "item": (await answers.holding("acc_0", "i1")).id,
        "events": await answers.events("acc_0", "resp_1"),
        "requests": await log.list(limit=1000),
        "kept": kept.body(),
        "changes": await audit.read({}, 10),
        "usage": await service.call("usage.list", {"by": "account"}, actor="tests"),
    }
    assert store.find_key("secret 1") is not None
    for side in (answers, log, repeats, audit, service):
        await side.close()  # type: ignore[attr-defined]
    await store.close()
    return found


async def go(source: str, target: str) -> Moved:
    told: list[str] = []
    moved = await move(source, target, _sides(), lambda what, done, total: told.append(what))
    assert {"ledger entries", "entries checked", "answers", "requests"} <= set(told)
    return moved


@pytest.mark.parametrize(("first", "second"), [("tinydb", "postgres"), ("postgres", "tinydb"), ("tinydb", "tinydb")])
async def test_there_and_back(urls: Urls, first: str, second: str) -> None:
    source, middle, last = await urls(first), await urls(second), await urls(first)
    await fill(source)
    before = await whole(source)
    moved = await go(source, middle)
    assert (moved.accounts, moved.keys, moved.entries) == (3, 3, moved.new_entries)
    assert await whole(middle) == before
    assert (await go(source, middle)).new_entries == 0, "again, and nothing changes"
    assert await whole(middle) == before
    assert (await go(middle, last)).digest == moved.digest
    assert await whole(last) == before
    await go_on(last)
    again = await go(last, middle)
    assert again.new_entries >= 2, "what is new follows"
    assert await whole(middle) == await whole(last)


async def go_on(url: str) -> None:
    """The store works as any other."""
    store = await open_store(url)
    await store.post("acc_1", "grant", 5)
    held = await store.reserve("acc_1", "key_1", 5, ttl=60, detail={})
    await store.settle(held, 5, detail={})
    await store.replace(replace(await store.api_key("key_0"), budget=5))
    await store.add(ApiKey("key_9", "acc_0", "k", 2.0, digest("another"), ""))
    log = RequestLog(store.place)
    log.record({"id": "req_new", "started": time.time() + 9999})
    assert (await log.list(limit=1))[0]["id"] == "req_new"
    assert not log.dropped
    await log.close()
    await store.close()


@pytest.mark.parametrize("first", ["tinydb", "postgres"])
@pytest.mark.parametrize("second", ["tinydb", "postgres"])
async def test_a_store_with_nothing_beside_its_ledger_goes_anywhere(urls: Urls, first: str, second: str) -> None:
    source, target = await urls(first), await urls(second)
    store = await open_store(source)
    await store.add(Account("acc_1", "one", 1.0))
    await store.post("acc_1", "grant", 5)
    await store.close()
    for new in (1, 0):
        moved = await move(source, target, _sides(), lambda what, done, total: None)
        assert (moved.accounts, moved.new_entries, moved.total, moved.rows) == (1, new, 5, 0)


@pytest.mark.parametrize("engine", ["tinydb", "postgres"])
async def test_a_move_that_was_broken_off_is_done_by_moving_again(
    urls: Urls, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = await urls("tinydb"), await urls(engine)
    await fill(source)
    monkeypatch.setattr("nexeon.store.move.PAGE", 20)

    def broken(what: str, done: int, total: int | None) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await move(source, target, _sides(), broken)
    await go(source, target)
    assert await whole(target) == await whole(source)


@pytest.mark.parametrize("engine", ["tinydb", "postgres"])
async def test_a_store_with_a_ledger_of_its_own_is_left_as_it_is(urls: Urls, engine: str) -> None:
    source, target = await urls("tinydb"), await urls(engine)
    await fill(source)
    store = await open_store(target)
    await store.add(Account("acc_x", "x", 0.0))
    entry = await store.post("acc_x", "grant", 1)
    await store.close()
    with pytest.raises(Conflict, match="a ledger of its own, from led_000000000001 on"):
        await go(source, target)
    store = await open_store(target)
    assert await store.history() == [entry]
    await store.close()


async def test_a_database_in_use_is_not_moved(urls: Urls) -> None:
    source, target = await urls("postgres"), await urls("tinydb")
    store: Store = await open_store(source)
    await store.add(Account("acc_x", "x", 0.0))
    await store.reserve("acc_x", "k", 0, ttl=60, detail={})
    for pair in ((source, target), (target, source)):
        with pytest.raises(Conflict, match="gateways run on postgresql://"):
            await go(*pair)
    await store.close()
    with pytest.raises(StoreError, match="the same store"):
        await go(source, source)


async def test_provider_keys_need_a_key_that_is_shared(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = await urls("tinydb"), await urls("postgres")
    monkeypatch.delenv(VARIABLE)
    await fill(source, rounds=1)
    with pytest.raises(StoreError, match=f"set {VARIABLE} to the same secret on every gateway"):
        await go(source, target)


def test_the_commands(tmp_path: Path) -> None:
    import asyncio

    source, database = f"tinydb:{tmp_path / 'one'}", asyncio.run(schema_url(tmp_path))
    (tmp_path / "c.yaml").write_text(json.dumps({"store": {"url": database}}))
    run = CliRunner().invoke
    dry = run(main, ["store", "migrations", "--dry-run", "--json", "-c", str(tmp_path / "c.yaml")])
    assert (dry.exit_code, json.loads(dry.stdout)[0]["number"]) == (0, 1), dry.output
    again = run(main, ["store", "migrations", database, "--dry-run", "--sql"])
    assert "CREATE TABLE ledger" in again.stdout
    assert "0001 store" in run(main, ["store", "migrations", database]).stdout
    assert "up to date" in run(main, ["store", "migrations", database]).stderr
    assert run(main, ["store", "migrations", source]).exit_code == 1
    asyncio.run(fill(source, rounds=3))
    moved = run(main, ["store", "migrate", source, "configured", "--json", "-c", str(tmp_path / "c.yaml")])
    assert moved.exit_code == 0, moved.output
    assert json.loads(moved.stdout)["accounts"] == 3
    assert "the sums agree" in moved.stderr
