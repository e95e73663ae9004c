"""The stores beside the ledger in a database that several gateways share: what one has written the others find."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexeon.admin import AdminService
from nexeon.config import Idempotency
from nexeon.errors import NotFound, RequestError
from nexeon.gateway.observe.metrics import Metrics
from nexeon.gateway.repeats.idempotency import Claim, Kept, Repeats
from nexeon.store.answers import Answer, SQLiteAnswers
from nexeon.store.postgres.dialect import Dialect
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.records import Account, ApiKey
from nexeon.store.requests import RequestLog
from nexeon.store.rests import Rest, RestStore
from tests.patience import PATIENCE

from ..servers import schema_url

Pair = tuple[PostgresStore, PostgresStore]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    url = await schema_url(tmp_path)
    one, other = await PostgresStore.open(url), await PostgresStore.open(url)
    yield one, other
    await other.close()
    await one.close()


def answer(id: str, *, status: str = "completed", previous: str | None = None, **more: object) -> Answer:
    facts = {"created": 1000.0, "status": status, "body": b'{"x":1}', "input": b"[1]", "output": b"[2]"}
    return Answer(account="a", id=id, previous=previous, **{**facts, **more})  # type: ignore[arg-type]


async def test_answers(pair: Pair) -> None:
    now = [1000.0]
    one, other = (SQLiteAnswers(store.place, ttl=60, account_bytes=10**6, clock=lambda: now[0]) for store in pair)
    assert one.shared
    one.put(answer("r1", background=True, streamed=True, items=("item_1",)))
    one.append("a", "r1", 0, [b'{"n":0}', b'{"n":1}'])
    one.put(answer("r2", previous="r1"))
    await one.flush()
    found = await other.get("a", "r1")
    assert (found.body, found.background, found.streamed, found.touched) == (b'{"x":1}', True, True, 1000.0)
    assert [each.id for each in await other.chain("a", "r2")] == ["r1", "r2"]
    assert (await other.holding("a", "item_1")).id == "r1"
    assert await other.events("a", "r1", 1) == [b'{"n":1}']
    now[0] += 5
    assert await other.renew("a", "r1") == "completed"
    assert (await one.get("a", "r1")).touched == 1005.0
    other.put(answer("r1", status="failed"))
    await other.flush()
    assert (await one.get("a", "r1")).status == "failed"
    await other.delete("a", "r1")
    with pytest.raises(NotFound):
        await one.get("a", "r1")
    now[0] += 100
    await other.sweep()
    now[0] -= 100
    with pytest.raises(NotFound):
        await one.get("a", "r2")
    await one.close()
    await other.close()


async def test_requests(pair: Pair) -> None:
    one, other = (RequestLog(store.place, bodies=True, clock=lambda: 50.0) for store in pair)
    for number in range(3):
        one.record(
            {"id": f"req_{number}", "started": float(number), "account": "acc_1", "status": 200, "usage": {"a": 1}}
        )
    one.record({"id": "req_b", "started": 9.5, "request": b'{"q": "\\u0000"}', "response": b"{}"})
    await one.flush()
    assert [each["id"] for each in await other.list(limit=2)] == ["req_b", "req_2"]
    assert [each["id"] for each in await other.list({"account": "acc_1", "until": 2.0}, before="req_2")] == [
        "req_1",
        "req_0",
    ]
    assert [each["id"] for each in await other.list({"status": 200})] == ["req_2", "req_1", "req_0"]
    assert [each["id"] for each in await other.list({"status": 200, "account": "acc_1"}, limit=1)] == ["req_2"]
    assert (await other.show("req_b"))["response"] == "{}"
    assert one.dropped == other.dropped == 0
    await one.close()
    await other.close()


async def test_rests(pair: Pair) -> None:
    one, other = (RestStore(store.place) for store in pair)
    rest = Rest("pk_1", "", "mark", "removed", "401", 1.0, 2.5, 3)
    await one.put(rest)
    await one.put(rest)
    assert await other.load() == [rest]
    await other.drop("pk_1")
    assert await one.load() == []
    await one.close()
    await other.close()


async def test_usage_is_counted_once_and_changes_are_told(pair: Pair) -> None:
    services = [AdminService(store) for store in pair]
    acme = await services[0].call("accounts.create", {"name": "acme"}, actor="x")
    await services[0].call("credits.add", {"account": acme["id"], "usd": "5"}, actor="x")
    store = pair[0]
    for number in range(20):
        held = await store.reserve(acme["id"], "key_1", 10, ttl=60, detail={"request": f"r{number}"})
        await store.settle(held, 7, detail={"model": "m", "provider": "p", "usage": {"input": 3}})
    pages = await asyncio.gather(*(service.call("usage.list", {"by": "model"}, actor="x") for service in services * 3))
    for page in pages:
        (row,) = page["items"]
        assert (row["requests"], row["input"], row["cost"]) == (20, 60, "0.00000014")
    listed = await services[1].call("audit.list", {"limit": 1}, actor="x")
    assert [each["method"] for each in listed["items"]] == ["credits.add"]
    listed = await services[1].call("audit.list", {"after": listed["next"]}, actor="x")
    assert [(each["method"], each["subject"]) for each in listed["items"]] == [("accounts.create", acme["id"])]
    for service in services:
        await service.close()


async def test_a_repeated_request_finds_the_first_one_elsewhere(pair: Pair) -> None:
    one, other = (Repeats(Idempotency(), store.place, Metrics()) for store in pair)
    claim = await one.claim("a", "key", "/x", b"{}")
    assert isinstance(claim, Claim)
    with pytest.raises(RequestError) as refusal:
        await other.claim("a", "key", "/x", b"{}")
    assert (refusal.value.status, refusal.value.code) == (409, "idempotency_key_in_use")
    await claim.keep(Kept(zlib.compress(b"answer"), "text/plain", {"x-nexeon-model": "m"}))
    kept = await other.claim("a", "key", "/x", b"{}")
    assert isinstance(kept, Kept)
    assert (kept.body(), kept.headers) == (b"answer", {"x-nexeon-model": "m"})
    with pytest.raises(RequestError) as refusal:
        await other.claim("a", "key", "/x", b"other")
    assert refusal.value.status == 422
    claim = await one.claim("a", "second", "/x", b"{}")
    assert isinstance(claim, Claim)
    claim.release()
    await one.close()
    again = await other.claim("a", "second", "/x", b"{}")
    assert isinstance(again, Claim), "the first one was given up"
    again.release()
    await other.close()


async def test_a_key_is_known_and_refused_elsewhere_at_once(pair: Pair) -> None:
    one, other = pair
    account, key = Account("acc_1", "acme", 1.0), ApiKey("key_1", "acc_1", "k", 1.0, "h", "")
    from dataclasses import replace

    from nexeon.store.secrets import digest

    key = replace(key, hash=digest("secret"))
    await one.add(account)
    await one.add(key)
    for changed in (key, replace(key, disabled=True)):
        await one.replace(changed)
        async with asyncio.timeout(PATIENCE):
            while (found := other.find_key("secret")) is None or found[0] != changed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await one.remove(account)
    async with asyncio.timeout(PATIENCE):
        while other.find_key("secret") is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_schemas_and_queries_are_said_in_the_other_language() -> None:
    dialect = Dialect(
        """
        PRAGMA secure_delete = ON;
        CREATE TABLE IF NOT EXISTS a (x TEXT NOT NULL, n INTEGER NOT NULL DEFAULT 0, r REAL, PRIMARY KEY (x, n))
            WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS a_r ON a (r);
        CREATE TABLE IF NOT EXISTS b (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB);
        """
    )
    assert list(dialect.statements()) == [
        "CREATE TABLE IF NOT EXISTS a (x text NOT NULL, n bigint NOT NULL DEFAULT 0, r double precision, "
        "PRIMARY KEY (x, n))",
        "ALTER TABLE a ADD COLUMN IF NOT EXISTS x text NOT NULL",
        "ALTER TABLE a ADD COLUMN IF NOT EXISTS n bigint NOT NULL DEFAULT 0",
        "ALTER TABLE a ADD COLUMN IF NOT EXISTS r double precision",
        "CREATE TABLE IF NOT EXISTS b (number bigint GENERATED BY DEFAULT AS IDENTITY, body bytea, "
        "PRIMARY KEY (number))",
        "ALTER TABLE b ADD COLUMN IF NOT EXISTS number bigint GENERATED BY DEFAULT AS IDENTITY",
        "ALTER TABLE b ADD COLUMN IF NOT EXISTS body bytea",
        "CREATE INDEX IF NOT EXISTS a_r ON a (r)",
    ]
    assert dialect.say("PRAGMA incremental_vacuum") == ""
    assert dialect.say("INSERT OR REPLACE INTO a VALUES (?, ?, ?)") == (
        "INSERT INTO a (x, n, r) VALUES ($1, $2, $3) ON CONFLICT (x, n) DO UPDATE SET r = excluded.r"
    )
    assert dialect.say("INSERT OR IGNORE INTO a (x, n) VALUES (?, ?)") == (
        "INSERT INTO a (x, n) VALUES ($1, $2) ON CONFLICT (x, n) DO NOTHING"
    )
    assert dialect.say("SELECT * FROM a WHERE x = ? LIMIT ?") == "SELECT * FROM a WHERE x = $1 LIMIT $2"
