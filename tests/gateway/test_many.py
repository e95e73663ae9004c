"""Four gateways on one PostgreSQL, one of them killed every moment; then the database itself is.

`NEXEON_CRASHES` is how often; `make soak` sets it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from fleet import SECRET_KEY, Fleet

from nexeon.store.postgres.engine import GONE, PostgresStore
from nexeon.store.secrets import VARIABLE
from tests.servers import PostgresServer, need_postgres, postgres_programs, redis_url, schema_url

CRASHES = int(os.environ.get("NEXEON_CRASHES", "3"))
CREDIT = 10**12
GATEWAYS = 4


@pytest.fixture(autouse=True)
def secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET_KEY)


async def gone(database: str) -> None:
    """Makes the killed gateways known as such, which takes half a minute otherwise."""
    store = await PostgresStore.open(database)
    async with store.connections.one() as connection:
        await connection.execute("UPDATE gateways SET seen = now() - $1::float8 * interval '2 s'", GONE)
    await store.close()


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = await Fleet.make(tmp_path, await schema_url(tmp_path), credit=CREDIT, redis=redis_url())
    yield made
    made.stop()


@pytest.mark.timeout(300 + 30 * CRASHES)
async def test_killed_gateways_lose_and_double_no_charge(fleet: Fleet) -> None:
    chance = random.Random(7)
    await asyncio.gather(*(fleet.start() for _ in range(GATEWAYS)))

    async def kill() -> None:
        for _ in range(CRASHES):
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            await fleet.restart(chance.randrange(GATEWAYS))
            await fleet.goes_on()

    await fleet.load(16, kill)
    fleet.stop()
    await gone(fleet.database)
    charges = await fleet.check(CREDIT)
    assert set(fleet.statuses) == {200}, fleet.codes
    assert charges <= len(fleet.begun) + 16 * CRASHES


async def test_the_database_dies_and_comes_back(tmp_path: Path) -> None:
    need_postgres()
    if postgres_programs() is None:
        pytest.skip("no PostgreSQL programs: a server that is not ours is not killed")
    # Short, and not below a folder that only root may enter.
    with tempfile.TemporaryDirectory(prefix="nexeon-crash-") as place:
        os.chmod(place, 0o755)
        server = PostgresServer(Path(place) / "server", durable=True)
        await asyncio.to_thread(server.make)
        await asyncio.to_thread(server.start)
        fleet = await Fleet.make(tmp_path, server.url, credit=CREDIT)
        try:
            for _ in range(2):
                await fleet.start()

            async def kill() -> None:
                for pause in (0.5, 4.5):
                    await asyncio.sleep(1.0)
                    await asyncio.to_thread(server.stop, signal.SIGQUIT)
                    await asyncio.sleep(pause)
                    await asyncio.to_thread(server.start)

            await fleet.load(12, kill)
            await fleet.load(4, fleet.goes_on)  # both do so by themselves
            assert set(fleet.statuses) <= {200, 503}
            assert set(fleet.codes) <= {"store_unavailable"}
            fleet.stop()
            await gone(server.url)
            await fleet.check(CREDIT)
        finally:
            fleet.stop()
            await asyncio.to_thread(server.stop)
