"""What one of several gateways learns, the others go by: disabled keys, provider keys that rest; Redis that leaves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from conftest import settings
from fleet import SECRET_KEY, Fleet
from heard import MODEL, PATH

from nexeon.admin import connect_http
from nexeon.config import load_config
from nexeon.gateway.pool.kept_rests import KeptRests
from nexeon.gateway.pool.provider_keys import KeyPool
from nexeon.store.postgres.engine import PostgresStore
from nexeon.store.rests import Rest, RestStore
from nexeon.store.secrets import VARIABLE
from tests.patience import PATIENCE, until
from tests.servers import RedisServer, need_redis, schema_url

TOKEN = "a token of tests only"
BODY = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET_KEY)


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    need_redis()
    server = RedisServer(tmp_path / "redis")
    server.make()
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


async def test_two_gateways_go_by_what_one_is_told_and_on_without_redis(tmp_path: Path, redis: RedisServer) -> None:
    fleet = await Fleet.make(tmp_path, await schema_url(tmp_path), credit=10**12, redis=redis.url, rpm=100_000)
    fleet.configure(admin={"http": {"token": TOKEN}})
    try:
        one, other = await asyncio.gather(fleet.start(), fleet.start())
        headers = {"authorization": f"Bearer {fleet.secret}"}
        async with httpx.AsyncClient(headers=headers, timeout=PATIENCE) as http:

            async def asked(url: str) -> httpx.Response:
                return await http.post(url + PATH, json=BODY)

            async def until_told(status: int) -> httpx.Response:
                async with asyncio.timeout(PATIENCE):
                    while (answer := await asked(other.url)).status_code != status:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                return answer

            async def shared(url: str) -> bool:
                return "nexeon_limits_shared 1" in (await http.get(url + "/metrics")).text

            async def until_shared(*urls: str) -> None:
                async with asyncio.timeout(PATIENCE):
                    while not all([await shared(url) for url in urls]):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)

            assert [(await asked(member.url)).status_code for member in (one, other)] == [200, 200]
            await until_shared(one.url)
            await asyncio.to_thread(redis.stop)
            assert [(await asked(member.url)).status_code for member in (one, other)] == [200, 200]
            assert not await shared(one.url)
            assert "each process counts on its own" in fleet.errors()
            await asyncio.to_thread(redis.start)
            await until_shared(one.url, other.url)
            assert (await asked(one.url)).status_code == 200

            admin = connect_http(one.url, TOKEN)
            try:
                await admin.call("keys.update", key="key_1", disabled=True)
                assert (await asked(one.url)).status_code == 401
                assert (await until_told(401)).json()["error"]["code"] == "key_disabled"
                await admin.call("keys.update", key="key_1", disabled=False)
                await until_told(200)
            finally:
                await admin.close()
    finally:
        fleet.stop()


async def test_gateways_on_one_database_tell_each_other_which_key_rests(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings("http://127.0.0.1:1")))
    provider = load_config([file], environ={}).providers["one"]
    url = await schema_url(tmp_path)
    stores = [await PostgresStore.open(url) for _ in range(2)]
    pools = []
    for store in stores:
        rests = RestStore(store.place)
        pools.append(KeyPool(store, rests=rests, others=KeptRests(rests)))
        await pools[-1].open()
    try:
        one, other = pools
        (lease,) = one.choose(provider, "m").leases
        one.limited(lease, "m", 600)
        await until(lambda: not other.choose(provider, "m").leases)
        assert other.choose(provider, "another").leases
        await other.lift(lease.id)
        await until(lambda: one.choose(provider, "m").leases)
    finally:
        for pool in pools:
            await pool.close()
        for store in stores:
            await store.close()


async def test_a_rest_that_ends_before_its_own_gateway_looks_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexeon.gateway.pool.kept_rests._LOOK", 0.01)
    rests, heard = RestStore(None), []
    rest = Rest("pk_1", "m", "mark", "cooling", "429", 1.0, 2.5, 1)
    load = rests.load
    looks = 0

    async def counted() -> list[Rest]:
        nonlocal looks
        looks += 1
        return await load()

    monkeypatch.setattr(rests, "load", counted)
    others = KeptRests(rests)
    others.listen(lambda *told: heard.append(told))
    try:
        others.kept("pk_1", "m", rest)  # and another gateway has dropped it already
        await until(lambda: heard)
        await rests.put(rest)
        others.kept("pk_1", "m", None)  # ended here, and another gateway has put it meanwhile
        await until(lambda: len(heard) == 2)
        before = looks
        await until(lambda: looks > before + 5)
        assert heard == [("pk_1", "m", None), ("pk_1", "m", rest)]
    finally:
        await others.close()
        await rests.close()
