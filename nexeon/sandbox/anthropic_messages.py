"""Anthropic messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from nexeon.sandbox.content import Ask, Plan, text_tokens
from nexeon.sandbox.wire import event, invalid, need_list, need_model, size, whole

_FINISH = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "calls": "tool_use",
    "refusal": "refusal",
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_IMAGE_TOKENS = 85


class AnthropicMessages:
    """See `nexeon.sandbox.wire.Wire`."""

    def read(self, body: dict[str, Any], model: str, stream: bool, counting: bool) -> Ask:
        messages = need_list(body, "messages")
        ask = Ask(model=need_model(body), stream=body.get("stream") is True, input_tokens=3)
        ask.limit = whole(body.get("max_tokens"))
        if ask.limit is None and not counting:
            raise invalid("max_tokens: Field required", "max_tokens")
        ask.instructions = _text(body.get("system"))
        length = size(body.get("tools")) + _Turns(ask).read(messages) + len(ask.instructions)
        ask.input_tokens += text_tokens(length)
        self._tools(ask, body)
        chosen = (body.get("output_config") or {}).get("format") or body.get("output_format")
        if isinstance(chosen, dict) and chosen.get("type") == "json_schema":
            ask.schema = chosen.get("schema", {})
        thinking = body.get("thinking") or {}
        ask.reasoning = thinking.get("type") in ("enabled", "adaptive")
        ask.shown = thinking.get("display") != "omitted"
        ask.stops = tuple(body.get("stop_sequences") or ())
        return ask

    def _tools(self, ask: Ask, body: dict[str, Any]) -> None:
        # A tool that the provider runs itself has a type and no schema.
        ask.tools = {t.get("name"): t["input_schema"] for t in body.get("tools") or () if "input_schema" in t}
        choice = body.get("tool_choice") or {}
        kind = choice.get("type", "auto")
        if kind == "none":
            ask.tools = {}
        elif kind == "tool":
            name = choice.get("name")
            if all(tool.get("name") != name for tool in body.get("tools") or ()):
                raise invalid(f"Tool '{name}' not found in provided tools", "tool_choice")
            ask.tools = {name: ask.tools[name]} if name in ask.tools else {}
        ask.must_call = kind in ("any", "tool")
        if ask.must_call and not body.get("tools"):
            raise invalid("tool_choice asks for a call, but no tool is offered", "tool_choice")
        ask.parallel = not choice.get("disable_parallel_tool_use")

    def reply(self, ask: Ask, plan: Plan) -> bytes:
        content: list[dict[str, Any]] = []
        if plan.reasoning:
            thinking = "".join(plan.reasoning) if ask.shown else ""
            content.append({"type": "thinking", "thinking": thinking, "signature": plan.seal})
        if plan.text and plan.finish != "refusal":
            content.append({"type": "text", "text": "".join(plan.text)})
        for call in plan.calls:
            arguments = orjson.Fragment(call.arguments)
            content.append({"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": arguments})
        message = _message(ask, plan, plan.output_tokens) | {"content": content} | _end(plan)
        return orjson.dumps(message)

    def events(self, ask: Ask, plan: Plan) -> Iterator[bytes]:
        yield event("message_start", {"type": "message_start", "message": _message(ask, plan, 1)})
        yield event("ping", {"type": "ping"})
        index = 0
        if plan.reasoning:
            thoughts = plan.reasoning if ask.shown else []
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in thoughts]
            deltas.append({"type": "signature_delta", "signature": plan.seal})
            yield from _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
            index += 1
        if plan.text and plan.finish != "refusal":
            deltas = [{"type": "text_delta", "text": piece} for piece in plan.text]
            yield from _block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        for call in plan.calls:
            start = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": {}}
            pieces = ["", *call.pieces] if call.arguments != "{}" else [""]
            yield from _block(index, start, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces])
            index += 1
        usage = _usage(plan, plan.output_tokens)
        del usage["service_tier"]
        del usage["cache_creation"]
        yield event("message_delta", {"type": "message_delta", "delta": _end(plan), "usage": usage})
        yield event("message_stop", {"type": "message_stop"})

    def error(self, status: int, message: str, param: str | None = None) -> bytes:
        kind = _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": kind, "message": message}
        return orjson.dumps({"type": "error", "error": error, "request_id": "req_sandbox"})

    def error_events(self, ask: Ask, plan: Plan, sent: int, message: str) -> Iterable[bytes]:
        return [event("error", {"type": "error", "error": {"type": "overloaded_error", "message": message}})]

    def count(self, ask: Ask) -> bytes:
        return orjson.dumps({"input_tokens": ask.input_tokens})

    def content_type(self, streamed: bool) -> str:
        return "text/event-stream; charset=utf-8" if streamed else "application/json"


class _Turns:
    """Reads messages into an `Ask`, block by block: a text after a tool's result in the same message is a new turn."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.length = 0

    def read(self, messages: list[Any]) -> int:
        """Gives the length of all text."""
        ask = self.ask
        for n, message in enumerate(messages):
            if not isinstance(message, dict) or message.get("role") not in ("user", "assistant", "system"):
                raise invalid(f"messages.{n}: must be an object with role user or assistant", f"messages.{n}")
            ask.input_tokens += 4
            content = message.get("content")
            if message["role"] == "user":
                self._user(content)
            else:
                self.length += len(_text(content)) + size(_calls(content))
                if message["role"] == "assistant":
                    ask.last, ask.images = "model", 0
        return self.length

    def _user(self, content: Any) -> None:
        ask = self.ask
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        texts: list[str] = []
        images, result = 0, False
        for block in blocks:
            kind = block.get("type")
            if kind == "tool_result":
                ask.result, result, images = _text(block.get("content")), True, 0
                self.length += len(ask.result)
                texts.clear()
            elif kind == "image":
                images += 1
                ask.input_tokens += _IMAGE_TOKENS
            elif isinstance(block.get("text"), str):
                texts.append(block["text"])
                self.length += len(block["text"])
        text = "\n".join(texts)
        if result and not text:
            ask.last, ask.images = "tool", 0
        elif text or ask.last != "tool":
            ask.last, ask.text, ask.images = "user", text, images


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else ()
    return "\n".join(b["text"] for b in blocks if isinstance(b, dict) and isinstance(b.get("text"), str))


def _calls(content: Any) -> list[Any]:
    blocks = content if isinstance(content, list) else ()
    return [b.get("input") for b in blocks if isinstance(b, dict) and b.get("type") == "tool_use"]


def _message(ask: Ask, plan: Plan, output_tokens: int) -> dict[str, Any]:
    """The message as it stands before anything is put out."""
    return {
        "model": ask.model,
        "id": f"msg_{plan.id}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(plan, output_tokens),
    }


def _usage(plan: Plan, output_tokens: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": plan.input_tokens - plan.cached_tokens - plan.cache_write_tokens,
        "cache_creation_input_tokens": plan.cache_write_tokens,
        "cache_read_input_tokens": plan.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": plan.cache_write_tokens, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }
    if plan.reasoning and output_tokens == plan.output_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": plan.reasoning_tokens}
    return usage


def _end(plan: Plan) -> dict[str, Any]:
    end: dict[str, Any] = {"stop_reason": _FINISH[plan.finish], "stop_sequence": plan.stop_sequence}
    if plan.finish == "refusal":
        end["stop_details"] = {"type": "refusal", "category": "general_harms", "explanation": "".join(plan.text)}
    return end


def _block(index: int, start: dict[str, Any], deltas: list[dict[str, Any]]) -> Iterator[bytes]:
    yield event("content_block_start", {"type": "content_block_start", "index": index, "content_block": start})
    for delta in deltas:
        yield event("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})
    yield event("content_block_stop", {"type": "content_block_stop", "index": index})
