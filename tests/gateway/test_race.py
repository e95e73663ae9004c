"""Many clients on one wallet or one budget, over HTTP: nothing is overspent, and nothing is refused that is covered."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest
from conftest import Gate, Opener
from scripts import COST, says, talks
from upstream import Call

from nexeon.store import ApiKey, to_nano
from nexeon.store.secrets import digest, last4, new_secret
from tests.patience import PATIENCE

CLIENTS = 64


def priced_by_request(value: dict[str, Any]) -> None:
    for model in value["models"].values():
        model["price"] = {"input": 0, "output": 0, "request": 0.5}


async def ask_at_once(gate: Gate, times: int, key: str = "") -> Counter[int]:
    """So many requests, of 64 clients, half of them streams."""
    statuses: Counter[int] = Counter()
    numbers = iter(range(times))
    headers = {"authorization": f"Bearer {key or gate.key}"}

    async def client(http: httpx.AsyncClient) -> None:
        for number in numbers:
            body = {"model": "plain", "stream": number % 2 == 0, "say": [{"who": "user", "text": "hi"}]}
            statuses[(await http.post("/talk", json=body)).status_code] += 1

    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=gate.url, headers=headers, timeout=PATIENCE, limits=limits) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    await gate.released()
    return statuses


async def test_credit_for_a_hundred_calls_pays_a_hundred_calls(opened: Opener) -> None:
    gate = await opened(priced_by_request, credit=to_nano("50"))
    gate.upstream.plays(talks())
    assert await ask_at_once(gate, 160) == {200: 100, 402: 60}
    balance = await gate.balance()
    assert (balance.balance, balance.reserved) == (0, 0)
    entries = await gate.store.ledger(gate.account, limit=1000)
    assert Counter(entry.kind for entry in entries) == {"grant": 1, "charge": 100}
    assert {entry.amount for entry in entries if entry.kind == "charge"} == {-to_nano("0.5")}
    assert {entry.price["request"] for entry in entries if entry.kind == "charge"} == {to_nano("0.5")}


async def test_a_budget_for_ten_calls_pays_ten_calls(opened: Opener) -> None:
    gate = await opened(priced_by_request)
    gate.upstream.plays(talks())
    secret = new_secret()
    key = ApiKey("key_small", gate.account, "small", time.time(), digest(secret), last4(secret))
    await gate.store.add(replace(key, budget=to_nano("5"), period="month"))
    assert await ask_at_once(gate, 30, secret) == {200: 10, 402: 20}
    headers = {"authorization": f"Bearer {secret}"}
    body = {"model": "plain", "say": [{"who": "user", "text": "hi"}]}
    refused = await gate.client.post("/talk", json=body, headers=headers)
    assert (refused.status_code, refused.json()["oops"]["code"]) == (402, "budget_exceeded")
    assert "for this month (until " in refused.json()["oops"]["say"]
    me = (await gate.client.get("/v1/me", headers=headers)).json()
    assert (me["key"]["budget"]["spent"], me["key"]["budget"]["left"]) == ("5.00", "0.00")
    assert (await gate.talk()).status_code == 200, "the account's other keys go on"


async def test_with_token_prices_nothing_that_is_covered_is_refused(opened: Opener) -> None:
    """Each call may cost at most what is reserved for it; so much credit that all fit at once."""
    gate = await opened()
    gate.upstream.plays(talks())
    assert await ask_at_once(gate, 128) == {200: 128}
    assert await gate.spent() == 128 * COST


@pytest.mark.parametrize("seed", range(4))
async def test_the_ledger_adds_up_at_any_interleaving(opened: Opener, seed: int) -> None:
    """Answers, refusals, broken streams and clients that leave, with credit for some of them."""
    chance = random.Random(seed)
    gate = await opened(credit=to_nano("0.05"))

    async def moody(call: Call) -> None:
        # The gateway may have left before the reset.
        with contextlib.suppress(OSError):
            await mood(call)

    async def mood(call: Call) -> None:
        await asyncio.sleep(chance.uniform(0, 0.02))
        match chance.randrange(4):
            case 0:
                call.reset()
            case 1:
                await says({"oops": "no"}, chance.choice([400, 500]))(call)
            case 2 if call.json.get("stream"):
                await call.begin_stream()
                for _ in range(chance.randrange(6)):
                    await call.event({"text": "some words of text"})
                    await asyncio.sleep(0.005)
                call.reset()
            case _:
                await talks()(call)

    async def client() -> None:
        for _ in range(4):
            try:
                await asyncio.wait_for(gate.talk(stream=chance.random() < 0.5), chance.choice([0.01, 0.03, 20]))
            except TimeoutError:
                continue
            balance = await gate.balance()
            assert 0 <= balance.reserved <= balance.balance

    gate.upstream.plays(moody)
    await asyncio.gather(*(client() for _ in range(16)))
    await gate.released()
    entries = await gate.store.ledger(gate.account, limit=10_000)
    balance = await gate.balance()
    assert sum(entry.amount for entry in entries) == balance.balance >= 0
    charged = Counter(entry.request for entry in entries if entry.kind == "charge")
    assert set(charged.values()) <= {1}
    recorded = {each["id"]: each for each in await gate.log.list(limit=10_000)}
    assert {number for number, each in recorded.items() if each["cost"]} == set(charged)
    assert all(each["cost"] is None or number in charged for number, each in recorded.items())
