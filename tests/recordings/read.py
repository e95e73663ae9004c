"""Reads answers of each format as its clients do."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from .cases import CHAT, GEMINI, MESSAGES, RESPONSES
from .facts import Call, Facts, finish_of


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def read_body(format: str, body: dict[str, Any]) -> Facts:
    """The facts of a whole answer."""
    return _BODIES[format](body)


def read_events(format: str, events: list[dict[str, Any]]) -> Facts:
    """The facts of a stream, from its deltas."""
    return _STREAMS[format](events)


# Chat Completions


def _chat(body: dict[str, Any]) -> Facts:
    choice = body["choices"][0]
    message = choice["message"]
    return _chat_facts(message, message.get("tool_calls") or [], choice.get("finish_reason"), body.get("usage"))


def _chat_facts(
    message: dict[str, Any], tool_calls: list[dict[str, Any]], finish: str | None, usage: dict[str, Any] | None
) -> Facts:
    facts = Facts(
        text=message.get("content") or "",
        reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
        refusal=message.get("refusal") or "",
    )
    for call in tool_calls:
        if "custom" in call:
            facts.calls.append(Call(call["id"], call["custom"]["name"], call["custom"]["input"]))
        else:
            facts.calls.append(Call(call["id"], call["function"]["name"], _parsed(call["function"].get("arguments"))))
    facts.finish = finish_of(CHAT, finish, called=bool(facts.calls))
    if usage:
        facts.usage = {
            "input": usage.get("prompt_tokens"),
            "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
            "output": usage.get("completion_tokens"),
            "reasoning": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
        }
    return facts


def _chat_stream(events: list[dict[str, Any]]) -> Facts:
    message: dict[str, Any] = {}
    calls: dict[int, dict[str, Any]] = {}
    finish = usage = None
    for event in events:
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            finish = choice.get("finish_reason") or finish
            delta = choice.get("delta") or {}
            for name in ("content", "reasoning_content", "reasoning", "refusal"):
                if delta.get(name):
                    message[name] = message.get(name, "") + delta[name]
            for part in delta.get("tool_calls") or ():
                call = calls.setdefault(part["index"], {"id": None, "function": {"name": "", "arguments": ""}})
                call["id"] = part.get("id") or call["id"]
                function = part.get("function") or {}
                call["function"]["name"] += function.get("name") or ""
                call["function"]["arguments"] += function.get("arguments") or ""
    return _chat_facts(message, [calls[index] for index in sorted(calls)], finish, usage)


# Responses


def _responses(body: dict[str, Any]) -> Facts:
    facts = Facts()
    for item in body["output"]:
        kind = item["type"]
        if kind == "message":
            for part in item["content"]:
                facts.text += part["text"] if part["type"] == "output_text" else ""
                facts.refusal += part["refusal"] if part["type"] == "refusal" else ""
        elif kind == "reasoning":
            parts = [*(item.get("content") or ()), *(item.get("summary") or ())]
            facts.reasoning += "".join(part["text"] for part in parts)
        elif kind == "function_call":
            facts.calls.append(Call(item["call_id"], item["name"], _parsed(item["arguments"])))
        elif kind == "custom_tool_call":
            facts.calls.append(Call(item["call_id"], item["name"], item["input"]))
    why = (body.get("incomplete_details") or {}).get("reason")
    facts.finish = finish_of(RESPONSES, why or body.get("status"), called=bool(facts.calls))
    if usage := body.get("usage"):
        facts.usage = {
            "input": usage.get("input_tokens"),
            "cached": (usage.get("input_tokens_details") or {}).get("cached_tokens"),
            "output": usage.get("output_tokens"),
            "reasoning": (usage.get("output_tokens_details") or {}).get("reasoning_tokens"),
        }
    return facts


_RESPONSE_TEXTS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
}
_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed")


def _responses_stream(events: list[dict[str, Any]]) -> Facts:
    facts = Facts()
    calls: dict[int, Call] = {}
    for event in events:
        kind = event["type"]
        if name := _RESPONSE_TEXTS.get(kind):
            setattr(facts, name, getattr(facts, name) + event["delta"])
        elif kind == "response.output_item.added" and event["item"]["type"] in ("function_call", "custom_tool_call"):
            calls[event["output_index"]] = Call(event["item"]["call_id"], event["item"]["name"], "")
        elif kind in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
            calls[event["output_index"]].arguments += event["delta"]
        elif kind == "response.output_item.done" and event["item"]["type"] == "function_call":
            call = calls[event["output_index"]]
            call.arguments = _parsed(call.arguments)
        elif kind in _RESPONSE_ENDS:
            final = _responses(event["response"])
            facts.finish, facts.usage = final.finish, final.usage
    facts.calls = [calls[index] for index in sorted(calls)]
    return facts


# Messages


def _messages(body: dict[str, Any]) -> Facts:
    facts = Facts()
    for block in body["content"]:
        if block["type"] == "text":
            facts.text += block["text"]
        elif block["type"] == "thinking":
            facts.reasoning += block["thinking"]
        elif block["type"] == "tool_use":
            facts.calls.append(Call(block["id"], block["name"], block["input"]))
    facts.finish = finish_of(MESSAGES, body.get("stop_reason"), called=bool(facts.calls))
    if usage := body.get("usage"):
        cached, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
        facts.usage = {
            "input": usage.get("input_tokens", 0) + (cached or 0) + (written or 0),
            "cached": cached,
            "output": usage.get("output_tokens"),
            "reasoning": (usage.get("output_tokens_details") or {}).get("thinking_tokens"),
        }
    return facts


def fold_messages(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream amounts to."""
    message: dict[str, Any] = {}
    texts: dict[int, str] = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = {**event["message"], "content": list(event["message"]["content"])}
        elif kind == "content_block_start":
            message["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "thinking_delta":
                block["thinking"] += delta["thinking"]
            elif delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
            elif delta["type"] == "input_json_delta":
                texts[event["index"]] = texts.get(event["index"], "") + delta["partial_json"]
        elif kind == "message_delta":
            message |= {name: value for name, value in event["delta"].items() if value is not None}
            message["usage"] = {
                **message["usage"],
                **{name: value for name, value in (event.get("usage") or {}).items() if value is not None},
            }
    for index, text in texts.items():
        message["content"][index]["input"] = _parsed(text)
    return message


def _messages_stream(events: list[dict[str, Any]]) -> Facts:
    return _messages(fold_messages(events))


# Gemini


def _gemini(body: dict[str, Any]) -> Facts:
    return _gemini_stream([body])


def _gemini_stream(events: list[dict[str, Any]]) -> Facts:
    facts = Facts()
    finish = None
    usage: dict[str, Any] = {}
    for event in events:
        usage = event.get("usageMetadata") or usage
        for candidate in (event.get("candidates") or ())[:1]:
            finish = candidate.get("finishReason") or finish
            for part in (candidate.get("content") or {}).get("parts") or ():
                if part.get("thought"):
                    facts.reasoning += part.get("text", "")
                elif "text" in part:
                    facts.text += part["text"]
                elif (call := part.get("functionCall")) is not None:
                    if "name" in call:
                        facts.calls.append(Call(call.get("id"), call["name"], call.get("args") or {}))
                    for piece in call.get("partialArgs") or ():
                        _place(facts.calls[-1].arguments, piece)
    facts.finish = finish_of(GEMINI, finish, called=bool(facts.calls))
    if usage:
        facts.usage = {
            "input": usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0),
            "cached": usage.get("cachedContentTokenCount"),
            "output": usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0),
            "reasoning": usage.get("thoughtsTokenCount"),
        }
    return facts


def _place(arguments: dict[str, Any], piece: dict[str, Any]) -> None:
    """Puts a piece of streamed arguments where its path says."""
    steps: list[Any] = [int(step) if step.isdigit() else step for step in re.findall(r"[^$.\[\]]+", piece["jsonPath"])]
    holder: Any = arguments
    for step, following in itertools.pairwise(steps):
        holder = _at(holder, step, [] if isinstance(following, int) else {})
    value = next((value for name, value in piece.items() if name.endswith("Value")), None)
    old = _at(holder, steps[-1], None)
    holder[steps[-1]] = old + value if isinstance(old, str) and isinstance(value, str) else value


def _at(holder: Any, step: Any, fresh: Any) -> Any:
    if isinstance(holder, list):
        if step == len(holder):
            holder.append(fresh)
        return holder[step]
    return holder.setdefault(step, fresh)


_BODIES = {CHAT: _chat, RESPONSES: _responses, MESSAGES: _messages, GEMINI: _gemini}
_STREAMS = {CHAT: _chat_stream, RESPONSES: _responses_stream, MESSAGES: _messages_stream, GEMINI: _gemini_stream}
