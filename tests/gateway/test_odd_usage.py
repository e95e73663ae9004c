"""A provider's usage that makes no sense: the answer is good, its charge an estimate, and the record says why."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripts import says, streams
from shipped import Shipped, shipped
from upstream import Upstream

from nexeon.store.requests import RequestLog

Json = dict[str, Any]
MODEL = "openai:openai.chat"
CLIENTS: dict[str, tuple[str, Json]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "responses": ("/v1/responses", {"input": "Hi", "store": False}),
    "messages": ("/v1/messages", {"max_tokens": 90, "messages": [{"role": "user", "content": "Hi"}]}),
}
TEXT = "Hello, this is an answer of some length."
ODD = [-7, "many", {"a": 1}]


@pytest.fixture
async def gate(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Shipped]:
    async with shipped(upstream, tmp_path) as made:
        log = made.gateway.recorder._log = RequestLog(None)
        yield made
        await log.close()


def answer(usage: Json) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def events(usage: Json) -> list[Json]:
    def chunk(delta: Json, reason: str | None = None, **more: Any) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}

    return [
        chunk({"role": "assistant", "content": TEXT}),
        chunk({}, "stop"),
        {"id": "c", "choices": [], "usage": usage},
    ]


def counts(value: Any) -> list[Any]:
    """Every number under a name that counts tokens."""
    found: list[Any] = []
    for name, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict):
            found += counts(inner)
        elif name.endswith("_tokens"):
            found.append(inner)
    return [one for one in found if one is not None]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_usage_that_makes_no_sense(gate: Shipped, upstream: Upstream, client: str, stream: bool) -> None:
    path, body = CLIENTS[client]
    for odd in ODD:
        usage = {"prompt_tokens": 10, "completion_tokens": odd, "total_tokens": 10}
        upstream.scripts = [streams(*events(usage), end=b"[DONE]") if stream else says(answer(usage))]
        before = await gate.spent()
        told = await gate.client.post(path, json={**body, "model": MODEL, "stream": stream})
        assert told.status_code == 200, told.text
        assert TEXT in told.text
        assert await gate.spent() > before
        entry = (await gate.store.ledger(gate.account, limit=1))[0]
        assert entry.kind == "charge"
        assert entry.estimated
        assert entry.usage is not None
        assert entry.usage["input"] == 10
        assert entry.usage["output"] >= len(TEXT) // 4
        log = gate.gateway.recorder._log
        assert log is not None
        record = await log.show(entry.request or "")
        assert any("`completion_tokens` is" in doubt for doubt in record["doubts"])
        if client == "chat":  # the same format: as the provider told it
            continue
        lines = [line[6:] for line in told.text.splitlines() if line.startswith("data: ")] if stream else [told.text]
        for line in lines:
            seen = json.loads(line)
            for place in (seen, seen.get("message") or {}, seen.get("response") or {}):
                assert all(type(count) is int and count >= 0 for count in counts(place.get("usage"))), line
