"""Free-form tools where a provider has none, in the client's own format: a request that names them is translated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shipped import shipped
from upstream import Call, Upstream

PATCH = '*** Begin Patch\n"quoted"\n*** End Patch'
TOOLS: list[dict[str, Any]] = [
    {"type": "custom", "name": "apply_patch", "description": "Edits", "format": {"type": "text"}},
    {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}, "strict": False},
]
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Edit it."},
    {"type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch", "input": PATCH},
    {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done"},
    {"role": "user", "content": "Once more."},
]
CALLED = {
    "id": "fc_2", "type": "function_call", "call_id": "call_2", "name": "apply_patch", "status": "completed",
    "arguments": json.dumps({"input": PATCH}),
}  # fmt: skip
USAGE = {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}
ANSWER = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "error": None,
          "incomplete_details": None, "output": [CALLED], "usage": USAGE}  # fmt: skip


async def calls(call: Call) -> None:
    if not call.json.get("stream"):
        await call.answer(ANSWER)
        return
    begun = {**CALLED, "arguments": "", "status": "in_progress"}
    await call.begin_stream()
    for event in (
        {"type": "response.created", "response": {**ANSWER, "status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_2", "output_index": 0,
         "delta": CALLED["arguments"]},
        {"type": "response.function_call_arguments.done", "item_id": "fc_2", "output_index": 0,
         "arguments": CALLED["arguments"]},
        {"type": "response.output_item.done", "output_index": 0, "item": CALLED},
        {"type": "response.completed", "response": ANSWER},
    ):  # fmt: skip
        await call.event(event, event["type"])
    await call.end_stream()


async def test_a_function_stands_in_for_a_free_form_tool(upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(calls)
    body = {
        "model": "xai:openai.responses", "input": HISTORY, "tools": TOOLS, "store": False,
        "tool_choice": {"type": "custom", "name": "apply_patch"},
    }  # fmt: skip
    async with shipped(upstream, tmp_path) as gate:
        answer = await gate.client.post("/v1/responses", json=body)
        assert answer.status_code == 200, answer.text
        (item,) = answer.json()["output"]
        assert (item["type"], item["call_id"], item["input"]) == ("custom_tool_call", "call_2", PATCH)
        streamed = await gate.client.post("/v1/responses", json={**body, "stream": True})
        events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: ")]
        assert [e["input"] for e in events if e["type"] == "response.custom_tool_call_input.done"] == [PATCH]
        assert events[-1]["response"]["output"][0]["input"] == PATCH
    for sent in (call.json for call in upstream.calls):
        assert [tool["type"] for tool in sent["tools"]] == ["function", "function"]
        assert sent["tools"][0]["parameters"]["required"] == ["input"]
        assert sent["tool_choice"] == {"type": "function", "name": "apply_patch"}
        assert [item.get("type", "message") for item in sent["input"]] == [
            "message", "function_call", "function_call_output", "message",
        ]  # fmt: skip
        assert json.loads(sent["input"][1]["arguments"]) == {"input": PATCH}
        assert sent["input"][2]["output"] == "Done"


async def test_other_requests_are_passed_on(upstream: Upstream, tmp_path: Path) -> None:
    """What the gateway knows nothing of goes up as it came."""
    upstream.plays(calls)
    body = {"model": "xai:openai.responses", "input": "hi", "tools": TOOLS[1:], "shiny": [1], "store": False}
    async with shipped(upstream, tmp_path) as gate:
        assert (await gate.client.post("/v1/responses", json=body)).status_code == 200
        known = {**body, "model": "openai:openai.responses", "input": HISTORY, "tools": TOOLS}
        assert (await gate.client.post("/v1/responses", json=known)).status_code == 200
    first, second = (call.json for call in upstream.calls)
    assert (first["shiny"], second["shiny"]) == ([1], [1])
    assert second["tools"] == TOOLS
