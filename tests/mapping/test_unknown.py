"""What a provider sends that nobody has heard of: the known rest arrives in every format, and the stream ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nexeon.data import data_path
from nexeon.mapping import Library, StreamDecoder, StreamEncoder, load_library, new_context
from nexeon.mapping.schemas import Schemas
from nexeon.wire.json import dumps, loads

Events = list[dict[str, Any]]
CHAT, RESPONSES, MESSAGES, GEMINI = FORMATS = (
    "openai.chat",
    "openai.responses",
    "anthropic.messages",
    "gemini.generate_content",
)
SCHEMAS = Schemas(data_path("schemas"))


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library([data_path("mappings")])


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def chat(unknown: str = "", reason: str = "stop") -> Events:
    usage: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    if unknown == "usage":
        usage |= {"quantum_tokens": 7, "completion_tokens_details": {"quark_tokens": 1}}
    odd: Events = [{"type": "aurora", "glow": 1}, {"object": "chat.completion.aurora"}]
    return [
        chunk({"role": "assistant", "content": ""}),
        *(odd if unknown == "event" else []),
        chunk({"content": "Hello"}),
        *([chunk({"hologram": {"x": 1}}), chunk({"content": [{"type": "hologram"}]})] if unknown == "delta" else []),
        *(
            [chunk({"tool_calls": [{"index": 0, "id": "h", "type": "hologram", "hologram": 1}]})]
            if unknown == "block"
            else []
        ),
        chunk({}, reason, usage=usage),
    ]


def responses(unknown: str = "", reason: str = "completed") -> Events:
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    part = {"type": "output_text", "text": "Hello", "annotations": []}
    odd = {"id": "h_1", "type": "hologram", "status": "completed", "x": 1}
    usage: dict[str, Any] = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    if unknown == "usage":
        usage |= {"quantum_tokens": 7, "output_tokens_details": {"quark_tokens": 1}}
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": reason, "usage": usage}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return [
        {"type": "response.created", "response": whole | {"status": "in_progress", "output": [], "usage": None}},
        *([{"type": "response.aurora.glow", "item_id": "z", "glow": 1}] if unknown == "event" else []),
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"content": []}},
        {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "Hello"},
        *([{"type": "response.output_hologram.delta", **place, "delta": "@"}] if unknown == "delta" else []),
        {"type": "response.output_text.done", **place, "text": "Hello"},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item | {"content": [part]}},
        *(
            [
                {"type": "response.output_item.added", "output_index": 1, "item": odd},
                {"type": "response.output_item.done", "output_index": 1, "item": odd},
            ]
            if unknown == "block"
            else []
        ),
        {"type": "response.completed", "response": whole | {"output": [item | {"content": [part]}]}},
    ]


def messages(unknown: str = "", reason: str = "end_turn") -> Events:
    usage: dict[str, Any] = {"input_tokens": 3, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    last: dict[str, Any] = {"output_tokens": 2} | ({"quantum_tokens": 7} if unknown == "usage" else {})
    odd = {"type": "hologram", "x": 1}
    return [
        {"type": "message_start", "message": message | {"stop_reason": None, "stop_sequence": None}},
        *([{"type": "aurora", "glow": 1}] if unknown == "event" else []),
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        *(
            [{"type": "content_block_delta", "index": 0, "delta": {"type": "hologram_delta", "x": 1}}]
            if unknown == "delta"
            else []
        ),
        {"type": "content_block_stop", "index": 0},
        *(
            [
                {"type": "content_block_start", "index": 1, "content_block": odd},
                {"type": "content_block_delta", "index": 1, "delta": {"type": "hologram_delta", "y": 2}},
                {"type": "content_block_stop", "index": 1},
            ]
            if unknown == "block"
            else []
        ),
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": last},
        {"type": "message_stop"},
    ]


def gemini(unknown: str = "", reason: str = "STOP") -> Events:
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    if unknown == "usage":
        usage |= {"quantumTokenCount": 7}

    def said(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}], "modelVersion": "m"}

    return [
        said({"text": "Hello"}),
        *([{"auroraFeedback": {"glow": 1}}] if unknown == "event" else []),
        *([said({"hologram": {"x": 1}})] if unknown == "block" else []),
        *([said({"text": "", "hologramMetadata": {"x": 1}}, hologram=1)] if unknown == "delta" else []),
        said(finishReason=reason) | {"usageMetadata": usage},
    ]


STREAMS: dict[str, Callable[..., Events]] = {CHAT: chat, RESPONSES: responses, MESSAGES: messages, GEMINI: gemini}


def answer(source: str, unknown: str, reason: str | None) -> dict[str, Any]:
    """The same as one JSON answer."""
    events = STREAMS[source](unknown, reason) if reason else STREAMS[source](unknown)
    odd = unknown == "block"
    if source == CHAT:
        content: Any = [{"type": "text", "text": "Hello"}, {"type": "hologram", "x": 1}] if odd else "Hello"
        choice = {"index": 0, "message": {"role": "assistant", "content": content}}
        choice |= {"finish_reason": events[-1]["choices"][0]["finish_reason"]}
        return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]} | {
            "usage": events[-1]["usage"]
        }
    if source == RESPONSES:
        whole = dict(events[-1]["response"])
        whole["output"] = [*whole["output"], *([{"id": "h_1", "type": "hologram", "x": 1}] if odd else [])]
        return whole
    if source == MESSAGES:
        blocks = [{"type": "text", "text": "Hello"}, *([{"type": "hologram", "x": 1}] if odd else [])]
        usage = {"input_tokens": 3} | events[-2]["usage"]
        return {**events[0]["message"], "content": blocks, "usage": usage, **events[-2]["delta"]}
    parts = [{"text": "Hello"}, *([{"hologram": {"x": 1}}] if odd else [])]
    last = events[-1]
    return last | {"candidates": [last["candidates"][0] | {"content": {"role": "model", "parts": parts}}]}


def texts(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in texts(part)]


def valid(form: str, part: str, value: Any) -> None:
    validator = SCHEMAS.format(form, part)
    assert validator is not None
    problem = None if validator.accepts(value) else validator.explain(value)
    assert problem is None, value


UNKNOWN = [
    *[(what, None) for what in ("", "event", "delta", "block", "usage")],
    ("reason", "hologram"),
]


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(("unknown", "reason"), UNKNOWN)
def test_in_a_stream(source: str, client: str, unknown: str, reason: str | None, library: Library) -> None:
    events = STREAMS[source](unknown, reason) if reason else STREAMS[source](unknown)
    ctx = new_context(format=source, provider="p", model="m")
    decoder = StreamDecoder(library.formats[source], ctx)
    body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    client_ctx = new_context(format=client, model="m", stream=True, body=body)
    encoder = StreamEncoder(library.formats[client], client_ctx)
    told: Events = []
    for event in events:
        told += encoder.encode(decoder.feed(event))
    told += encoder.encode(decoder.end())
    assert (decoder.finished, decoder.failed) == (True, None)
    assert decoder.response["usage"]["output"] == 2
    told = loads(dumps(told))
    for event in told:
        valid(client, "event", event)
    assert any("Hello" in text for text in texts(told))
    if unknown == "block":
        assert "hologram" in dumps(told).decode() or [*ctx["dropped"], *client_ctx["dropped"]], (
            "what is lost is reported"
        )
    again = StreamDecoder(library.formats[client], new_context(format=client, provider="p", model="m"))
    for event in told:
        again.feed(event)
    again.end()
    assert (again.finished, again.failed) == (True, None)
    assert [b["text"] for b in again.response["blocks"] if b["type"] == "text" and b["text"]] == ["Hello"]
    assert again.response["usage"]["output"] == 2


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(("unknown", "reason"), [one for one in UNKNOWN if one[0] not in ("event", "delta")])
def test_in_an_answer(source: str, client: str, unknown: str, reason: str | None, library: Library) -> None:
    ctx = new_context(format=source, provider="p", model="m")
    canonical = library.formats[source].decode_response(answer(source, unknown, reason), ctx)
    assert canonical["usage"]["output"] == 2
    client_ctx = new_context(format=client, model="m", body={"model": "m"})
    told = loads(dumps(library.formats[client].encode_response(canonical, client_ctx)))
    valid(client, "response", told)
    assert any("Hello" in text for text in texts(told))
    if unknown == "block":
        kept = source == client != CHAT  # whose message is one text
        assert any(block["type"] == "opaque" for block in canonical["blocks"])
        assert ("hologram" in dumps(told).decode()) == kept
        assert kept or client_ctx["dropped"] != [], "what is lost is reported"


def test_an_unknown_reason_is_kept_by_its_own_word(library: Library) -> None:
    for source in (CHAT, MESSAGES, GEMINI):
        ctx = new_context(format=source, provider="p", model="m")
        finish = library.formats[source].decode_response(answer(source, "", "hologram"), ctx)["finish"]
        assert (finish["reason"], finish["raw"]) == ("other", "hologram")
