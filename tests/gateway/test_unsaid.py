"""A provider that repeats the key it was called with: no client reads it, wherever it stands, and the rest arrives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from shipped import Shipped, shipped
from upstream import Call, Script, Upstream

from nexeon.gateway.unsaid import Unsaid
from nexeon.wire.sse import Event

Json = dict[str, Any]
KEY = "openai-secret-key"
CLIENTS: dict[str, tuple[str, Json]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "responses": ("/v1/responses", {"input": "Hi", "store": False}),
    "messages": ("/v1/messages", {"max_tokens": 90, "messages": [{"role": "user", "content": "Hi"}]}),
}
MODELS = ("openai:openai.chat", "openai:openai.responses")


@pytest.fixture
async def gate(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Shipped]:
    async with shipped(upstream, tmp_path) as made:
        yield made


def chunk(text: str, reason: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def delta(text: str) -> Json:
    kind = "response.output_text.delta"
    return {"type": kind, "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text, "logprobs": []}


def line(event: Json | str, name: str = "") -> bytes:
    told = event if isinstance(event, str) else json.dumps(event)
    return (f"event: {name}\n" if name else "").encode() + f"data: {told}\n\n".encode()


def told(model: str) -> bytes:
    """A stream that says the key in a known event, in an unknown one, in one that is no JSON, and in its name."""
    usage = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}
    odd = [line({"type": "aurora", "seen": f"Bearer {KEY}"}), line(f"not json {KEY}"), line({"a": 1}, f"see-{KEY}")]
    if model.endswith("chat"):
        parts = [line(chunk(f" w{number}")) for number in range(20)]
        last = [line(chunk("", "stop")), line({"id": "c", "choices": [], "usage": usage}), b"data: [DONE]\n\n"]
        return b"".join([*parts, *odd, line(chunk(f"<{KEY}>", seen={KEY: 1})), line(chunk(" end")), *last])
    parts = [line(delta(f" w{number}")) for number in range(20)]
    text = "".join(f" w{number}" for number in range(20)) + f"<{KEY}> end"
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    content = [{"type": "output_text", "text": text, "annotations": []}]
    used = {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}
    answer = {"id": "resp_1", "model": "m", "created_at": 1, "status": "completed", "usage": used}
    end = line({"type": "response.completed", "response": {**answer, "output": [{**item, "content": content}]}})
    return b"".join([*parts, *odd, line(delta(f"<{KEY}>")), line(delta(" end")), end])


def in_pieces(data: bytes, size: int) -> Script:
    async def script(call: Call) -> None:
        await call.begin_stream()
        for start in range(0, len(data), size):
            await call.chunk(data[start : start + size])
        await call.end_stream()

    return script


@pytest.mark.parametrize("size", [7, 401, 1 << 20])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_streams(gate: Shipped, upstream: Upstream, client: str, model: str, size: int) -> None:
    path, body = CLIENTS[client]
    data = told(model)
    if not model.endswith(client):  # what is no JSON breaks a translation
        data = data.replace(line(f"not json {KEY}"), b"")
    upstream.scripts = [in_pieces(data, size)]
    answer = await gate.client.post(path, json={**body, "model": model, "stream": True})
    assert answer.status_code == 200, answer.text
    assert KEY not in answer.text
    events = [json.loads(one[6:]) for one in answer.text.splitlines() if one.startswith("data: {")]
    found = "".join(
        event["choices"][0]["delta"].get("content") or ""
        if event.get("choices")
        else event["delta"]
        if event.get("type") == "response.output_text.delta"
        else (event.get("delta") or {}).get("text", "")
        if event.get("type") == "content_block_delta"
        else ""
        for event in events
    )
    assert found == "".join(f" w{number}" for number in range(20)) + "<[redacted]> end"
    if model.endswith(client):
        assert "not json [redacted]" in answer.text


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_answers_in_one_piece(gate: Shipped, upstream: Upstream, client: str, model: str) -> None:
    path, body = CLIENTS[client]
    text = f"Your key is {KEY}."
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    whole: Json = {"id": "c", "object": "chat.completion", "created": 1, "model": KEY, "choices": [choice], KEY: KEY}
    if model.endswith("responses"):
        whole = {"id": "resp_1", "created_at": 1, "model": KEY, "status": "completed", "output": [item], KEY: KEY}

    async def script(call: Call) -> None:
        assert KEY in call.headers["authorization"]
        await call.answer(whole, headers={"x-echo": KEY})

    upstream.scripts = [script]
    answer = await gate.client.post(path, json={**body, "model": model})
    assert answer.status_code == 200, answer.text
    assert "Your key is [redacted]." in answer.text
    assert KEY not in answer.text
    assert KEY not in str(answer.headers)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 200])
@pytest.mark.parametrize("client", CLIENTS)
async def test_errors(gate: Shipped, upstream: Upstream, client: str, status: int, stream: bool) -> None:
    path, body = CLIENTS[client]
    error = {"message": f"Odd: {KEY}", "type": KEY, "param": KEY, "code": f"code_{KEY}"}

    async def script(call: Call) -> None:
        if status == 200 and stream:
            await in_pieces(line({"error": error}), 9)(call)
        else:
            await call.answer({"error": error}, status)

    upstream.scripts = [script]
    answer = await gate.client.post(path, json={**body, "model": MODELS[0], "stream": stream})
    assert answer.status_code >= 400
    assert "Odd: " in answer.text
    assert KEY not in answer.text


def test_a_key_in_pieces_of_any_size() -> None:
    key = "sk/abc+def/ghi=="
    for secret in (key, key.replace("/", r"\/")):
        data = f"data: before {secret} after".encode()
        for size in range(1, len(data) + 1):
            unsaid = Unsaid(key)
            heard = [unsaid.heard(data[start : start + size]) for start in range(0, len(data), size)]
            assert heard[-1], size
            assert heard.index(True) == (data.index(secret.encode()) + len(secret) - 1) // size
        assert unsaid.hidden_in([Event(secret, data)]) == [Event("[redacted]", b"data: before [redacted] after")]
    assert not Unsaid("short-one").heard(b"short-one")
    assert not Unsaid(key).heard(data.replace(b"abc", b"xyz"))
