"""`n` above one: the provider's own where it has it, as many calls at once where not, a clear refusal in streams."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from scripts import says
from shipped import shipped
from upstream import Call, Script, Upstream

from tests.patience import PATIENCE

PRICE = {"input": 1, "output": 2, "request": 0.01}
MODELS: dict[str, object] = {
    "old": {
        "owned_by": "google", "created": 1, "price": PRICE,
        "targets": [{"provider": "gemini", "model": "gemini-2.5-flash"}],
    },
    "priced": {
        "owned_by": "anthropic", "created": 1, "price": PRICE,
        "targets": [{"provider": "anthropic", "model": "claude-sonnet-4-6"}],
    },
}  # fmt: skip


def message(text: str) -> dict[str, Any]:
    return {
        "id": f"msg_{text}", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 10, "output_tokens": 5},
    }  # fmt: skip


def at_the_same_time(calls: int) -> Script:
    barrier, count = asyncio.Barrier(calls), itertools.count()

    async def script(call: Call) -> None:
        async with asyncio.timeout(PATIENCE):
            await barrier.wait()
        await call.answer(message(f"text {next(count)}"))

    return script


def chat(model: str, n: int, **more: Any) -> dict[str, Any]:
    return {"model": model, "n": n, "messages": [{"role": "user", "content": "hi"}], **more}


def generate(count: int) -> dict[str, Any]:
    return {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"candidateCount": count}}


async def test_calls_at_once_stand_in_for_several_answers(upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(at_the_same_time(3))
    async with shipped(upstream, tmp_path, MODELS) as gate:
        answer = await gate.client.post("/v1/chat/completions", json=chat("priced", 3))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
        assert sorted(choice["message"]["content"] for choice in body["choices"]) == ["text 0", "text 1", "text 2"]
        assert {choice["finish_reason"] for choice in body["choices"]} == {"stop"}
        assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (30, 15)
        assert len(upstream.calls) == 3
        assert all("n" not in call.json for call in upstream.calls)
        assert await gate.spent() == 3 * (10 * 1000 + 5 * 2000 + 10_000_000)


@pytest.mark.parametrize("model", ["anthropic:anthropic.messages", "openrouter:openai.responses"])
async def test_other_clients_get_them_too(upstream: Upstream, tmp_path: Path, model: str) -> None:
    output = [
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
    ]
    response = {"id": "resp_1", "status": "completed", "output": output, "usage": {"input_tokens": 1}}
    upstream.plays(says(message("a") if "messages" in model else response))
    async with shipped(upstream, tmp_path) as gate:
        answer = await gate.client.post(f"/v1beta/models/{model}:generateContent", json=generate(2))
        assert answer.status_code == 200, answer.text
        candidates = answer.json()["candidates"]
        assert [candidate["content"]["parts"][0]["text"] for candidate in candidates] == ["a", "a"]
        assert len(upstream.calls) == 2


async def test_a_pipe_is_asked_as_often_where_the_provider_has_no_such_thing(
    upstream: Upstream, tmp_path: Path
) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    upstream.plays(says({"id": "c", "created": 1, "model": "m", "choices": [choice], "usage": usage}))
    async with shipped(upstream, tmp_path) as gate:
        answer = await gate.client.post("/v1/chat/completions", json=chat("deepseek:openai.chat", 2))
        assert answer.status_code == 200, answer.text
        assert [choice["message"]["content"] for choice in answer.json()["choices"]] == ["a", "a"]
        assert answer.json()["usage"]["total_tokens"] == 6
        assert ["n" in call.json for call in upstream.calls] == [False, False]


async def test_what_the_provider_has_itself_is_asked_of_it(upstream: Upstream, tmp_path: Path) -> None:
    choices = [{"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}} for i in (0, 1)]
    candidates = [{"content": {"role": "model", "parts": [{"text": "a"}]}, "finishReason": "STOP"}] * 2

    async def script(call: Call) -> None:
        if "completions" in call.path:
            await call.answer({"id": "c", "created": 1, "model": "m", "choices": choices})
        else:
            await call.answer({"candidates": candidates})

    upstream.plays(script)
    async with shipped(upstream, tmp_path, MODELS) as gate:
        for model in ("openai:openai.chat", "old"):
            answer = await gate.client.post("/v1/chat/completions", json=chat(model, 2))
            assert len(answer.json()["choices"]) == 2, answer.text
        assert upstream.calls[0].json["n"] == 2
        assert upstream.calls[1].json["generationConfig"]["candidateCount"] == 2
        assert len(upstream.calls) == 2


async def test_they_fail_as_one(upstream: Upstream, tmp_path: Path) -> None:
    left = []

    async def stays(call: Call) -> None:
        await asyncio.wait_for(call.wait_left(), PATIENCE)
        left.append(call)

    async def refuses(call: Call) -> None:
        await asyncio.sleep(0.2)
        error = {"type": "invalid_request_error", "message": "too long for me"}
        await call.answer({"type": "error", "error": error}, 400)

    upstream.plays(stays, stays, refuses)
    async with shipped(upstream, tmp_path) as gate:
        answer = await gate.client.post("/v1/chat/completions", json=chat("anthropic:anthropic.messages", 3))
        assert answer.status_code == 400
        assert "too long for me" in answer.json()["error"]["message"]
        assert await gate.spent() == 0
    assert len(left) == 2


async def test_a_stream_holds_one(upstream: Upstream, tmp_path: Path) -> None:
    async with shipped(upstream, tmp_path) as gate:
        for model in ("anthropic:anthropic.messages", "deepseek:openai.chat", "gemini:gemini.generate_content"):
            answer = await gate.client.post("/v1/chat/completions", json=chat(model, 2, stream=True))
            assert answer.status_code == 400, model
            assert answer.json()["error"]["param"] == "n"
        path = "/v1beta/models/openai:openai.chat:streamGenerateContent?alt=sse"
        answer = await gate.client.post(path, json=generate(2))
        assert answer.status_code == 400
        assert "`generationConfig.candidateCount` is 2" in answer.json()["error"]["message"]
        assert upstream.calls == []


async def test_too_many_are_refused(upstream: Upstream, tmp_path: Path) -> None:
    async with shipped(upstream, tmp_path) as gate:
        answer = await gate.client.post("/v1/chat/completions", json=chat("anthropic:anthropic.messages", 100))
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
        assert upstream.calls == []
