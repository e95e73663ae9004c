"""OpenAI responses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from nexeon.sandbox.content import Ask, Call, Plan, text_tokens
from nexeon.sandbox.openai_chat import OpenAIChat, apply_choice, output_schema, read_content
from nexeon.sandbox.wire import event, invalid, need_model, size, whole

_IMAGE_TOKENS = 85
_RESULTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output", "computer_call_output")
_REPEATED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_chat = OpenAIChat()


class OpenAIResponses:
    """See `nexeon.sandbox.wire.Wire`."""

    def read(self, body: dict[str, Any], model: str, stream: bool, counting: bool) -> Ask:
        ask = Ask(model=need_model(body), stream=body.get("stream") is True, input_tokens=3)
        length = size(body.get("tools"))
        instructions = body.get("instructions")
        length += len(instructions) if isinstance(instructions, str) else size(instructions)
        length += self._input(ask, body.get("input"))
        ask.input_tokens += text_tokens(length)

        tools = [t for t in body.get("tools") or () if t.get("type") in ("function", "custom")]
        offered = {t.get("name"): t.get("parameters") for t in tools}
        ask.custom = frozenset(t.get("name") for t in tools if t["type"] == "custom")
        choice = body.get("tool_choice")
        apply_choice(ask, offered, choice, choice if isinstance(choice, dict) else None)
        if choice == "required" and not body.get("tools"):
            raise invalid("'tool_choice' asks for a call, but no tool is offered", "tool_choice")
        ask.parallel = body.get("parallel_tool_calls") is not False
        ask.schema = output_schema((body.get("text") or {}).get("format"), None)
        reasoning = body.get("reasoning") or {}
        effort = reasoning.get("effort")
        ask.reasoning = effort != "none" and bool(effort or reasoning.get("summary"))
        ask.sealed = "reasoning.encrypted_content" in (body.get("include") or ())
        ask.logprobs = "message.output_text.logprobs" in (body.get("include") or ())
        ask.limit = whole(body.get("max_output_tokens"))
        ask.settings = {k: body[k] if body.get(k) is not None else v for k, v in _REPEATED.items()} | {
            "reasoning": {"effort": effort, "summary": reasoning.get("summary")},
            "text": {"format": {"type": "text"}, "verbosity": "medium"} | (body.get("text") or {}),
        }
        return ask

    def _input(self, ask: Ask, given: Any) -> int:
        """Reads the turns into `ask`; gives the length of their text."""
        if isinstance(given, str):
            ask.text = given
            ask.input_tokens += 4
            return len(given)
        if not isinstance(given, list) or not given:
            raise invalid("'input' must be a text or a list that is not empty", "input")
        length = 0
        for n, item in enumerate(given):
            if not isinstance(item, dict):
                raise invalid(f"'input[{n}]' must be an object", f"input[{n}]")
            kind = item.get("type", "message")
            text, images = read_content(item.get("output" if kind in _RESULTS else "content"))
            length += len(text) + (size(item) if kind == "function_call" else 0)
            ask.input_tokens += 4 + _IMAGE_TOKENS * images
            if kind in _RESULTS:
                ask.last, ask.result, ask.images = "tool", text, 0
            elif kind == "message" and item.get("role") == "user":
                if text or ask.last != "tool":
                    ask.last, ask.text = "user", text
                ask.images = images if ask.last == "user" else 0
            elif kind != "message" or item.get("role") == "assistant":
                ask.last, ask.images = "model", 0
        return length

    def reply(self, ask: Ask, plan: Plan) -> bytes:
        return orjson.dumps(_final(ask, plan, int(time.time())))

    def events(self, ask: Ask, plan: Plan) -> Iterator[bytes]:
        for n, payload in enumerate(_events(ask, plan)):
            payload["sequence_number"] = n
            yield event(payload["type"], payload)

    def error(self, status: int, message: str, param: str | None = None) -> bytes:
        if status == 404:  # an unknown model is 400 here, so 404 has no code of its own
            error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
            return orjson.dumps({"error": error})
        return _chat.error(status, message, param)

    def error_events(self, ask: Ask, plan: Plan, sent: int, message: str) -> Iterable[bytes]:
        error = {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": sent}
        response = _response(ask, plan, int(time.time()), "failed")
        response["error"] = {"code": "server_error", "message": message}
        failed = {"type": "response.failed", "response": response, "sequence_number": sent + 1}
        return [event("error", error), event("response.failed", failed)]

    def count(self, ask: Ask) -> bytes:
        return orjson.dumps({"object": "response.input_tokens", "input_tokens": ask.input_tokens})

    def content_type(self, streamed: bool) -> str:
        return _chat.content_type(streamed)


def _response(ask: Ask, plan: Plan, created: int, status: str) -> dict[str, Any]:
    """The response object as it stands before anything is put out."""
    return {
        "id": f"resp_{plan.id}",
        "object": "response",
        "created_at": created,
        "status": status,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": ask.model,
        "output": [],
        "service_tier": "default",
        "usage": None,
        **ask.settings,
    }


def _final(ask: Ask, plan: Plan, created: int) -> dict[str, Any]:
    cut = plan.finish == "length"
    response = _response(ask, plan, created, "incomplete" if cut else "completed")
    if cut:
        response["incomplete_details"] = {"reason": "max_output_tokens"}
    else:
        response["completed_at"] = created
    if plan.reasoning:
        response["output"].append(_reasoning_item(ask, plan, done=True))
    if plan.text:
        part = _part(plan, "".join(plan.text))
        if ask.logprobs and "logprobs" in part:
            part["logprobs"] = [log for piece in plan.text for log in _logprobs(piece)]
        response["output"].append(_message(plan, [part], "incomplete" if cut else "completed"))
    response["output"].extend(_call_item(call, call.arguments, "completed") for call in plan.calls)
    response["usage"] = {
        "input_tokens": plan.input_tokens,
        "input_tokens_details": {"cached_tokens": plan.cached_tokens, "cache_write_tokens": plan.cache_write_tokens},
        "output_tokens": plan.output_tokens,
        "output_tokens_details": {"reasoning_tokens": plan.reasoning_tokens},
        "total_tokens": plan.input_tokens + plan.output_tokens,
    }
    return response


def _reasoning_item(ask: Ask, plan: Plan, *, done: bool) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": "".join(plan.reasoning)}] if done else []
    item: dict[str, Any] = {"id": f"rs_{plan.id}", "type": "reasoning", "summary": summary}
    if ask.sealed:
        item["encrypted_content"] = plan.seal
    return item


def _message(plan: Plan, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {"id": f"msg_{plan.id}", "type": "message", "status": status, "role": "assistant", "content": content}


def _part(plan: Plan, text: str) -> dict[str, Any]:
    if plan.finish == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _logprobs(piece: str) -> list[dict[str, Any]]:
    return [{"token": piece, "bytes": list(piece.encode()), "logprob": -0.5, "top_logprobs": []}]


def _call_item(call: Call, arguments: str, status: str) -> dict[str, Any]:
    if call.custom:
        kind = {"id": f"ctc_{call.id}", "type": "custom_tool_call", "status": status, "call_id": f"call_{call.id}"}
        return {**kind, "name": call.name, "input": arguments}
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": status,
        "call_id": f"call_{call.id}",
        "name": call.name,
        "arguments": arguments,
    }


def _events(ask: Ask, plan: Plan) -> Iterator[dict[str, Any]]:
    """The stream's payloads, without their sequence numbers."""
    created = int(time.time())
    yield {"type": "response.created", "response": _response(ask, plan, created, "in_progress")}
    yield {"type": "response.in_progress", "response": _response(ask, plan, created, "in_progress")}
    final = _final(ask, plan, created)
    for index, item in enumerate(final["output"]):
        if item["type"] == "reasoning":
            yield from _reasoning_events(ask, plan, item, index)
        elif item["type"] == "message":
            yield from _message_events(ask, plan, item, index)
        else:
            call = plan.calls[index - len(final["output"]) + len(plan.calls)]
            yield from _call_events(call, item, index)
    yield {"type": f"response.{final['status']}", "response": final}


def _reasoning_events(ask: Ask, plan: Plan, item: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    prefix = "response.reasoning_summary_"
    added = _reasoning_item(ask, plan, done=False)
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    yield {"type": prefix + "part.added", **place, "part": {"type": "summary_text", "text": ""}}
    for piece in plan.reasoning:
        yield {"type": prefix + "text.delta", **place, "delta": piece}
    yield {"type": prefix + "text.done", **place, "text": "".join(plan.reasoning)}
    yield {"type": prefix + "part.done", **place, "part": item["summary"][0]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _message_events(ask: Ask, plan: Plan, item: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    refused = plan.finish == "refusal"
    prefix = "response.refusal." if refused else "response.output_text."
    logged = ask.logprobs and not refused
    more: dict[str, Any] = {} if refused else {"logprobs": item["content"][0]["logprobs"]}
    text = "".join(plan.text)
    yield {"type": "response.output_item.added", "output_index": index, "item": _message(plan, [], "in_progress")}
    yield {"type": "response.content_part.added", **place, "part": _part(plan, "")}
    for piece in plan.text:
        logprobs = {"logprobs": _logprobs(piece) if logged else []}
        yield {"type": prefix + "delta", **place, "delta": piece, **({} if refused else logprobs)}
    yield {"type": prefix + "done", **place, ("refusal" if refused else "text"): text, **more}
    yield {"type": "response.content_part.done", **place, "part": item["content"][0]}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _call_events(call: Call, item: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    added = _call_item(call, "", "in_progress")
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    prefix = "response.custom_tool_call_input." if call.custom else "response.function_call_arguments."
    for piece in call.pieces:
        yield {"type": prefix + "delta", **place, "delta": piece}
    said = {"input": call.arguments} if call.custom else {"arguments": call.arguments, "name": call.name}
    yield {"type": prefix + "done", **place, **said}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}
