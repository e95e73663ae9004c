"""Limits that several gateways count together on a Redis server, and what becomes of them when it is gone."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from conftest import Opener, until
from scripts import says, talks

from nexeon.errors import ConfigError
from nexeon.gateway.limits.shared_windows import SharedWindows
from nexeon.gateway.limits.windows import HELD, Claim, Exceeded, MemoryWindows, Taken
from nexeon.gateway.pool.shared_rests import SharedRests
from nexeon.store.rests import Rest
from tests.patience import PATIENCE
from tests.servers import RedisServer, need_redis

Maker = Callable[[], SharedWindows]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer at once is not taken for one that is gone."""
    monkeypatch.setattr("nexeon.gateway.limits.shared_windows._TIMEOUT", PATIENCE)


@pytest.fixture
async def make(tmp_path: Path, patient: None) -> AsyncIterator[Maker]:
    """Makes counters that share a place of the test's own."""
    url = need_redis()
    made: list[SharedWindows] = []

    def open_windows() -> SharedWindows:
        made.append(SharedWindows(f"{url}?prefix={abs(hash(tmp_path))}"))
        return made[-1]

    yield open_windows
    for windows in made:
        await windows.close()


async def test_no_limit_is_passed_by_many_at_once(make: Maker) -> None:
    gateways = [make() for _ in range(4)]
    taken: list[Taken] = []
    refused: list[Exceeded] = []

    async def client(windows: SharedWindows) -> None:
        for _ in range(10):
            try:
                taken.append(await windows.take([Claim("k:requests", 25, 60), Claim("k:tokens", 1000, 60, 30)]))
            except Exceeded as error:
                refused.append(error)

    await asyncio.gather(*(client(windows) for windows in gateways * 2))
    assert (len(taken), len(refused)) == (25, 55)
    assert {error.level.claim.name for error in refused} == {"k:requests"}
    assert all(0 < error.wait <= 61 and error.level.left == 0 for error in refused)
    assert min(levels.levels[0].left for levels in taken) == 0
    await gateways[0].settle(taken[0], [1, 5])
    left = (await gateways[1].take([Claim("k:tokens", 1000, 60, 0)])).levels[0].left
    assert left == 1000 - 24 * 30 - 5
    await gateways[0].settle(taken[1], [1, 130])
    assert (await gateways[1].take([Claim("k:tokens", 1000, 60, 0)])).levels[0].left == left - 100


class ServersClock:
    """The server's clock in the test's hand; by its own one nothing runs out."""

    def __init__(self, *all_windows: SharedWindows) -> None:
        self.now = 1_700_000_000.0
        self._client = all_windows[0].client
        self._name = f"clock:{all_windows[0].prefix}"
        for windows in all_windows:
            script = windows._script.script.replace("redis.call('TIME')", f"{{redis.call('GET', '{self._name}'), 0}}")
            script = script.replace("redis.call('PEXPIRE', key, ", "tostring(")
            windows._script = windows.client.register_script(script)

    async def leap(self, seconds: float) -> None:
        self.now += seconds
        await self._client.set(self._name, repr(self.now))


async def test_calls_at_once_are_given_back_or_run_out(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make(), make()
    clock = ServersClock(one, other)
    await clock.leap(0)
    claim = Claim("k:calls", 2, HELD)
    first, second = await one.take([claim]), await other.take([claim])
    assert [taken.levels[0].left for taken in (first, second)] == [1, 0]
    with pytest.raises(Exceeded) as refusal:
        await one.take([claim])
    assert refusal.value.wait == 1
    await other.settle(second, [1])
    monkeypatch.setattr("nexeon.gateway.limits.shared_windows._LEASE", 30.0)
    lost = await other.take([claim])
    other._held.clear()  # its gateway was killed
    await clock.leap(29)
    with pytest.raises(Exceeded):
        await one.take([claim])
    await clock.leap(2)
    await one.settle(await one.take([claim]), [1])
    await one.settle(first, [1])
    assert lost.levels[0].left == 0


async def test_a_long_call_keeps_what_it_holds(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexeon.gateway.limits.shared_windows._LEASE", 0.3)
    windows = make()
    clock = ServersClock(windows)
    await clock.leap(0)
    claim = Claim("k:calls", 1, HELD)
    await windows.take([claim])
    await clock.leap(0.2)

    async def ends() -> float:
        ((_, end),) = await windows.client.zrange(windows._key(claim), 0, -1, withscores=True)
        return float(end)

    async with asyncio.timeout(PATIENCE):
        while await ends() < clock.now + 0.25:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await clock.leap(0.2)
    with pytest.raises(Exceeded):
        await windows.take([claim])


@pytest.mark.parametrize("seed", range(5))
async def test_it_counts_as_one_process_does_in_memory(make: Maker, seed: int) -> None:
    """The same orders at the same moments: the same answers. The server's clock is put in the test's hand."""
    chance = random.Random(seed)
    shared = make()
    clock = ServersClock(shared)
    memory = MemoryWindows(lambda: clock.now)
    granted: list[tuple[Taken, Taken]] = []
    outcomes = set()
    for _ in range(150):
        await clock.leap(chance.choice([0.0, 0.1, 0.9, 7.0, 40.0]))
        if granted and chance.random() < 0.3:
            one, other = granted.pop(chance.randrange(len(granted)))
            amounts = [chance.randrange(0, 40) for _ in one.claims]
            await shared.settle(one, amounts)
            memory.settle_now(other, amounts)
            continue
        claims = [
            Claim("requests", chance.choice([0, 5, 9]) if chance.random() < 0.1 else 9, 60, 1),
            Claim("tokens", 100, 60, chance.randrange(0, 120)),
            Claim("day", 400, 86_400, chance.randrange(0, 30)),
        ]
        answers: list[Any] = []
        for windows in (shared, memory):
            try:
                taken = await windows.take(claims)
                answers.append(([level.left for level in taken.levels], [level.reset for level in taken.levels], taken))
            except Exceeded as error:
                answers.append((error.level.claim.name, [error.level.left, error.level.reset, error.wait], None))
        assert answers[0][0] == answers[1][0]
        assert answers[0][1] == pytest.approx(answers[1][1], abs=0.01)
        outcomes.add(answers[0][2] is None)
        if answers[0][2] is not None:
            granted.append((answers[0][2], answers[1][2]))
    assert outcomes == {True, False}


async def test_without_the_server_each_process_counts_on_its_own_until_it_is_back(
    tmp_path: Path, patient: None
) -> None:
    need_redis()
    server = RedisServer(tmp_path)
    try:
        await asyncio.to_thread(server.start)
    except FileNotFoundError:
        pytest.skip("no Redis program: a server that is not ours is not killed")
    lost: list[bool] = []
    windows = SharedWindows(server.url, failed=lost.append)
    claim = Claim("k", 2, 60)
    try:
        before = await windows.take([claim])
        await asyncio.to_thread(server.stop)
        assert (await windows.take([claim])).levels[0].left == 1
        mine = await windows.take([claim])
        assert not windows.reachable
        with pytest.raises(Exceeded):
            await windows.take([claim])
        await windows.settle(before, [1])
        await windows.settle(mine, [1])
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(PATIENCE):
            while not windows.reachable:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await windows.take([claim])).levels[0].left == 1
        assert lost == [True, False]
    finally:
        await windows.close()
        await asyncio.to_thread(server.stop)


async def test_gateways_tell_each_other_which_key_rests(make: Maker) -> None:
    one, other = SharedRests(make()), SharedRests(make())
    heard: list[tuple[str, str, Rest | None]] = []
    rest = Rest("pk_1", "m", "mark", "cooling", "429", 1.0, 2.5, 1)
    await one.tell("pk_1", "m", rest)
    other.listen(lambda *told: heard.append(told))
    await until(lambda: len(heard) == 1)
    await one.tell("pk_1", "m", None)
    await until(lambda: len(heard) == 2)
    assert heard == [("pk_1", "m", rest), ("pk_1", "m", None)]
    await other.tell("pk_2", "", rest)
    await asyncio.sleep(0.1)
    assert len(heard) == 2, "what one tells itself it does not hear"
    await other.close()
    await one.close()


async def test_two_gateways_share_limits_and_cool_downs(opened: Opener, tmp_path: Path, patient: None) -> None:
    url = f"{need_redis()}?prefix={abs(hash(tmp_path))}"

    def shared(value: dict[str, Any]) -> None:
        value["limits"] = {"url": url, "key": {"concurrency": 50}, "model": {"rpm": 4}}
        value["providers"]["one"]["keys"] = [{"key": "second", "limits": {"rpm": 1}}]

    gates = [await opened(shared) for _ in range(2)]
    gates[0].upstream.plays(talks())
    statuses = [(await gates[number % 2].talk()).status_code for number in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]
    secrets = [call.headers["x-secret"] for call in gates[0].upstream.calls]
    assert secrets.count("Key second") <= 1
    limited = says({"oops": {"kind": "rate_limit", "say": "slow down"}}, 429, {"retry-after": "9"})
    gates[0].upstream.plays(limited)
    assert (await gates[0].talk("noted")).status_code == 429
    provider = gates[1].gateway.config.providers["noter"]
    pool = gates[1].gateway.pool
    await until(lambda: not pool.choose(provider, "noted-up").leases)
    assert "nexeon_limits_shared 1" in (await gates[0].client.get("/metrics")).text


@pytest.mark.parametrize("url", ["http://x", "redis://h:port/0"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match=r"limits\.url"):
        SharedWindows(url)
