"""OpenAI chat completions, and the other providers' flavours of it: which one is told by the path's first segment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from nexeon.sandbox.content import ANY_OBJECT, Ask, Call, Plan, text_tokens
from nexeon.sandbox.wire import data, invalid, need_list, need_model, size, whole

_FINISH = {"stop": "stop", "stop_sequence": "stop", "length": "length", "calls": "tool_calls", "refusal": "stop"}
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", None),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", None),
}
_IMAGE_TOKENS = 85


class OpenAIChat:
    """See `nexeon.sandbox.wire.Wire`."""

    def read(self, body: dict[str, Any], model: str, stream: bool, counting: bool) -> Ask:
        messages = need_list(body, "messages")
        ask = Ask(model=need_model(body), stream=body.get("stream") is True, input_tokens=3)
        length = size(body.get("tools"))
        for n, message in enumerate(messages):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise invalid(f"'messages[{n}]' must be an object with a role", f"messages[{n}]")
            text, images = read_content(message.get("content"))
            length += len(text) + size(message.get("tool_calls"))
            ask.input_tokens += 4 + _IMAGE_TOKENS * images
            role = message["role"]
            if role == "user":
                if text or ask.last != "tool":
                    ask.last, ask.text = "user", text
                ask.images = images if ask.last == "user" else 0
            elif role in ("tool", "function"):
                ask.last, ask.result, ask.images = "tool", text, 0
            elif role == "assistant":
                ask.last, ask.images = "model", 0
            else:
                ask.instructions += text + "\n"
        ask.input_tokens += text_tokens(length)
        self._tools(ask, body)
        ask.schema = output_schema(body.get("response_format"), "json_schema")
        ask.reasoning = _reasons(body)
        ask.limit = whole(body.get("max_completion_tokens"))
        if ask.limit is None:
            ask.limit = whole(body.get("max_tokens"))
        stop = body.get("stop")
        ask.stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
        options = body.get("stream_options")
        self._check_options(ask, options)
        return ask

    def _check_options(self, ask: Ask, options: Any) -> None:
        if options and not ask.stream:
            raise invalid("'stream_options' is only allowed when 'stream' is true", "stream_options")
        ask.usage_in_stream = bool(isinstance(options, dict) and options.get("include_usage"))

    def _tools(self, ask: Ask, body: dict[str, Any]) -> None:
        offered = {}
        custom = set()
        for n, tool in enumerate(body.get("tools") or ()):
            if not isinstance(tool, dict):
                raise invalid(f"'tools[{n}]' must be an object", f"tools[{n}]")
            if tool.get("type") == "function" and isinstance(tool.get("function"), dict):
                offered[tool["function"].get("name")] = tool["function"].get("parameters")
            elif tool.get("type") == "custom" and isinstance(tool.get("custom"), dict):
                offered[tool["custom"].get("name")] = None
                custom.add(tool["custom"].get("name"))
        ask.custom = frozenset(custom)
        choice = body.get("tool_choice")
        named = (choice.get("function") or choice.get("custom")) if isinstance(choice, dict) else None
        apply_choice(ask, offered, choice, named)
        if choice == "required" and not body.get("tools"):
            raise invalid("'tool_choice' asks for a call, but no tool is offered", "tool_choice")
        ask.parallel = body.get("parallel_tool_calls") is not False

    def reply(self, ask: Ask, plan: Plan) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(plan.text) or None, "refusal": None}
        if plan.finish == "refusal":
            message["content"], message["refusal"] = None, "".join(plan.text)
        elif not plan.calls and message["content"] is None:
            message["content"] = ""
        if plan.reasoning:
            message |= _reasoning(ask, plan, "".join(plan.reasoning), last=True)
        if plan.calls:
            message["tool_calls"] = [
                {"id": f"call_{call.id}", **_called(call, call.arguments, call.name)} for call in plan.calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[plan.finish]}
        return orjson.dumps(_head(ask, plan, "chat.completion") | {"choices": [choice], "usage": _usage(ask, plan)})

    def events(self, ask: Ask, plan: Plan) -> Iterator[bytes]:
        head = _head(ask, plan, "chat.completion.chunk")
        if ask.usage_in_stream:
            head["usage"] = None

        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return data(head | {"choices": [choice]})

        if ask.provider == "openrouter":
            yield b": OPENROUTER PROCESSING\n\n"
        yield chunk({"role": "assistant", "content": None if plan.calls else "", "refusal": None})
        for n, piece in enumerate(plan.reasoning):
            yield chunk(_reasoning(ask, plan, piece, last=n == len(plan.reasoning) - 1))
        key = "refusal" if plan.finish == "refusal" else "content"
        for piece in plan.text:
            yield chunk({key: piece})
        for n, call in enumerate(plan.calls):
            opening = {"index": n, "id": f"call_{call.id}", **_called(call, "", call.name)}
            yield chunk({"tool_calls": [opening]})
            for piece in call.pieces:
                yield chunk({"tool_calls": [{"index": n, **_called(call, piece)}]})
        if ask.usage_in_stream and ask.provider == "deepseek":  # which has no chunk of its own for it
            head["usage"] = _usage(ask, plan)
            yield chunk({"content": ""}, _FINISH[plan.finish])
            yield b"data: [DONE]\n\n"
            return
        yield chunk({}, _FINISH[plan.finish])
        if ask.usage_in_stream:
            yield data(head | {"choices": [], "usage": _usage(ask, plan)})
        yield b"data: [DONE]\n\n"

    def error(self, status: int, message: str, param: str | None = None) -> bytes:
        kind, code = _ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
        return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})

    def error_events(self, ask: Ask, plan: Plan, sent: int, message: str) -> Iterable[bytes]:
        return [b"data: " + self.error(500, message) + b"\n\n"]

    def count(self, ask: Ask) -> bytes:
        return orjson.dumps({"input_tokens": ask.input_tokens})

    def content_type(self, streamed: bool) -> str:
        return "text/event-stream; charset=utf-8" if streamed else "application/json"


def read_content(content: Any) -> tuple[str, int]:
    """The text of a message's content, and the number of its images."""
    if isinstance(content, str):
        return content, 0
    texts, images = [], 0
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") in ("image_url", "input_image"):
            images += 1
    return "\n".join(texts), images


def output_schema(chosen: Any, nested: str | None) -> Any:
    """The schema that a `response_format` or a `text.format` asks for; None for plain text."""
    kind = chosen.get("type") if isinstance(chosen, dict) else None
    if kind == "json_object":
        return ANY_OBJECT
    if kind != "json_schema":
        return None
    holder = chosen.get(nested) if nested else chosen
    schema = holder.get("schema") if isinstance(holder, dict) else None
    return ANY_OBJECT if schema is None else schema


def apply_choice(ask: Ask, offered: dict[str, Any], choice: Any, named: Any) -> None:
    """Sets which tools may be called and whether one must be. `named` is the object that may hold a tool's name."""
    ask.tools = offered
    if choice == "none":
        ask.tools = {}
    elif choice == "required":
        ask.must_call = True
    elif isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            nested = choice.get("allowed_tools")
            allowed = nested if isinstance(nested, dict) else choice
            names = [(t.get("function") or t.get("custom") or t).get("name") for t in allowed.get("tools") or ()]
            ask.tools = {name: offered[name] for name in names if name in offered}
            ask.must_call = allowed.get("mode") == "required"
        elif isinstance(named, dict) and "name" in named:
            name = named["name"]
            if name not in offered:
                raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
            ask.tools, ask.must_call = {name: offered[name]}, True


def _called(call: Call, text: str, name: str | None = None) -> dict[str, Any]:
    """A call, or, without its name, a piece of it."""
    kind, field = ("custom", "input") if call.custom else ("function", "arguments")
    return {kind: {field: text}} if name is None else {"type": kind, kind: {"name": name, field: text}}


def _reasons(body: dict[str, Any]) -> bool:
    effort = body.get("reasoning_effort")
    thinking = body.get("thinking")
    asked = body.get("reasoning")
    if effort is not None:
        return bool(effort != "none")
    if isinstance(thinking, dict):
        return thinking.get("type") in ("enabled", "adaptive")
    if isinstance(asked, dict):
        return asked.get("enabled") is not False and asked.get("effort") != "none"
    return "reasoner" in body["model"]


def _reasoning(ask: Ask, plan: Plan, text: str, *, last: bool) -> dict[str, Any]:
    if ask.provider != "openrouter":
        return {"reasoning_content": text}
    detail = {"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": 0}
    if last:
        detail["signature"] = plan.seal
    return {"reasoning": text, "reasoning_details": [detail]}


def _head(ask: Ask, plan: Plan, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{plan.id}",
        "object": kind,
        "created": int(time.time()),
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


def _usage(ask: Ask, plan: Plan) -> dict[str, Any]:
    # xAI alone counts reasoning beside the completion, not within it.
    completion = plan.output_tokens - (plan.reasoning_tokens if ask.provider == "xai" else 0)
    usage = {
        "prompt_tokens": plan.input_tokens,
        "completion_tokens": completion,
        "total_tokens": plan.input_tokens + plan.output_tokens,
        "prompt_tokens_details": {"cached_tokens": plan.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": plan.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    if ask.provider == "deepseek":
        usage["prompt_cache_hit_tokens"] = plan.cached_tokens
        usage["prompt_cache_miss_tokens"] = plan.input_tokens - plan.cached_tokens
    return usage
