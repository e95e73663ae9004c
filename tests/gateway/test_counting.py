"""What a provider's own counter is asked, and with which headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts import says
from shipped import shipped
from upstream import Upstream

HI = [{"role": "user", "content": "hi"}]


async def test_betas_go_to_the_counter_as_they_go_to_the_model(upstream: Upstream, tmp_path: Path) -> None:
    upstream.plays(says({"input_tokens": 7}))
    manage: dict[str, Any] = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    async with shipped(upstream, tmp_path) as gate:
        answer = await gate.client.post(
            "/v1/messages/count_tokens",
            json={"model": "anthropic:anthropic.messages", "messages": HI, "context_management": manage},
            headers={"anthropic-beta": "context-1m-2025-08-07, context-management-2025-06-27"},
        )
    assert answer.json() == {"input_tokens": 7}
    assert "x-nexeon-estimated" not in answer.headers
    call = upstream.calls[0]
    assert call.path == "/anthropic/messages/count_tokens"
    assert call.headers["anthropic-beta"] == "context-management-2025-06-27", "one of them has a price"
    assert call.json["context_management"] == manage


async def test_a_target_called_in_a_format_without_counter_is_counted_in_another(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.plays(says({"object": "response.input_tokens", "input_tokens": 8}))
    async with shipped(upstream, tmp_path) as gate:
        for path, body in (
            ("/v1/messages/count_tokens", {"messages": HI}),
            ("/v1/responses/input_tokens", {"input": "hi"}),
            ("/v1beta/models/openai:openai.chat:countTokens", {"contents": [{"parts": [{"text": "hi"}]}]}),
        ):
            answer = await gate.client.post(path, json={"model": "openai:openai.chat", **body})
            assert answer.status_code == 200, answer.text
            assert 8 in answer.json().values()
            assert "x-nexeon-estimated" not in answer.headers
    assert {call.path for call in upstream.calls} == {"/openai/responses/input_tokens"}
    assert {call.json["model"] for call in upstream.calls} == {"gpt-5-mini"}
    assert upstream.calls[0].json["input"]
