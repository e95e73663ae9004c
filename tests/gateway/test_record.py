"""What the request log says of requests, however they end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from conftest import Gate, Opener
from scripts import COST, EVENTS, hangs, says, streams, talks

from tests.patience import PATIENCE, until


async def recorded(gate: Gate) -> list[dict[str, Any]]:
    """What is in the log, once there is something."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await gate.log.list()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return found


async def test_an_answer_is_recorded_with_its_bodies(gate: Gate) -> None:
    gate.upstream.plays(talks())
    before = time.time()
    answer = await gate.talk()
    [record] = await gate.log.list()
    assert record["id"] == answer.headers["x-request-id"]
    assert (record["account"], record["model"], record["provider"]) == (gate.account, "plain", "one")
    assert (record["status"], record["error"], record["stream"], record["estimated"]) == (200, "", False, False)
    assert (record["cost"], record["usage"]["input"], record["usage"]["output"]) == (COST, 10, 5)
    assert before <= record["started"] <= record["ended"] <= time.time()
    assert 0 <= record["steps"]["admitted"] <= record["steps"]["answered"] <= record["steps"]["settled"]
    assert [(each["provider"], each["outcome"]) for each in record["attempts"]] == [("one", "ok")]
    shown = await gate.log.show(record["id"])
    assert '"text":"hi"' in shown["request"]
    assert '"hello"' in shown["response"]
    assert '"plain-up"' in shown["upstream_request"]
    assert "provider-secret" not in shown["upstream_request"]
    assert '"hello"' in shown["upstream_response"]


async def test_a_stream_is_recorded_with_what_was_sent(gate: Gate) -> None:
    gate.upstream.plays(talks())
    answer = await gate.talk(stream=True)
    record = await gate.log.show(answer.headers["x-request-id"])
    assert (record["status"], record["error"], record["stream"], record["cost"]) == (200, "", True, COST)
    assert record["response"].count("data:") == answer.text.count("data:")
    assert '"plain-up"' in record["upstream_request"]
    assert record["upstream_response"].count("data:") == len(EVENTS) + 2  # usage, and the end


async def test_the_bodies_of_the_last_attempt_are_those_of_the_provider(gate: Gate) -> None:
    gate.upstream.plays(says({"oops": "the first"}, 500), talks())
    answer = await gate.talk()
    record = await gate.log.show(answer.headers["x-request-id"])
    assert len(record["attempts"]) == 2
    assert "the first" not in record["upstream_response"]
    assert '"hello"' in record["upstream_response"]


async def test_a_client_that_leaves_is_recorded_with_its_estimate(gate: Gate) -> None:
    gate.upstream.plays(streams(*EVENTS[:2], *[{"text": "word"}] * 500, pause=0.01))
    async with gate.client.stream(
        "POST", "/talk", json={"model": "plain", "stream": True, "say": [{"who": "user", "text": "hi"}]}
    ) as answer:
        async for text in answer.aiter_text():
            if "word" in text:
                break
    [record] = await recorded(gate)
    assert (record["status"], record["estimated"]) == (200, True)
    assert "left" in record["error"]
    assert record["cost"] > 0


async def test_a_failed_call_is_recorded_without_a_cost(gate: Gate) -> None:
    gate.upstream.plays(says({"oops": "nothing of the kind"}, 400))
    answer = await gate.talk()
    assert answer.status_code == 400
    [record] = await recorded(gate)
    assert (record["status"], record["cost"], record["usage"]) == (400, None, {})
    assert record["attempts"][0]["outcome"] == "client"


async def test_what_is_refused_for_its_credit_is_recorded(opened: Opener) -> None:
    gate = await opened(credit=1)
    assert (await gate.talk()).status_code == 402
    [record] = await recorded(gate)
    assert (record["status"], record["attempts"]) == (402, [])
    assert "insufficient" in record["error"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_silent_provider_that_is_left_costs_nothing_and_is_recorded(gate: Gate, stream: bool) -> None:
    gate.upstream.plays(hangs)
    asking = asyncio.create_task(gate.talk(stream=stream))
    await until(lambda: gate.upstream.calls)
    asking.cancel()
    [record] = await recorded(gate)
    await gate.released()
    assert (record["cost"], record["usage"]) == (None, {})
    assert "left" in record["error"]
