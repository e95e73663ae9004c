"""Provider keys in a pool: rests, trials, weights, limits, conversations; targets that fail; models that stand in."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Gate, Opener
from scripts import COST, SAID, says, talks
from upstream import Call

from nexeon.admin import AdminService
from nexeon.config import Breaker, Limits, PoolKey, Target
from nexeon.errors import AdminError
from nexeon.gateway.pool.health import TargetHealth
from nexeon.gateway.pool.provider_keys import KeyPool
from nexeon.gateway.pool.strategy import ordered
from nexeon.store import open_store
from nexeon.store.rests import Rest, RestStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def keys(*parts: dict[str, Any]) -> Any:
    def change(value: dict[str, Any]) -> None:
        value["providers"]["one"].update(api_key="", keys=list(parts))

    return change


def used(call: Call) -> str:
    return call.headers["x-secret"].removeprefix("Key ")


def by_key(**scripts: Any) -> Any:
    async def script(call: Call) -> None:
        await scripts[used(call)](call)

    return script


def oops(kind: str) -> dict[str, Any]:
    return {"oops": {"kind": kind, "say": f"no: {kind}"}}


async def test_one_limited_one_revoked_one_good_and_no_client_sees_an_error(opened: Opener) -> None:
    gate = await opened(keys({"key": "limited"}, {"key": "revoked"}, {"key": "good"}))
    gate.upstream.plays(
        by_key(
            limited=says(oops("rate_limit"), 429, {"retry-after": "30"}),
            revoked=says(oops("authentication"), 401),
            good=talks(),
        )
    )
    for stream in (False, True, False):
        answers = await asyncio.gather(*(gate.talk(stream=stream) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
    assert await gate.spent() == 60 * COST
    states = gate.gateway.pool.states()
    assert (states["config:one:1"]["state"], states["config:one:1"]["reason"]) == ("cooling", "rate limit (429)")
    assert 20 < states["config:one:1"]["wait"] <= 30
    assert (states["config:one:2"]["state"], states["config:one:2"]["reason"]) == ("removed", "401 authentication")
    assert states["config:one:3"]["state"] == "active"
    assert {state["running"] for state in states.values()} == {0}
    calls = len(gate.upstream.calls)
    await asyncio.gather(*(gate.talk() for _ in range(10)))
    assert {used(call) for call in gate.upstream.calls[calls:]} == {"good"}
    metrics = (await gate.client.get("/metrics")).text
    assert 'nexeon_provider_keys{provider="one",state="removed"} 1' in metrics
    assert 'nexeon_provider_keys{provider="one",state="active"} 1' in metrics


async def test_states_are_shown_to_operators(opened: Opener) -> None:
    gate = await opened(lambda value: value["providers"]["one"].update(api_key=""))
    service = AdminService(gate.store, gate.gateway.config, pool=gate.gateway.pool)
    bad = await service.provider_keys.add(provider="one", secret="revoked-key")
    await service.provider_keys.add(provider="one", secret="good-key")
    gate.upstream.plays(by_key(**{"revoked-key": says(oops("billing"), 402), "good-key": talks()}))
    for _ in range(3):
        assert (await gate.talk()).status_code == 200
    shown = await service.provider_keys.list()
    live = next(each for each in shown["items"] if each["id"] == bad["id"])["live"]
    assert (live["state"], live["reason"]) == ("removed", "402 billing")
    assert {(each["state"], each["reason"]) for each in shown["items"]} == {("removed", "402 billing"), ("active", "")}
    await service.provider_keys.disable(key=bad["id"])
    assert {each["state"] for each in (await service.provider_keys.list())["items"]} == {"disabled", "active"}


async def test_states_of_the_configurations_keys_are_shown_too(opened: Opener) -> None:
    gate = await opened(keys({"key": "limited"}, {"key": "good"}))
    service = AdminService(gate.store, gate.gateway.config, pool=gate.gateway.pool)
    gate.upstream.plays(
        by_key(limited=says(oops("rate_limit"), 429, {"retry-after": "9"}), good=talks()),
    )
    assert (await gate.talk()).status_code == 200
    shown = await service.provider_keys.list(provider="one")
    assert {each["id"]: each["state"] for each in shown["items"]} == {
        "config:one:1": "cooling", "config:one:2": "active",
    }  # fmt: skip
    assert "limited" not in str(shown).replace("rate limit", "")


async def test_keys_that_nothing_has_used_are_shown_and_enabled_by_their_ids(opened: Opener) -> None:
    gate = await opened(keys({"key": "limited-key-0123456789", "weight": 3, "limits": {"rpm": 5}}, {"key": "other"}))
    service = AdminService(gate.store, gate.gateway.config, pool=gate.gateway.pool)
    items = (await service.provider_keys.list())["items"]
    assert [(each["id"], each["state"], each["live"]) for each in items] == [
        ("config:one:1", "active", None), ("config:one:2", "active", None), ("config:noter", "active", None),
    ]  # fmt: skip
    assert (items[0]["weight"], items[0]["rpm"], items[0]["last4"]) == (3, 5, "6789")
    assert "limited-key" not in str(items)
    for refused in (service.provider_keys.disable, service.provider_keys.delete):
        with pytest.raises(AdminError, match="kept in the configuration"):
            await refused(key="config:one:1")
    gate.upstream.plays(says(oops("authentication"), 401))
    assert (await gate.talk()).status_code == 503
    assert (await service.provider_keys.show(key="config:one:1"))["state"] == "removed"
    assert (await service.provider_keys.enable(key="config:one:1"))["state"] == "active"
    assert gate.gateway.pool.states()["config:one:2"]["state"] == "removed"


async def test_what_is_known_of_keys_outlives_the_process(opened: Opener, tmp_path: Path) -> None:
    gate = await opened(keys({"key": "limited"}, {"key": "revoked"}, {"key": "good"}, {"key": "forbidden"}))
    provider = gate.gateway.config.providers["one"]
    clock = Clock()

    async def restarted() -> KeyPool:
        pool = KeyPool(gate.store, clock, rests=RestStore(tmp_path))
        await pool.open()
        return pool

    pool = await restarted()
    limited, revoked, good, forbidden = pool.choose(provider, "m").leases
    pool.limited(limited, "m", 600)
    pool.refused(revoked, "m", "401 authentication", only_model=False)
    pool.refused(revoked, "m", "401 authentication", only_model=False)
    pool.refused(forbidden, "m", "403 permission", only_model=True)
    pool.limited(good, "m", 600)
    pool.worked(good, "m")
    before = pool.states()
    await pool.close()
    clock.now += 3
    pool = await restarted()
    assert pool.choose(provider, "m").leases == [good]
    assert pool.choose(provider, "other").leases == [limited, good, forbidden]
    after = pool.states()
    for lease in (limited, revoked, forbidden):
        kept, was = after[lease.id], before[lease.id]
        assert [kept[name] for name in ("state", "reason", "model")] == [
            was[name] for name in ("state", "reason", "model")
        ]
        assert was["wait"] - 5 < kept["wait"] <= was["wait"] + 0.1
    assert after[revoked.id]["wait"] > 45, "the second refusal in a row"
    other = AdminService(gate.store, gate.gateway.config)
    assert {each["state"] for each in (await other.provider_keys.list())["items"]} == {"active"}, "of another folder"
    await other.close()
    await pool.lift(revoked.id)
    await pool.close()
    pool = await restarted()
    assert pool.choose(provider, "other").leases == [limited, revoked, good, forbidden]
    changed = replace(provider, keys=tuple(replace(each, key=each.key + " new") for each in provider.keys))
    assert len(pool.choose(changed, "m").leases) == 4, "another secret is another key"
    await pool.close()


async def test_without_a_gateway_operators_see_and_lift_what_it_left(tmp_path: Path) -> None:
    rests = RestStore(tmp_path)
    store = await open_store(f"tinydb:{tmp_path}")
    service = AdminService(store)
    key = (await service.provider_keys.add(provider="one", secret="a-secret-0123456789"))["id"]
    now = time.time()
    await rests.put(Rest(key, "", "mark", "removed", "401 authentication", now, now + 30, 1))
    await rests.put(Rest("config:gone", "m", "mark", "cooling", "rate limit (429)", now - 9, now - 1, 1))
    shown = await service.provider_keys.show(key=key)
    assert (shown["state"], shown["reason"]) == ("removed", "401 authentication")
    assert (await service.status())["warnings"] == [f"provider key `{key}` is left out: 401 authentication"]
    assert (await service.provider_keys.enable(key=key))["state"] == "active"
    assert [rest.key for rest in await rests.load()] == ["config:gone"]
    await service.close()
    await rests.close()
    await store.close()


async def test_without_a_usable_key_the_answer_is_503_and_the_provider_is_left_alone(opened: Opener) -> None:
    gate = await opened(keys({"key": "a"}, {"key": "b"}))
    gate.upstream.plays(says(oops("authentication"), 401))
    for _ in range(6):
        answer = await gate.talk()
        assert answer.status_code == 503
        assert answer.json()["oops"]["code"] == "no_active_provider_key"
    assert len(gate.upstream.calls) <= 6, "a key that stays refused is asked ever more rarely"
    assert await gate.spent() == 0


async def test_when_every_key_is_limited_the_provider_is_not_asked(opened: Opener) -> None:
    gate = await opened(keys({"key": "a"}))
    gate.upstream.plays(says(oops("rate_limit"), 429, {"retry-after": "9"}), talks())
    assert (await gate.talk()).status_code == 429
    again = await gate.talk()
    assert again.status_code == 429
    assert 7 <= int(again.headers["retry-after"]) <= 9
    assert len(gate.upstream.calls) == 1
    assert (await gate.talk("strict")).status_code == 200, "another model has limits of its own"


async def test_a_provider_whose_keys_do_not_rest_is_asked_again(opened: Opener) -> None:
    gate = await opened(lambda value: value["providers"]["one"].update(key_rest=False))
    gate.upstream.plays(says(oops("rate_limit"), 429, {"retry-after": "9"}), says(oops("x"), 401), talks())
    assert [(await gate.talk()).status_code for _ in range(3)] == [429, 503, 200]


async def test_rests_end_and_trials_come_one_at_a_time(opened: Opener) -> None:
    gate = await opened(keys({"key": "a"}, {"key": "b"}))
    clock = Clock()
    pool = KeyPool(gate.store, clock)
    provider = gate.gateway.config.providers["one"]
    first, second = pool.choose(provider, "m").leases
    pool.limited(first, "m", 5)
    assert pool.choose(provider, "m").leases == [second]
    assert len(pool.choose(provider, "other").leases) == 2
    clock.now += 5
    assert len(pool.choose(provider, "m").leases) == 2
    pool.refused(first, "m", "401 authentication", only_model=False)
    assert pool.choose(provider, "other").leases == [second]
    clock.now += 31
    assert pool.choose(provider, "m").leases == [first, second], "a trial is due"
    done = await pool.take(first, "m", 0)
    assert done is not None
    assert pool.choose(provider, "m").leases == [second], "one trial at a time"
    pool.refused(first, "m", "401 authentication", only_model=False)
    done(0)
    clock.now += 31
    assert pool.choose(provider, "m").leases == [second], "the next one is further away"
    clock.now += 30
    done = await pool.take(pool.choose(provider, "m").leases[0], "m", 0)
    pool.worked(first, "m")
    assert done is not None
    done(0)
    assert {state["state"] for state in pool.states().values()} == {"active"}
    pool.refused(first, "m", "403 permission", only_model=True)
    assert pool.choose(provider, "m").leases == [second]
    assert len(pool.choose(provider, "other").leases) == 2


async def test_weights_and_load(opened: Opener) -> None:
    gate = await opened(keys({"key": "a", "weight": 3}, {"key": "b", "weight": 1}))
    gate.upstream.plays(talks())
    for _ in range(40):
        await gate.talk()
    assert Counter(map(used, gate.upstream.calls)) == {"a": 30, "b": 10}
    pool, provider = KeyPool(gate.store), gate.gateway.config.providers["one"]
    busy = pool.choose(provider, "m").leases[0]
    for _ in range(4):
        await pool.take(busy, "m", 0)
    assert pool.choose(provider, "m").leases[0] != busy, "the least loaded first"


async def test_a_keys_own_limits_are_kept(opened: Opener) -> None:
    gate = await opened(keys({"key": "small", "limits": {"rpm": 2}}, {"key": "big"}))
    gate.upstream.plays(talks())
    for _ in range(10):
        assert (await gate.talk()).status_code == 200
    assert Counter(map(used, gate.upstream.calls)) == {"small": 2, "big": 8}
    gate = await opened(keys({"key": "only", "limits": {"concurrency": 1}}))
    gate.upstream.plays(talks())
    assert (await gate.talk()).status_code == 200
    assert (await gate.talk(stream=True)).status_code == 200
    await gate.released()
    taken = await gate.gateway.pool.take(_only(gate), "plain-up", 0)
    assert taken is not None
    full = await gate.talk()
    assert (full.status_code, full.headers["retry-after"]) == (429, "1")
    taken(0)
    assert (await gate.talk()).status_code == 200


async def test_a_long_conversation_stays_with_its_key(opened: Opener) -> None:
    gate = await opened(keys(*({"key": f"key{number}"} for number in range(5))))
    gate.upstream.plays(talks())
    seen: dict[int, set[str]] = {}
    for round_ in range(3):
        for conversation in range(8):
            before = len(gate.upstream.calls)
            say = [{"who": "user", "text": f"{conversation} " + "long " * 1000}, {"who": "user", "text": str(round_)}]
            await gate.client.post("/talk", json={"model": "plain", "say": say})
            seen.setdefault(conversation, set()).add(used(gate.upstream.calls[before]))
    assert all(len(found) == 1 for found in seen.values())
    assert len(set.union(*seen.values())) > 1


async def test_only_its_own_conversations_leave_with_a_key(opened: Opener) -> None:
    gate = await opened(keys(*({"key": f"key{number}"} for number in range(4))))
    pool, provider = KeyPool(gate.store, Clock()), gate.gateway.config.providers["one"]
    names = [f"talk {number}" for number in range(200)]
    before = {name: pool.choose(provider, "m", conversation=name).leases[0] for name in names}
    gone = before[names[0]]
    pool.limited(gone, "m", 60)
    after = {name: pool.choose(provider, "m", conversation=name).leases[0] for name in names}
    assert all(after[name] == before[name] for name in names if before[name] != gone)
    assert gone not in after.values()
    assert len(set(before.values())) == 4


async def test_a_fall_back_model_answers_at_its_own_price(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        value["models"]["plain"]["fallbacks"] = ["noted"]
        value["models"]["noted"]["price"] = {"input": 10, "output": 20}

    gate = await opened(change)

    async def script(call: Call) -> None:
        if call.path.startswith("/noter"):
            await call.answer({"note": "hello", "cut": False, "tokens": [10, 5]})
        else:
            await call.answer(oops("x"), 500)

    gate.upstream.plays(script)
    answer = await gate.talk()
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-nexeon-model"], answer.headers["x-nexeon-provider"]) == ("noted", "noter")
    assert await gate.spent() == 10 * COST
    charge = await gate.last_charge()
    assert (charge.model, charge.provider) == ("noted", "noter")


async def test_the_budget_of_attempts_is_kept(opened: Opener) -> None:
    gate = await opened(lambda value: value.update(retry={"attempts": 2}))
    gate.upstream.plays(says(oops("x"), 500))
    assert (await gate.talk()).status_code == 502
    assert len(gate.upstream.calls) == 2
    gate = await opened(lambda value: value.update(retry={"seconds": 0}))
    gate.upstream.calls.clear()
    assert (await gate.talk()).status_code == 502
    assert len(gate.upstream.calls) == 1


async def test_a_target_that_keeps_failing_is_left_alone(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        value["breaker"] = {"failures": 2, "seconds": 60}
        value["providers"]["two"] = {**value["providers"]["one"], "api_key": "second"}
        value["models"]["pair"] = {
            **value["models"]["plain"],
            "targets": [{"provider": "one", "model": "a"}, {"provider": "two", "model": "b"}],
        }

    gate = await opened(change)
    gate.upstream.plays(by_key(**{"provider-secret": says(oops("x"), 500), "second": says(SAID)}))
    for _ in range(6):
        assert (await gate.talk("pair")).status_code == 200
    assert [used(call) for call in gate.upstream.calls].count("provider-secret") == 2
    metrics = (await gate.client.get("/metrics")).text
    assert 'nexeon_circuit_open{provider="one",target="a"} 1' in metrics
    assert 'nexeon_circuit_open{provider="two",target="b"} 0' in metrics


def test_a_circuit_opens_waits_and_lets_one_call_try() -> None:
    clock = Clock()
    health = TargetHealth(Breaker(failures=2, seconds=10), clock)
    target = _target("a")
    health.failed(target)
    assert not health.open(target)
    health.failed(target)
    assert health.open(target)
    clock.now += 10
    assert not health.open(target)
    health.begins(target)
    assert health.open(target), "while one tries, the others wait"
    health.failed(target)
    assert health.open(target)
    clock.now += 10
    health.begins(target)
    health.answered(target, 0.1)
    assert not health.open(target)
    never = TargetHealth(Breaker(failures=0), clock)
    for _ in range(100):
        never.failed(target)
    assert not never.open(target)


@pytest.mark.parametrize(
    ("strategy", "first"),
    [("priority", {"a"}), ("least_latency", {"c"}), ("cheapest", {"b"}), ("weighted", {"a", "c"})],
)
async def test_strategies(opened: Opener, strategy: Any, first: set[str]) -> None:
    def change(value: dict[str, Any]) -> None:
        value["models"]["three"] = {
            **value["models"]["plain"],
            "strategy": strategy,
            "targets": [
                {"provider": "one", "model": "a", "weight": 2},
                {"provider": "one", "model": "b", "weight": 0, "price": {"input": 0.1, "output": 0.1}},
                {"provider": "one", "model": "c", "weight": 1},
            ],
        }

    gate = await opened(change)
    model = gate.gateway.config.models["three"]
    plans = gate.gateway.plans(model, gate.gateway.library.format("talk"))
    health = TargetHealth(Breaker())
    for plan, seconds in zip(plans, (3.0, 2.0, 1.0), strict=True):
        health.answered(plan.target, seconds)
    for plan, seconds in zip(plans, (0.1, 0.3, 0.2), strict=True):
        health.answered(plan.target, seconds, stream=True)
    rng = random.Random(7)
    usage = {"input": 10, "output": 10}
    orders = [ordered(plans, model.strategy, health, usage, rng) for _ in range(300)]
    count = Counter(order[0].target.model for order in orders)
    assert set(count) == first
    assert {len(order) for order in orders} == {3}
    if strategy == "least_latency":
        streamed = ordered(plans, model.strategy, health, usage, rng, stream=True)
        assert [plan.target.model for plan in streamed] == ["a", "c", "b"], "of streams, who begins first"
    if strategy == "weighted":
        assert 160 < count["a"] < 240
        assert all(order[-1].target.model == "b" for order in orders)


async def test_limits_of_the_store_and_of_the_provider_meet(opened: Opener) -> None:
    gate = await opened(lambda value: value["providers"]["one"].update(api_key="", key_limits={"rpm": 5, "tpm": 100}))
    service = AdminService(gate.store, gate.gateway.config)
    await service.provider_keys.add(provider="one", secret="a", rpm=9)
    lease = gate.gateway.pool.choose(gate.gateway.config.providers["one"], "m").leases[0]
    assert lease.limits == Limits(rpm=9, tpm=100)
    store = await open_store("memory:")
    assert KeyPool(store).choose(gate.gateway.config.providers["one"], "m").known == 0
    assert "hunter2" not in repr(PoolKey("hunter2"))


def _only(gate: Gate) -> Any:
    return gate.gateway.pool.choose(gate.gateway.config.providers["one"], "plain-up").leases[0]


def _target(model: str) -> Target:
    from nexeon.config import Price

    return Target("one", model, None, 1.0, Price(*[1] * 9))
