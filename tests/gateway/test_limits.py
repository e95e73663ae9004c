"""Limits of keys, accounts and models, and how a client's SDK is told of them."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import Gate, Opener, until
from scripts import says, streams, talks

from nexeon.gateway.limits.ratelimit import _duration, limit_headers, told_wait
from nexeon.gateway.limits.windows import Claim, Level
from nexeon.mapping.wirefacts import LimitFacts, LimitNames

NAMES = LimitFacts("duration", LimitNames("l", "r", "x"), LimitNames("tl", "tr", "tx"))
TIMES = LimitFacts("time", LimitNames("l", "r", "x"), None)


def limits(**parts: dict[str, int]) -> Any:
    return lambda value: value.update(limits=parts)


@pytest.mark.parametrize("scope", ["key", "account", "model"])
async def test_requests_a_minute(opened: Opener, scope: str) -> None:
    gate = await opened(limits(**{scope: {"rpm": 2}}))
    gate.upstream.plays(talks())
    for left in ("1", "0"):
        answer = await gate.talk()
        assert answer.status_code == 200
        assert (answer.headers["x-talks-limit"], answer.headers["x-talks-left"]) == ("2", left)
        assert re.fullmatch(r"1m0s|5\ds", answer.headers["x-talks-reset"])
        assert "x-words-limit" not in answer.headers
    refused = await gate.talk()
    assert refused.status_code == 429
    error = refused.json()["oops"]
    assert (error["kind"], error["code"]) == ("rate_limit", "rate_limit_exceeded")
    assert "limited to 2 requests per minute" in error["say"]
    assert 50 < int(refused.headers["retry-after"]) <= 61
    assert (refused.headers["x-talks-left"], refused.headers["x-talks-limit"]) == ("0", "2")
    assert "x-should-retry" not in refused.headers
    assert len(gate.upstream.calls) == 2
    metrics = (await gate.client.get("/metrics")).text
    assert f'nexeon_limited_total{{scope="{scope}",unit="requests"}} 1' in metrics


async def test_each_format_has_its_own_words(opened: Opener) -> None:
    gate = await opened(limits(key={"rpm": 1, "tpm": 100_000}))
    gate.upstream.plays(talks())
    for status in (200, 429):
        answer = await gate.client.post("/notes/plain", json={"lines": ["hi"]})
        assert answer.status_code == status
        assert answer.headers["notes-limit"] == "1"
        reset = datetime.strptime(answer.headers["notes-reset"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert 50 < (reset - datetime.now(UTC)).total_seconds() < 62
        assert "x-talks-limit" not in answer.headers


async def test_tokens_are_taken_by_the_estimate_and_settled_with_the_usage(opened: Opener) -> None:
    gate = await opened(limits(key={"tpm": 1000}))
    gate.upstream.plays(talks())
    first = await gate.talk(limit=400)
    estimate = 1000 - int(first.headers["x-words-left"])
    assert estimate > 400
    await gate.released()
    second = await gate.talk(limit=400)
    assert int(second.headers["x-words-left"]) == 1000 - 15 - estimate, "15 tokens were used"
    assert first.headers["x-words-limit"] == "1000"
    await gate.released()
    gate.upstream.plays(says({"oops": {"kind": "x", "say": "no"}}, 400))
    assert (await gate.talk(limit=400)).status_code == 400
    await gate.released()
    gate.upstream.plays(talks())
    assert int((await gate.talk(limit=400)).headers["x-words-left"]) == 1000 - 30 - estimate, "a failure uses none"


async def test_a_request_beyond_the_token_limit_waits_for_an_empty_window(opened: Opener) -> None:
    gate = await opened(limits(key={"tpm": 100}))
    gate.upstream.plays(talks())
    assert (await gate.talk()).status_code == 200
    assert (await gate.talk()).status_code == 429


async def test_calls_at_once(opened: Opener) -> None:
    gate = await opened(limits(account={"concurrency": 2}))
    go = asyncio.Event()

    async def waits(call: Any) -> None:
        await go.wait()
        await talks()(call)

    gate.upstream.plays(waits)
    running = [asyncio.create_task(gate.talk(stream=stream)) for stream in (False, True)]
    await until(lambda: len(gate.upstream.calls) == 2)
    refused = await gate.talk()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert "limited to 2 requests at once" in refused.text
    go.set()
    assert {answer.status_code for answer in await asyncio.gather(*running)} == {200}
    await gate.released()
    assert (await gate.talk()).status_code == 200


async def test_whatever_ends_a_call_gives_its_place_back(opened: Opener) -> None:
    def change(value: dict[str, Any]) -> None:
        limits(key={"concurrency": 1})(value)
        noter = value["providers"]["noter"]
        value["providers"]["noter"] = {**noter, "timeouts": {**noter["timeouts"], "first_byte": 0.2}}

    gate = await opened(change, credit=10**9)
    ends: list[tuple[Any, int]] = [
        (says({"oops": {"kind": "x", "say": "no"}}, 400), 400),
        (says(b"<html>", kind="text/html"), 502),
        (streams({"text": "x"}, end=None), 200),
    ]
    for script, status in ends:
        gate.upstream.plays(script)
        assert (await gate.talk(stream=True)).status_code == status
        await gate.released()

    async def hangs(call: Any) -> None:
        await call.wait_left()

    gate.upstream.calls.clear()
    gate.upstream.plays(hangs)
    left = asyncio.create_task(gate.talk())
    await until(lambda: gate.upstream.calls)
    left.cancel()
    await gate.upstream.calls[0].wait_left()
    await gate.released()
    assert (await gate.talk("noted")).status_code == 504
    await gate.released()
    gate.upstream.plays(talks())
    assert (await gate.talk()).status_code == 200


async def test_a_refusal_for_credit_takes_nothing_from_the_limits(opened: Opener) -> None:
    gate = await opened(limits(key={"concurrency": 1}), credit=5)
    gate.upstream.plays(talks())
    for _ in range(3):
        assert (await gate.talk()).status_code == 402


async def test_the_keys_own_limit_stands_before_the_default(gate: Gate, opened: Opener) -> None:
    gate = await opened(limits(key={"rpm": 1}))
    found = gate.store.find_key(gate.key)
    assert found is not None
    await gate.store.replace(replace(found[0], rpm=3, rpd=2))
    gate.upstream.plays(talks())
    answers = [await gate.talk() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-talks-left"] for answer in answers] == ["1", "0", "0"]
    assert "2 requests per day" in answers[2].text
    assert int(answers[2].headers["retry-after"]) > 80_000


async def test_as_shipped_nothing_is_limited(gate: Gate) -> None:
    gate.upstream.plays(talks())
    answer = await gate.talk()
    assert not [name for name in answer.headers if name.startswith(("x-talks", "x-words"))]


async def test_a_provider_says_by_its_headers_when_a_key_is_free_again(opened: Opener) -> None:
    gate = await opened()
    headers = {"x-talks-left": "0", "x-talks-reset": "1m30s", "x-words-left": "17", "x-words-reset": "9m0s"}
    gate.upstream.plays(says({"oops": {"kind": "rate_limit", "say": "slow"}}, 429, headers))
    assert (await gate.talk()).headers["retry-after"] == "90"
    assert 85 < gate.gateway.pool.states()["config:one"]["wait"] <= 90


def test_notations() -> None:
    assert [_duration(seconds) for seconds in (0, 0.25, 1, 60, 360, 3661)] == [
        "0ms", "250ms", "1s", "1m0s", "6m0s", "1h1m1s",
    ]  # fmt: skip
    level = Level(Claim("a", 5, 60), 3, 59.6)
    assert limit_headers(NAMES, level, None) == {"l": "5", "r": "3", "x": "1m0s"}
    assert limit_headers(TIMES, level, level, now=0) == {"l": "5", "r": "3", "x": "1970-01-01T00:00:59Z"}
    assert limit_headers(None, level, level) == {}
    assert told_wait(NAMES, {"x": "2m3s", "r": "0", "tx": "500ms", "tr": "0"}) == 123
    assert told_wait(NAMES, {"x": "2m3s", "r": "4"}) is None
    assert told_wait(NAMES, {"x": "soon", "r": "0"}) is None
    assert told_wait(TIMES, {"x": "soon", "r": "0"}) is None
    assert told_wait(TIMES, {"x": "2020-01-01T00:00:00Z", "r": "0"}) == 0
    assert told_wait(None, {}) is None
