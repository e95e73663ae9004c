"""Requests, whole answers and streams of one format."""

from __future__ import annotations

from typing import Any, ClassVar

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from .answer import Answer


class Chat:
    finishes: ClassVar = {
        "stop": "stop",
        "length": "length",
        "calls": "tool_calls",
        "refusal": "stop",
        "sequence": "stop",
    }

    def request(self, text: Any, stream: bool, **options: Any) -> tuple[str, dict[str, Any]]:
        content = text
        if options.get("image"):
            url = {"url": "data:image/png;base64,AAAA"}
            content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        for name, arguments, result in options.get("turns", ()):
            call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
            messages.append({"role": "assistant", "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": "call_1", "content": result})
        if "more" in options:
            messages.append({"role": "user", "content": options["more"]})
        body: dict[str, Any] = {"model": "m", "messages": messages, "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        if "tools" in options:
            body["tools"] = [
                {"type": "function", "function": {"name": n, "parameters": s}} for n, s in options["tools"].items()
            ]
        if "choice" in options:
            named = {"type": "function", "function": {"name": options["choice"]}}
            body["tool_choice"] = {"any": "required", "none": "none"}.get(options["choice"], named)
        if options.get("serial"):
            body["parallel_tool_calls"] = False
        if options.get("reasoning"):
            body["reasoning_effort"] = "low"
        if "limit" in options:
            body["max_completion_tokens"] = options["limit"]
        if "stop" in options:
            body["stop"] = options["stop"]
        if "schema" in options:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": options["schema"]}}
        return "/openai/chat/completions", body

    def whole(self, body: Any) -> Answer:
        ChatCompletion.model_validate(body)
        choice = body["choices"][0]
        message = choice["message"]
        return Answer(
            text=message["content"] or "",
            reasoning=message.get("reasoning_content", ""),
            calls=[(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", ())],
            finish=choice["finish_reason"],
            refusal=message["refusal"] or "",
            usage=self.usage(body["usage"]),
            id=body["id"],
        )

    def usage(self, usage: Any) -> dict[str, int]:
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        return {
            "input": usage["prompt_tokens"],
            "output": usage["completion_tokens"],
            "reasoning": usage["completion_tokens_details"]["reasoning_tokens"],
            "cached": usage["prompt_tokens_details"]["cached_tokens"],
        }

    def fold(self, events: list[tuple[str | None, Any]]) -> Answer:
        out = Answer(events=events)
        calls: dict[int, list[str]] = {}
        if "error" in events[-1][1]:
            out.error = events.pop()[1]
        else:
            assert events.pop()[1] == "[DONE]"
            usage = events[-1][1]
            assert usage["choices"] == []
            out.usage = self.usage(usage["usage"])
        for n, (name, payload) in enumerate(events):
            ChatCompletionChunk.model_validate(payload)
            assert name is None
            if not payload["choices"]:
                assert n == len(events) - 1
                continue
            assert payload["usage"] is None
            choice = payload["choices"][0]
            delta = choice["delta"]
            assert ("role" in delta) == (n == 0)
            assert out.finish is None
            out.finish = choice["finish_reason"]
            out.text += delta.get("content") or ""
            out.refusal += delta.get("refusal") or ""
            out.reasoning += delta.get("reasoning_content") or ""
            out.id = payload["id"]
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    assert call["index"] == len(calls)
                    assert call["type"] == "function"
                    calls[call["index"]] = [call["id"], call["function"]["name"], ""]
                calls[call["index"]][2] += call["function"]["arguments"]
        out.calls = [(i, name, arguments) for i, name, arguments in calls.values()]
        assert len({payload["id"] for _, payload in events}) == 1
        return out
