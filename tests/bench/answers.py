"""What the canned upstream answers and what clients ask, in each wire format: 203 events a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

STAMP = b"00000000000000000000"
"""Where a paced event tells when it was sent."""

TEXTS = 200
WORDS = (" the", " gateway", ",", " answers", " every", " request", ".\n\n", "It", " says", ' "yes"', " naïvely", " 42")
TEXT = [WORDS[number % len(WORDS)] for number in range(TEXTS)]
USAGE = (20, TEXTS)
PROMPT = "Say something that is fifty words long, please."


def chat() -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(TEXT), "refusal": None, "annotations": []}
    return {
        "id": "chatcmpl-C2P2HtMJhPkWjQ2adKerkdVilXmRL",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "bench",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": _chat_usage(),
        "service_tier": "default",
        "system_fingerprint": "fp_07871e2ad8",
    }


def _chat_usage() -> dict[str, Any]:
    return {
        "prompt_tokens": USAGE[0],
        "completion_tokens": USAGE[1],
        "total_tokens": sum(USAGE),
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def message() -> dict[str, Any]:
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "bench",
        "content": [{"type": "text", "text": "".join(TEXT)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": USAGE[0],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": USAGE[1],
            "service_tier": "standard",
        },
    }


def response(status: str = "completed") -> dict[str, Any]:
    done = status == "completed"
    return {
        "id": "resp_68a1b2c3d4e5f60718293a4b5c6d7e8f",
        "object": "response",
        "created_at": 1700000000,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": 100,
        "model": "bench",
        "output": [_item(done=True)] if done else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": USAGE[0],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": USAGE[1],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(USAGE),
        }
        if done
        else None,
        "user": None,
        "metadata": {},
    }


def _item(*, done: bool) -> dict[str, Any]:
    return {
        "id": "msg_68a1b2c3d4e5f60718293a4b5c6d7e90",
        "type": "message",
        "status": "completed" if done else "in_progress",
        "content": [_part("".join(TEXT))] if done else [],
        "role": "assistant",
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def content(parts: list[dict[str, Any]], finish: str | None = "STOP") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": USAGE[0],
            "candidatesTokenCount": USAGE[1],
            "totalTokenCount": sum(USAGE),
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": USAGE[0]}],
        },
        "modelVersion": "bench",
        "responseId": "hlP6ae3uJuqGz7IP-6e9iA0",
    }


def chat_events(texts: list[str]) -> Iterator[bytes]:
    head = {key: chat()[key] for key in ("id", "created", "model", "service_tier", "system_fingerprint")}

    def chunk(number: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        padding = "oouykO51ovJROe7q"[number % 11 :]
        return _sse(
            {
                **head,
                "object": "chat.completion.chunk",
                "choices": [choice],
                "usage": None,
                "obfuscation": padding,
            }
        )

    yield chunk(0, {"role": "assistant", "content": "", "refusal": None})
    for number, text in enumerate(texts):
        yield chunk(number, {"content": text})
    yield chunk(0, {}, "stop")
    yield _sse({**head, "object": "chat.completion.chunk", "choices": [], "usage": _chat_usage(), "obfuscation": ""})
    yield b"data: [DONE]\n\n"


def message_events(texts: list[str]) -> Iterator[bytes]:
    def event(kind: str, **fields: object) -> bytes:
        return _sse({"type": kind, **fields}, kind)

    yield event("message_start", message={**message(), "content": [], "stop_reason": None})
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield event("ping")
    for text in texts:
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    yield event("content_block_stop", index=0)
    yield event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=message()["usage"])
    yield event("message_stop")


def response_events(texts: list[str]) -> Iterator[bytes]:
    number = iter(range(len(texts) + 20))
    place = {"item_id": _item(done=True)["id"], "output_index": 0, "content_index": 0}

    def event(kind: str, **fields: object) -> bytes:
        return _sse({"type": kind, "sequence_number": next(number), **fields}, kind)

    yield event("response.created", response=response("in_progress"))
    yield event("response.in_progress", response=response("in_progress"))
    yield event("response.output_item.added", output_index=0, item=_item(done=False))
    yield event("response.content_part.added", **place, part=_part(""))
    for index, text in enumerate(texts):
        padding = "oouykO51ovJROe7q"[index % 11 :]
        yield event("response.output_text.delta", **place, delta=text, logprobs=[], obfuscation=padding)
    yield event("response.output_text.done", **place, text="".join(texts), logprobs=[])
    yield event("response.content_part.done", **place, part=_part("".join(texts)))
    yield event("response.output_item.done", output_index=0, item=_item(done=True))
    yield event("response.completed", response=response())


def content_events(texts: list[str]) -> Iterator[bytes]:
    for text in texts:
        yield _sse(content([{"text": text}], None))
    yield _sse(content([{"text": ""}]))


def _sse(body: object, event: str | None = None) -> bytes:
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return (b"event: %s\n" % event.encode() if event else b"") + b"data: %s\n\n" % data


def events_of(name: str, texts: list[str] | None = None) -> list[bytes]:
    """A whole stream, event by event."""
    return list(EVENTS[name](TEXT if texts is None else texts))


ANSWERS: dict[str, dict[str, Any]] = {
    "chat/completions": chat(),
    "responses": response(),
    "messages": message(),
    "enerateContent": content([{"text": "".join(TEXT)}]),
}
"""By a part of the path."""

EVENTS: dict[str, Callable[[list[str]], Iterator[bytes]]] = {
    "chat/completions": chat_events,
    "responses": response_events,
    "messages": message_events,
    "enerateContent": content_events,
}
