"""Requests, whole answers and streams of one format."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from .answer import Answer

_MESSAGE_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


class Messages:
    finishes: ClassVar = {
        "stop": "end_turn",
        "length": "max_tokens",
        "calls": "tool_use",
        "refusal": "refusal",
        "sequence": "stop_sequence",
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        content = text
        if options.get("image"):
            source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
            content = [{"type": "image", "source": source}, {"type": "text", "text": text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        for name, arguments, result in options.get("turns", ()):
            call = {"type": "tool_use", "id": "toolu_1", "name": name, "input": orjson.loads(arguments)}
            messages.append({"role": "assistant", "content": [call]})
            output = {"type": "tool_result", "tool_use_id": "toolu_1", "content": result}
            messages.append({"role": "user", "content": [output]})
        if "more" in options:
            messages[-1]["content"].append({"type": "text", "text": options["more"]})
        body = {"model": "m", "messages": messages, "stream": stream, "max_tokens": options.get("limit", 1000)}
        if "tools" in options:
            body["tools"] = [{"name": n, "input_schema": s} for n, s in options["tools"].items()]
        if "choice" in options:
            named = {"type": "tool", "name": options["choice"]}
            body["tool_choice"] = {"any": {"type": "any"}, "none": {"type": "none"}}.get(options["choice"], named)
        if options.get("serial"):
            body["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
        if options.get("reasoning"):
            body["thinking"] = {"type": "adaptive"}
        if "stop" in options:
            body["stop_sequences"] = [options["stop"]]
        if "schema" in options:
            body["output_config"] = {"format": {"type": "json_schema", "schema": options["schema"]}}
        return "/anthropic/messages", body

    def whole(self, body: Any) -> Answer:
        Message.model_validate(body)
        out = Answer(finish=body["stop_reason"], id=body["id"])
        for block in body["content"]:
            if block["type"] == "thinking":
                out.reasoning, out.seal = block["thinking"], block["signature"]
            elif block["type"] == "text":
                out.text = block["text"]
            else:
                out.calls.append((block["id"], block["name"], orjson.dumps(block["input"]).decode()))
        out.refusal = (body.get("stop_details") or {}).get("explanation", "")
        usage = body["usage"]
        out.usage = {
            "input": usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"],
            "output": usage["output_tokens"],
            "reasoning": usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
            "cached": usage["cache_read_input_tokens"],
        }
        return out

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        names = [name for name, _ in events]
        assert names[0] == "message_start"
        assert "ping" in names
        message = events[0][1]["message"]
        blocks: list[Any] = []
        is_open = False
        error = None
        for name, payload in events:
            assert payload["type"] == name
            if name == "error":
                error = payload
                continue
            if name != "ping":
                _MESSAGE_EVENT.validate_python(payload)
            if name == "content_block_start":
                assert not is_open
                assert payload["index"] == len(blocks)
                blocks.append(payload["content_block"] | {"json": ""})
                is_open = True
            elif name == "content_block_delta":
                assert is_open
                assert payload["index"] == len(blocks) - 1
                delta = payload["delta"]
                if delta["type"] == "input_json_delta":
                    blocks[-1]["json"] += delta["partial_json"]
                else:
                    key = delta["type"].removesuffix("_delta")
                    blocks[-1][key] += delta[key]
            elif name == "content_block_stop":
                assert is_open
                is_open = False
            elif name == "message_delta":
                assert not is_open
                message |= payload["delta"]
                message["usage"] |= payload["usage"]
        if error:
            assert names[-1] == "error"
            return Answer(error=error, events=events)
        assert names[-2:] == ["message_delta", "message_stop"]
        for block in blocks:
            text = block.pop("json")
            if block["type"] == "tool_use":
                block["input"] = orjson.loads(text or "{}")
        message["content"] = blocks
        out = self.whole(message)
        out.events = events
        return out
